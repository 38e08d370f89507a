/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations of generation: right, and no row depends on the others. */
#include "device/device_cpu.h"
#include "kernel_sets.h"
#include "numbers.h"
#include "unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Elements of the largest operands of the shapes below. */
enum { MOST_A = 200 * 300, MOST_B = 9000 * 5, MOST_C = 2 * 9000 };

typedef struct operands {
  float a[MOST_A], b[MOST_B], c[MOST_C];
} operands;

static void fill(operands *o) {
  numbers_fill(o->a, MOST_A, 1, 2);
  numbers_fill(o->b, MOST_B, 2, 2);
  numbers_fill(o->c, MOST_C, 3, 2);
}

static zt_gemm product(operands *o, int64_t m, int64_t n, int64_t k,
                       bool transposed, float beta) {
  return (zt_gemm){.transpose_b = transposed,
                   .m = m,
                   .n = n,
                   .k = k,
                   .alpha = 0.5F,
                   .beta = beta,
                   .a = {o->a, k, ZT_FP32},
                   .b = {o->b, transposed ? k : n, ZT_FP32},
                   .c = {o->c, n, ZT_FP32},
                   .rows_alone = true};
}

static double reference(const operands *o, const zt_gemm *g, int64_t i,
                        int64_t j) {
  double sum = 0;
  for (int64_t p = 0; p < g->k; p++)
    sum += (double) o->a[i * g->k + p] *
           (double) o->b[g->transpose_b ? j * g->k + p : p * g->n + j];
  return sum;
}

static const struct {
  int64_t m, n, k;
} shapes[] = {{1, 1, 1},    {13, 150, 140},
              {4, 64, 32},  {5, 33, 17},
              {8, 129, 96}, {3, 7, 15},
              {13, 3, 128}, {2, 9000, 5} /* more than a strip of columns */,
              {29, 70, 31}, {200, 70, 300} /* panels and batches of rows */};

/* With as many threads as may be, with some and alone: the same bits, and near
 * the sum in fp64. */
static void check_product(zt_device *dev, int64_t m, int64_t n, int64_t k,
                          bool transposed, float beta) {
  static operands whole, part;
  fill(&whole);
  zt_gemm g = product(&whole, m, n, k, transposed, beta);
  ck_zt_ok(zt_gemm_run(dev, &g));
  fill(&part);
  for (int64_t i = 0; i < m * n; i++) {
    double want = 0.5 * reference(&part, &g, i / n, i % n) +
                  (double) beta * (double) part.c[i];
    ck_assert_double_eq_tol((double) whole.c[i], want, k > 140 ? 5e-5 : 2e-5);
  }
  for (int64_t first = 0, rows = 1; first < m; first += rows, rows++) {
    zt_gemm some = product(&part, rows < m - first ? rows : m - first, n, k,
                           transposed, beta);
    some.a.data = part.a + first * k;
    some.c.data = part.c + first * n;
    ck_zt_ok(zt_gemm_run(dev, &some));
  }
  ck_assert_mem_eq(whole.c, part.c, (size_t) (m * n) * sizeof *part.c);
}

START_TEST(products_of_rows) {
  for (int threads = 1; threads <= 3; threads += 2) {
    zt_device *dev;
    ck_zt_ok(zt_device_cpu_create(threads, &dev));
    for (int t = 0; t < 4; t++)
      check_product(dev, shapes[_i].m, shapes[_i].n, shapes[_i].k, t & 1,
                    t & 2 ? 1 : 0);
    zt_device_destroy(&dev);
  }
}
END_TEST

/* All kernel sets: near each other, and rows alone. */
START_TEST(sets_agree) {
  static operands o, first;
  const zt_cpu_kernels *sets[KERNEL_SETS];
  int n = kernel_sets(sets);
  for (int s = 0; s < n; s++)
    for (int t = 0; t < 2; t++) {
      fill(&o);
      zt_gemm g = product(&o, 13, 150, 140, t, 0);
      sets[s]->gemm_rows(&g, 0, 150);
      fill(&first);
      g = product(&first, 13, 150, 140, t, 0);
      for (int64_t i = 0; i < 13; i++) {
        zt_gemm one = g;
        one.m = 1;
        one.a.data = first.a + i * 140;
        one.c.data = first.c + i * 150;
        sets[s]->gemm_rows(&one, 0, 150);
      }
      ck_assert_mem_eq(o.c, first.c, 13 * 150 * sizeof *o.c);
      for (int64_t i = 0; i < 13 * 150; i++)
        ck_assert_double_eq_tol(
            (double) o.c[i], 0.5 * reference(&o, &g, i / 150, i % 150), 2e-5);
    }
}
END_TEST

/* ---- Attention ---- */

enum { HEADS = 4, KV_HEADS = 2, DIM = 20, LENGTH = 37, SLOTS = 3 };

static const struct {
  int64_t window;
  bool bias, places;
} attentions[] = {
    {0, false, false}, {0, true, false}, {5, false, false}, {0, true, true}};

