/* SPDX-License-Identifier: BSD-3-Clause */
/* The loss of a large vocabulary, whose logits are made in pieces, and the
 * choice of the next token. */
#include "model/ops.h"

#include "device/device_check.h"
#include "device/device_cpu.h"
#include "numbers.h"
#include "unit.h"

/* A vocabulary so large that logits are made for 16 rows at a time. */
enum { VOCABULARY = 200000, WIDTH = 3, TOKENS = 21 };

typedef struct large {
  float params[VOCABULARY * WIDTH], grads[VOCABULARY * WIDTH];
  float x[TOKENS * WIDTH];
  int32_t labels[TOKENS];
  /* Wanted. */
  double loss, terms, dx[TOKENS * WIDTH];
  int32_t best[TOKENS];
} large;

static const double logit_scale = 0.5;
#define SMOOTHING 0.125f
#define Z_LOSS 0.0625f

static double logit_of(const large *l, int row, int id) {
  double sum = 0;
  for (int i = 0; i < WIDTH; i++)
    sum += (double) l->x[row * WIDTH + i] * (double) l->params[id * WIDTH + i];
  return logit_scale * sum;
}

static void reference_row(large *l, int row) {
  const double smoothing = SMOOTHING, z_loss = Z_LOSS;
  double sum = 0, total = 0, best = -INFINITY;
  int32_t label = l->labels[row];
  for (int v = 0; v < VOCABULARY; v++) {
    double logit = logit_of(l, row, v);
    sum += exp(logit);
    total += logit;
    if (logit > best)
      l->best[row] = v;
    best = fmax(best, logit);
  }
  if (label < 0)
    return;
  double wanted = logit_of(l, row, label), log_z = log(sum);
  l->loss += log_z - wanted;
  l->terms +=
      smoothing * (wanted - total / VOCABULARY) + z_loss * log_z * log_z;
  for (int v = 0; v < VOCABULARY; v++) {
    double g = (1 + 2 * z_loss * log_z) * exp(logit_of(l, row, v)) / sum -
               smoothing / VOCABULARY - (1 - smoothing) * (v == label);
    for (int i = 0; i < WIDTH; i++)
      l->dx[row * WIDTH + i] +=
          logit_scale * g * (double) l->params[v * WIDTH + i];
  }
}

START_TEST(large_vocabularies_go_in_pieces) {
  static large l;
  static char host[1 << 16];
  const zt_weight w = {.rows = VOCABULARY, .cols = WIDTH};
  const size_t size = 1 << 25;
  zt_arena work, records;
  zt_device *dev;
  void *memory;
  double loss[2] = {0, 0};
  int32_t index[TOKENS / 2];
  numbers_fill(l.params, VOCABULARY * WIDTH, 1, 2);
  numbers_fill(l.x, TOKENS * WIDTH, 2, 2);
  for (int r = 0; r < TOKENS; r++) {
    l.labels[r] = r == 4 ? -100 : r * 9001;
    reference_row(&l, r);
  }
  ck_zt_ok(zt_device_cpu_create(1, &dev));
  ck_zt_ok(zt_device_check(dev));
  ck_zt_ok(zt_device_allocate(dev, size, &memory));
  zt_arena_init(&work, "work", memory, size);
  zt_arena_init(&records, "records", host, sizeof host);
  zt_tape tape = {.dev = dev,
                  .keep = &work,
                  .work = &work,
                  .host = &records,
                  .params = l.params,
                  .grads = l.grads,
                  .recording = true};
  zt_value x = {.data = l.x, .rows = TOKENS, .cols = WIDTH};
  ck_zt_ok(zt_op_cross_entropy(&tape, &x, w,
                               &(zt_loss){.scale = logit_scale,
                                          .labels = l.labels,
                                          .smoothing = SMOOTHING,
                                          .z_loss = Z_LOSS,
                                          .sums = loss}));
  ck_zt_ok(zt_tape_backward(&tape, NULL));
  ck_assert_double_eq_tol(loss[0], l.loss, 1e-5 * l.loss);
  ck_assert_double_eq_tol(loss[1], l.terms, 1e-5 * l.terms);
  ck_assert_double_le(numbers_distance(x.grad, l.dx, TOKENS * WIDTH), 1e-4);
  int32_t rows[TOKENS / 2];
  float *logits = calloc(TOKENS / 2 * VOCABULARY, sizeof *logits);
  for (int32_t i = 0; i < TOKENS / 2; i++)
    rows[i] = 1 + 2 * i;
  ck_zt_ok(zt_op_logits(&tape, &x, w, logit_scale, rows, TOKENS / 2, logits));
  ck_zt_ok(zt_argmax(dev, TOKENS / 2, VOCABULARY, logits, index));
  free(logits);
  for (int i = 0; i < TOKENS / 2; i++)
    ck_assert_int_eq(index[i], l.best[1 + 2 * i]);
  zt_device_release(dev, memory, size);
  zt_device_destroy(&dev);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("loss");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_test(all, large_vocabularies_go_in_pieces);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
