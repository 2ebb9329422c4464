/* call_model ROWS N OUT [THREADS]: predictions, then margins, of a standalone model, by as many threads at once.
 *
 * -DROW=, -DPREDICTION=, -DMARGIN= are the types of its header. With -DPOOR, malloc finds no memory for a scratch:
 * a thread whose call fails tries again. */
#include "model.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ROW *rows;
static size_t count;

#ifdef POOR
void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes) { return bytes > 4096 ? NULL : __real_malloc(bytes); }
#define AGAIN(call) while (call) sched_yield()
#else
#define AGAIN(call) if (call) abort()
#endif

typedef struct {
  PREDICTION *predictions;
  MARGIN *margins;
} answer;

static void *work(void *argument) {
  answer *to = argument;
  AGAIN(neoc_predict(rows, count, to->predictions));
  AGAIN(neoc_margin(rows, count, to->margins));
  return NULL;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  count = (size_t)atol(argv[2]);
  int threads = argc > 4 ? atoi(argv[4]) : 1;
  size_t row_bytes = count * NEOC_FEATURES * sizeof(ROW);
  size_t bytes[2] = {count * NEOC_PREDICT_COLUMNS * sizeof(PREDICTION), count * NEOC_MARGIN_COLUMNS * sizeof(MARGIN)};
  ROW *read = calloc(1, row_bytes + 1);
  FILE *f = fopen(argv[1], "rb");
  if (!f || fread(read, 1, row_bytes, f) != row_bytes) return 2;
  fclose(f);
  rows = read;
  answer answers[16];
  pthread_t ids[16];
  for (int k = 0; k < threads; k++) {
    answers[k] = (answer){calloc(1, bytes[0] + 1), calloc(1, bytes[1] + 1)};
    if (pthread_create(&ids[k], NULL, work, &answers[k])) return 3;
  }
  for (int k = 0; k < threads; k++) pthread_join(ids[k], NULL);
  for (int k = 1; k < threads; k++)
    if (memcmp(answers[0].predictions, answers[k].predictions, bytes[0]) ||
        memcmp(answers[0].margins, answers[k].margins, bytes[1]))
      return 4;
  f = fopen(argv[3], "wb");
  if (!f || fwrite(answers[0].predictions, 1, bytes[0], f) != bytes[0]) return 2;
  if (fwrite(answers[0].margins, 1, bytes[1], f) != bytes[1]) return 2;
  return fclose(f) ? 2 : 0;
}
