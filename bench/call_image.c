/* call_image KERNEL TABLES ROWS N MARGIN_BYTES SCRATCH_BYTES OUT: maps an image of the tree compiler and calls it once. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *whole(const char *path, long *size) {
  FILE *f = fopen(path, "rb");
  if (!f) exit(2);
  fseek(f, 0, SEEK_END);
  *size = ftell(f);
  rewind(f);
  void *p = NULL;
  if (posix_memalign(&p, 64, *size + 64) || fread(p, 1, *size, f) != (size_t)*size) exit(2);
  fclose(f);
  return p;
}

int main(int argc, char **argv) {
  if (argc != 8) return 2;
  long size, ignored;
  char *image = whole(argv[1], &size);
  uint64_t entry;
  memcpy(&entry, image + 24, 8);
  char *code = mmap(0, size - 64, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(code, image + 64, size - 64);
  __builtin___clear_cache(code, code + size - 64);
  long n = atol(argv[4]), bytes = atol(argv[5]);
  void *out, *scratch;
  if (posix_memalign(&out, 64, bytes + 64) || posix_memalign(&scratch, 64, atol(argv[6]) + 64)) return 2;
  memset(scratch, 0, atol(argv[6]));
  uint64_t args[5] = {(uintptr_t)whole(argv[2], &ignored), (uintptr_t)whole(argv[3], &ignored), n, (uintptr_t)out,
                      (uintptr_t)scratch};
  ((void (*)(void *))(code + entry))(args);
  FILE *f = fopen(argv[7], "wb");
  return fwrite(out, 1, bytes, f) == (size_t)bytes && !fclose(f) ? 0 : 2;
}
