/* A plugin of qemu's user mode: instructions that a program executes, by page of its code.
 *
 *     qemu-aarch64 -plugin count_instructions.so,out=FILE -cpu MODEL PROGRAM
 *
 * FILE gets a table at every call of the system call MARK, which no kernel has, and one at the end:
 *
 *     mark
 *     <page, hexadecimal> <instructions so far>
 *
 * The few prototypes are declared here, so that no header of qemu's is needed. API is the version of the plugin
 * interface. Counters are not atomic: programs of one thread alone.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef API
#define API 1
#endif
#define EXPORT __attribute__((visibility("default")))
enum { MARK = 0x6e656f, PAGE = 12, SLOTS = 1 << 17 };

typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb, void (*cb)(unsigned, void *), int flags, void *data);
void qemu_plugin_register_vcpu_syscall_cb(qemu_plugin_id_t id,
                                          void (*cb)(qemu_plugin_id_t, unsigned, int64_t, uint64_t, uint64_t, uint64_t,
                                                     uint64_t, uint64_t, uint64_t, uint64_t, uint64_t));
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t id, void (*cb)(qemu_plugin_id_t, void *), void *data);

EXPORT int qemu_plugin_version = API;

typedef struct {
  uint64_t page, count;
} Slot;
typedef struct {
  Slot *slot;
  uint64_t instructions;
} Block;

static Slot slots[SLOTS];
static const char *out;

static Slot *slot_of(uint64_t page) {
  for (uint64_t k = page * 0x9E3779B97F4A7C15ull >> 47;; k++) {
    Slot *s = &slots[k & (SLOTS - 1)];
    if (!s->page) s->page = page;
    if (s->page == page) return s;
  }
}

static void executed(unsigned cpu, void *data) {
  (void)cpu;
  Block *block = data;
  block->slot->count += block->instructions;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
  (void)id;
  Block *block = malloc(sizeof *block);
  if (!block) abort();
  block->slot = slot_of(qemu_plugin_tb_vaddr(tb) >> PAGE);
  block->instructions = qemu_plugin_tb_n_insns(tb);
  qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0 /* no access to registers */, block);
}

static void table(void) {
  FILE *f = fopen(out, "a");
  if (!f) return;
  fprintf(f, "mark\n");
  for (size_t k = 0; k < SLOTS; k++)
    if (slots[k].count) fprintf(f, "%" PRIx64 " %" PRIu64 "\n", slots[k].page, slots[k].count);
  fclose(f);
}

static void called(qemu_plugin_id_t id, unsigned cpu, int64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                   uint64_t e, uint64_t f, uint64_t g, uint64_t h) {
  (void)id, (void)cpu, (void)a, (void)b, (void)c, (void)d, (void)e, (void)f, (void)g, (void)h;
  if (number == MARK) table();
}

static void ended(qemu_plugin_id_t id, void *data) {
  (void)id, (void)data;
  table();
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
  (void)info;
  for (int k = 0; k < argc; k++)
    if (!strncmp(argv[k], "out=", 4)) out = strdup(argv[k] + 4);
  if (!out) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_vcpu_syscall_cb(id, called);
  qemu_plugin_register_atexit_cb(id, ended, NULL);
  return 0;
}
