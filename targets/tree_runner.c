/* tree_runner KERNEL TABLES ROW_BYTES MARGIN_BYTES SCRATCH_BYTES
 * tree_runner FINISH -      ROW_BYTES OUT_BYTES...      (of what follows the trees: rows are margins; outputs in turn)
 *
 * Maps an image of neoc's tree compiler (kernels/trees/code.py) and answers requests on standard input until it ends:
 *
 *     request: count, repeats (u32 each), count * ROW_BYTES bytes of rows
 *     answer:  count * MARGIN_BYTES bytes of margins
 *
 * The kernel is called `repeats` times on the same rows: what a counter of instructions shall see grow.
 * Linked statically, it needs nothing but a kernel of Linux: on the chip, or under qemu's user mode.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HEADER = 64, ENTRY = 24, LINE = 64, MOST_OUTPUTS = 64 };

static void fail(const char *why) {
  fprintf(stderr, "tree_runner: %s\n", why);
  exit(2);
}

static void *aligned(size_t bytes) {
  void *p = NULL;
  if (posix_memalign(&p, LINE, bytes + LINE)) fail("no memory");
  memset(p, 0, bytes + LINE);
  return p;
}

static char *whole(const char *path, size_t *size) {
  FILE *f = fopen(path, "rb");
  if (!f || fseek(f, 0, SEEK_END)) fail("a file cannot be read");
  *size = (size_t)ftell(f);
  rewind(f);
  char *p = aligned(*size);
  if (fread(p, 1, *size, f) != *size) fail("a file cannot be read");
  fclose(f);
  return p;
}

int main(int argc, char **argv) {
  if (argc < 5) fail("four arguments are needed, or more");
  int finish = !strcmp(argv[2], "-");
  if (finish ? argc > 4 + MOST_OUTPUTS : argc != 6) fail("a kernel takes five arguments, what follows up to 64 outputs");
  size_t image_bytes, table_bytes;
  char *image = whole(argv[1], &image_bytes), *tables = finish ? NULL : whole(argv[2], &table_bytes);
  size_t row_bytes = (size_t)atol(argv[3]), margin_bytes = 0;
  for (int k = 4; k < (finish ? argc : 5); k++) margin_bytes += (size_t)atol(argv[k]);
  char *scratch = finish ? NULL : aligned((size_t)atol(argv[5]));
  uint64_t entry;
  if (image_bytes <= HEADER) fail("the kernel is cut short");
  memcpy(&entry, image + ENTRY, sizeof entry);
  size_t code_bytes = image_bytes - HEADER;
  char *code = mmap(0, code_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (code == MAP_FAILED) fail("no memory for the code");
  memcpy(code, image + HEADER, code_bytes);
  if (mprotect(code, code_bytes, PROT_READ | PROT_EXEC)) fail("the code cannot be made executable");
  __builtin___clear_cache(code, code + code_bytes);
  uint32_t request[2];
  while (fread(request, sizeof request, 1, stdin) == 1) {
    size_t count = request[0];
    char *rows = aligned(count * row_bytes), *margins = aligned(count * margin_bytes);
    if (fread(rows, 1, count * row_bytes, stdin) != count * row_bytes) fail("the rows are cut short");
    uint64_t arguments[7 + MOST_OUTPUTS] = {(uintptr_t)tables, (uintptr_t)rows, count, (uintptr_t)margins,
                                            (uintptr_t)scratch};
    if (finish) {
      arguments[3] = (uintptr_t)rows; /* no kernel at 5; all outputs at 6 */
      char *out = margins;
      for (int k = 4; k < argc; out += count * (size_t)atol(argv[k++])) arguments[k + 3] = (uintptr_t)out;
    }
    for (uint32_t k = 0; k < request[1]; k++) ((void (*)(void *))(code + entry))(arguments);
    if (fwrite(margins, 1, count * margin_bytes, stdout) != count * margin_bytes || fflush(stdout)) fail("no reader");
    free(rows);
    free(margins);
  }
  return 0;
}