enum { ROWS = SLOTS * LENGTH, WIDTH = HEADS * DIM, KEPT = KV_HEADS * DIM };
enum { OFFSETS = 2 * LENGTH - 1 };

static struct {
  float q[ROWS * WIDTH], k[ROWS * KEPT], v[ROWS * KEPT], bias[HEADS * OFFSETS];
  float y[ROWS * WIDTH], want[ROWS * WIDTH], stats[2 * HEADS * ROWS];
  float moved_k[ROWS * KEPT], moved_v[ROWS * KEPT];
  int32_t base[ROWS], keys[ROWS], position[ROWS], place[ROWS];
} at;

static void fill_attention(void) {
  numbers_fill(at.q, ROWS * WIDTH, 1, 2);
  numbers_fill(at.k, ROWS * KEPT, 2, 2);
  numbers_fill(at.v, ROWS * KEPT, 3, 2);
  numbers_fill(at.bias, HEADS * OFFSETS, 4, 2);
  for (int32_t r = 0; r < ROWS; r++) {
    at.base[r] = r / LENGTH * LENGTH;
    at.position[r] = r % LENGTH;
    at.keys[r] = at.position[r] + 1;
    at.place[r] = (r * 5 + 2) % ROWS; /* 5 and 111 have no common factor */
  }
}

/* The attention of training, whose rows are those of samples, to `want`. */
static void attend_samples(zt_device *dev, int64_t window, bool bias) {
  zt_attention a = {.samples = SLOTS,
                    .heads = HEADS,
                    .kv_heads = KV_HEADS,
                    .head_dim = DIM,
                    .q_length = LENGTH,
                    .k_length = LENGTH,
                    .scale = 0.3F,
                    .causal = true,
                    .window = window,
                    .bias = bias ? at.bias : NULL,
                    .q = {at.q, WIDTH, ZT_FP32},
                    .k = {at.k, KEPT, ZT_FP32},
                    .v = {at.v, KEPT, ZT_FP32},
                    .y = {at.want, WIDTH, ZT_FP32},
                    .stats = at.stats};
  a.workspace = malloc(zt_device_attention_workspace(dev, &a));
  ck_zt_ok(zt_attention_forward(dev, &a));
  free(a.workspace);
}

static zt_row_attention rows_of(int64_t window, bool bias) {
  return (zt_row_attention){.rows = ROWS,
                            .heads = HEADS,
                            .kv_heads = KV_HEADS,
                            .head_dim = DIM,
                            .scale = 0.3F,
                            .window = window,
                            .most_keys = LENGTH,
                            .base = at.base,
                            .keys = at.keys,
                            .position = at.position,
                            .bias = bias ? at.bias : NULL,
                            .offsets = OFFSETS,
                            .zero = LENGTH - 1,
                            .q = {at.q, WIDTH, ZT_FP32},
                            .k = {at.k, KEPT, ZT_FP32},
                            .v = {at.v, KEPT, ZT_FP32},
                            .y = {at.y, WIDTH, ZT_FP32}};
}

/* Keys and values to other places. */
static void move_keys(zt_device *dev, zt_row_attention *rows) {
  zt_scatter move = {.rows = ROWS,
                     .n = KEPT,
                     .place = at.place,
                     .from = rows->k,
                     .to = {at.moved_k, KEPT, ZT_FP32}};
  ck_zt_ok(zt_scatter_run(dev, &move));
  move.from = rows->v;
  move.to.data = at.moved_v;
  ck_zt_ok(zt_scatter_run(dev, &move));
  rows->k.data = at.moved_k;
  rows->v.data = at.moved_v;
  rows->place = at.place;
}

START_TEST(attention_of_rows) {
  const int64_t window = attentions[_i].window;
  const bool bias = attentions[_i].bias;
  zt_device *dev;
  ck_zt_ok(zt_device_cpu_create(2, &dev));
  fill_attention();
  attend_samples(dev, window, bias);
  zt_row_attention rows = rows_of(window, bias);
  if (attentions[_i].places)
    move_keys(dev, &rows);
  ck_zt_ok(zt_row_attention_run(dev, &rows));
  for (int i = 0; i < ROWS * WIDTH; i++)
    ck_assert_float_eq_tol(at.y[i], at.want[i], 1e-5F);
  memcpy(at.want, at.y, sizeof at.y);
  for (int64_t r = ROWS - 1; r >= 0; r--) { /* one row at a time */
    zt_row_attention one = rows;
    one.rows = 1;
    one.base += r;
    one.keys += r;
    one.position += r;
    one.q.data = at.q + r * WIDTH;
    one.y.data = at.y + r * WIDTH;
    ck_zt_ok(zt_row_attention_run(dev, &one));
  }
  ck_assert_mem_eq(at.y, at.want, sizeof at.y);
  zt_device_destroy(&dev);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("rows");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, products_of_rows, 0, sizeof shapes / sizeof *shapes);
  tcase_add_test(all, sets_agree);
  tcase_add_loop_test(all, attention_of_rows, 0,
                      sizeof attentions / sizeof *attentions);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
