/* SPDX-License-Identifier: BSD-3-Clause */
/* The CPU device: matrix products in every form, position bias, embedding, the
 * loss in pieces; values against double precision, the same bits for any number
 * of threads. */
#include "device/device_cpu.h"

#include "base/grid.h"
#include "device/cpu_kernels.h"
#include "device/device_null.h"
#include "numbers.h"
#include "unit.h"

#include <stdio.h>

enum { THREADS = 3 }; /* devices with 1, 2 and 3 threads */

static zt_device *devices[THREADS];

static void open_devices(void) {
  for (int t = 0; t < THREADS; t++)
    ck_zt_ok(zt_device_cpu_create(t + 1, &devices[t]));
}

static void close_devices(void) {
  for (int t = 0; t < THREADS; t++)
    zt_device_destroy(&devices[t]);
}

static float *numbers(int64_t n, uint64_t seed) {
  float *x = malloc((size_t) (n + 1) * sizeof *x);
  ck_assert_ptr_nonnull(x);
  numbers_fill(x, n, seed, 1);
  return x;
}

/* ---- Matrix products ---- */

typedef struct product {
  bool ta, tb;
  int64_t m, n, k;
  int64_t gap; /* elements between rows */
  float alpha, beta;
} product;

/* The largest error of rows of C, in halves of the last place of the sum of
 * absolute products: how much any order of summation may differ. */
static double worst_error(const zt_gemm *g, const float *old) {
  const float *a = g->a.data, *b = g->b.data, *c = g->c.data;
  double worst = 0;
  /* A sample of a large product is enough. */
  int64_t down = g->m > 64 ? g->m / 37 + 1 : 1, across = g->n > 64 ? 7 : 1;
  for (int64_t i = 0; i < g->m; i += down)
    for (int64_t j = 0; j < g->n; j += across) {
      double sum = 0, size = 0;
      for (int64_t p = 0; p < g->k; p++) {
        double x =
            (double) a[g->transpose_a ? p * g->a.ld + i : i * g->a.ld + p];
        double y =
            (double) b[g->transpose_b ? j * g->b.ld + p : p * g->b.ld + j];
        sum += x * y;
        size += fabs(x * y);
      }
      double before = g->beta != 0 ? (double) old[i * g->c.ld + j] : 0;
      sum = (double) g->alpha * sum + (double) g->beta * before;
      size = fabs((double) g->alpha) * size + fabs((double) g->beta * before);
      double error = fabs((double) c[i * g->c.ld + j] - sum);
      worst = fmax(worst, error / (size * 0x1p-24));
    }
  return worst;
}

/* Of rows [n of ld], the elements that are no part of the matrix. */
static void check_gaps(const float *c, const float *old, const zt_gemm *g) {
  for (int64_t i = 0; i < g->m; i++)
    if (memcmp(c + i * g->c.ld + g->n, old + i * g->c.ld + g->n,
               (size_t) (g->c.ld - g->n) * sizeof *c) != 0)
      ck_abort_msg("row %ld is written behind its end", (long) i);
}

static double run_product(const product *p) {
  int64_t rows_a = p->ta ? p->k : p->m, lda = (p->ta ? p->m : p->k) + p->gap;
  int64_t rows_b = p->tb ? p->n : p->k, ldb = (p->tb ? p->k : p->n) + p->gap;
  int64_t ldc = p->n + p->gap, size = p->m * ldc;
  float *a = numbers(rows_a * lda, 1), *b = numbers(rows_b * ldb, 2);
  float *old = numbers(size, 3), *c[THREADS];
  zt_gemm g = {.transpose_a = p->ta,
               .transpose_b = p->tb,
               .m = p->m,
               .n = p->n,
               .k = p->k,
               .alpha = p->alpha,
               .beta = p->beta,
               .a = {a, lda, ZT_FP32},
               .b = {b, ldb, ZT_FP32}};
  /* With beta 0 what was there before is not looked at. */
  for (int64_t i = 0; p->beta == 0 && i < size; i++)
    old[i] = i % ldc < p->n ? NAN : old[i];
  for (int t = 0; t < THREADS; t++) {
    c[t] = numbers(size, 3);
    memcpy(c[t], old, (size_t) size * sizeof *old);
    g.c = (zt_matrix){c[t], ldc, ZT_FP32};
    ck_zt_ok(zt_gemm_run(devices[t], &g));
    if (memcmp(c[t], c[0], (size_t) size * sizeof *old) != 0)
      ck_abort_msg("%d threads: other bits", t + 1);
  }
  check_gaps(c[0], old, &g);
  double worst = worst_error(&g, old);
  free(a);
  free(b);
  free(old);
  for (int t = 0; t < THREADS; t++)
    free(c[t]);
  return worst;
}

static const int64_t shapes[][3] = {
    {1, 1, 1},      {1, 33, 31},    {31, 1, 33},    {33, 31, 1},
    {6, 16, 512},   {6, 16, 513}, /* the limits of the small products */
    {128, 64, 512}, {129, 64, 512}, {7, 500, 3},    {3, 4099, 5},
    {256, 256, 64}, {257, 255, 65}, {300, 700, 30}, {1025, 63, 129},
    {64, 1100, 90}, {520, 513, 40},
};

START_TEST(products_of_every_form) {
  const int64_t *s = shapes[_i];
  const float factors[][2] = {{1, 0}, {1, 1}, {-0.37f, 0.5f}};
  double worst = 0;
  for (int form = 0; form < 12; form++) {
    product p = {.ta = form & 1,
                 .tb = form & 2,
                 .m = s[0],
                 .n = s[1],
                 .k = s[2],
                 .gap = form % 5 ? form % 5 * 3 : 0,
                 .alpha = factors[form / 4][0],
                 .beta = factors[form / 4][1]};
    worst = fmax(worst, run_product(&p));
  }
  bool small =
      s[2] <= ZT_CPU_SMALL_K && s[0] * s[1] * s[2] <= ZT_CPU_SMALL_WORK;
  printf("%ld x %ld x %ld: %s, within %.2f\n", (long) s[0], (long) s[1],
         (long) s[2], small ? "small" : "BLAS", worst);
  /* Small products are rounded once; others at most once a term. */
  ck_assert_double_le(worst, small ? 1.001 : 8);
}
END_TEST

START_TEST(wrong_shapes_are_refused) {
  float x[4];
  zt_gemm g = {.m = 2, .n = 2, .k = 2, .alpha = 1};
  g.a = g.b = g.c = (zt_matrix){x, 2, ZT_FP32};
  g.c.ld = 1;
  ck_zt_fails(zt_gemm_run(devices[0], &g), ZT_ERR_INTERNAL);
  g.c.ld = 2;
  g.k = 0;
  ck_zt_fails(zt_gemm_run(devices[0], &g), ZT_ERR_INTERNAL);
  g.k = 3;
  ck_zt_fails(zt_gemm_run(devices[0], &g), ZT_ERR_INTERNAL);
}
END_TEST

/* The same calls cost the same on the device that only counts. */
START_TEST(work_is_counted) {
  zt_device *null;
  float x[12] = {0};
  zt_gemm g = {.m = 2, .n = 3, .k = 2, .alpha = 1};
  g.a = (zt_matrix){x, 2, ZT_FP32};
  g.b = g.c = (zt_matrix){x + 6, 3, ZT_FP32};
  ck_zt_ok(zt_device_null_create(devices[0], &null));
  uint64_t before = devices[0]->flops;
  ck_zt_ok(zt_gemm_run(devices[0], &g));
  ck_zt_ok(zt_gemm_run(null, &g));
  ck_assert_uint_eq(devices[0]->flops - before, 2 * 2 * 3 * 2);
  ck_assert_uint_eq(null->flops, 2 * 2 * 3 * 2);
  zt_device_destroy(&null);
  zt_device_destroy(&null);
}
END_TEST

/* ---- Position bias ---- */

START_TEST(bias_goes_by_buckets) {
  enum { HEADS = 3, OFFSETS = 11, BUCKETS = 5 };
  int32_t bucket[OFFSETS];
  float *table = numbers(BUCKETS * HEADS, 1), bias[HEADS * OFFSETS];
  float *dbias = numbers(HEADS * OFFSETS, 2);
  float *dtable = numbers(BUCKETS * HEADS, 3);
  double wanted[BUCKETS * HEADS];
  for (int i = 0; i < OFFSETS; i++)
    bucket[i] = i * i % BUCKETS; /* bucket 2 and 3 have none */
  for (int i = 0; i < BUCKETS * HEADS; i++)
    wanted[i] = (double) dtable[i];
  zt_bias call = {.heads = HEADS,
                  .offsets = OFFSETS,
                  .buckets = BUCKETS,
                  .bucket = bucket,
                  .table = table,
                  .bias = bias,
                  .dbias = dbias,
                  .dtable = dtable};
  ck_zt_ok(zt_bias_forward(devices[0], &call));
  ck_zt_ok(zt_bias_backward(devices[0], &call));
  for (int h = 0; h < HEADS; h++)
    for (int o = 0; o < OFFSETS; o++) {
      int cell = bucket[o] * HEADS + h;
      ck_assert_float_eq(bias[h * OFFSETS + o], table[cell]);
      wanted[cell] += (double) dbias[h * OFFSETS + o];
    }
  for (int i = 0; i < BUCKETS * HEADS; i++)
    ck_assert_double_le(fabs((double) dtable[i] - wanted[i]), 1e-6);
  free(table);
  free(dbias);
  free(dtable);
}
END_TEST

/* ---- Embedding ---- */

/* Ids that repeat: each sum runs over the rows in order, whatever threads. */
START_TEST(embedding_adds_rows_in_order) {
  enum { ROWS = 211, D = 333, VOCABULARY = 17 };
  int32_t ids[ROWS];
  float *table = numbers(VOCABULARY * D, 1), *y = numbers(ROWS * D, 2);
  float *dy = numbers(ROWS * D, 3), *wanted = numbers(VOCABULARY * D, 4);
  for (int r = 0; r < ROWS; r++) {
    ids[r] = (int32_t) (numbers_bits(5, (uint64_t) r) % (VOCABULARY - 1));
    for (int i = 0; i < D; i++)
      wanted[ids[r] * D + i] += dy[r * D + i];
  }
  for (int t = 0; t < THREADS; t++) {
    float *dtable = numbers(VOCABULARY * D, 4);
    zt_embedding call = {.padding = -1,
                         .rows = ROWS,
                         .d = D,
                         .vocabulary = VOCABULARY,
                         .ids = ids,
                         .table = table,
                         .y = y,
                         .dy = dy,
                         .dtable = dtable};
    ck_zt_ok(zt_embedding_forward(devices[t], &call));
    for (int r = 0; r < ROWS; r++)
      ck_assert_mem_eq(y + r * D, table + ids[r] * D, D * sizeof *y);
    ck_zt_ok(zt_embedding_backward(devices[t], &call));
    ck_assert_mem_eq(dtable, wanted, VOCABULARY * D * sizeof *wanted);
    free(dtable);
  }
  free(table);
  free(y);
  free(dy);
  free(wanted);
}
END_TEST

/* ---- Rows and elements shared out to threads ---- */

/* Large enough for many pieces; results of all calls one after the other. */
enum { ROWS = 700, D = 130, N = ROWS * D };

static void run_norm(zt_device *dev, zt_norm_kind kind, float *out) {
  bool layer = kind == ZT_LAYER_NORM;
  float *x = numbers(N, 1), *dy = numbers(N, 2), *w = numbers(2 * D, 3);
  float *stats = numbers(2 * ROWS, 0);
  zt_norm call = {.kind = kind, .rows = ROWS, .d = D, .eps = 1e-6f, .x = x};
  call.w = w;
  call.b = layer ? w + D : NULL;
  call.y = out;
  call.stats = stats;
  call.dy = dy;
  call.dx = out + N;
  call.dw = out + 2 * N;
  call.db = layer ? call.dw + D : NULL;
  call.workspace = malloc(zt_device_norm_workspace(dev, &call));
  memset(call.dw, 0, 2 * D * sizeof *out);
  ck_zt_ok(zt_norm_forward(dev, &call));
  ck_zt_ok(zt_norm_backward(dev, &call));
  free(call.workspace);
  free(stats);
  free(x);
  free(dy);
  free(w);
}

static void run_points(zt_device *dev, float *out) {
  float *x = numbers(2 * N, 1), *dy = numbers(N, 2);
  zt_activation call = {.kind = ZT_GELU_NEW, .gated = true, .rows = ROWS};
  call.d = D;
  call.x = x;
  call.y = out;
  call.dy = dy;
  call.dx = out + N;
  call.dropout = (zt_dropout){.rate = 0.1f, .rows_per_sample = 70};
  ck_zt_ok(zt_activation_forward(dev, &call));
  ck_zt_ok(zt_activation_backward(dev, &call));
  zt_drop drop = {.rows = ROWS, .d = D, .x = x, .residual = dy};
  drop.y = out + 3 * N;
  drop.dropout = call.dropout;
  ck_zt_ok(zt_drop_run(dev, &drop));
  ck_zt_ok(zt_add(dev, ZT_FP32, N, drop.y, x));
  free(x);
  free(dy);
}

static void run_loss_and_sums(zt_device *dev, float *out) {
  int32_t labels[ROWS], best[ROWS];
  float *losses = out + N;
  double loss[2] = {0, 0}, sums[N / ZT_GRID];
  for (int r = 0; r < ROWS; r++)
    labels[r] = r % 5 ? r % D : -100;
  numbers_fill(out, N, 7, 9);
  ck_zt_ok(zt_sum_squares(dev, N / ZT_GRID, out, sums));
  ck_zt_ok(zt_argmax(dev, ROWS, D, out, best));
  zt_cross_entropy call = {.rows = ROWS, .vocabulary = D, .logits = out};
  call.labels = labels;
  call.row_loss = losses;
  call.loss = loss;
  call.smoothing = 0.1f;
  call.gradient = true;
  ck_zt_ok(zt_cross_entropy_run(dev, &call));
  double in_order[2] = {0, 0};
  for (int r = 0; r < 2 * ROWS; r++)
    in_order[r / ROWS] += (double) losses[r];
  ck_assert_double_eq(loss[0], in_order[0]);
  ck_assert_double_eq(loss[1], in_order[1]);
  memcpy(losses + 2 * ROWS, sums, sizeof sums);
  memcpy(losses + 3 * ROWS, best, sizeof best);
}

static void run_adamw(zt_device *dev, float *out) {
  float *g = numbers(N, 1);
  numbers_fill(out, 2 * N, 2, 1);
  memset(out + 2 * N, 0, N * sizeof *out);
  zt_adamw call = {.n = N, .p = out, .m = out + N, .v = out + 2 * N};
  call.gradient = g;
  call.scale = call.root_c2 = call.decay = 1;
  call.beta2 = 0.999f;
  call.rate1 = call.rate2 = call.step_size = 0.01f;
  call.eps = 1e-8f;
  ck_zt_ok(zt_adamw_run(dev, &call));
  free(g);
}

static void run_factored(zt_device *dev, float *out) {
  static int64_t sums[ROWS + D];
  static float factor[ROWS + D];
  zt_factored call = {.first = 5,
                      .n = ROWS * D - 9,
                      .columns = D,
                      .gradient = out,
                      .scale = 0.5f,
                      .row_sum = sums,
                      .column_sum = sums + ROWS,
                      .row_factor = factor,
                      .column_factor = factor + ROWS};
  numbers_fill(out, N, 2, 1);
  for (int i = 0; i < ROWS + D; i++)
    factor[i] = 0x1p20f;
  for (int phase = 0; phase < 3; phase++) {
    call.phase = (zt_factored_phase) phase;
    memset(sums, 0, sizeof sums);
    ck_zt_ok(zt_factored_run(dev, &call));
    for (int i = 0; i < ROWS + D; i++)
      out[N + phase * (ROWS + D) + i] = (float) sums[i];
  }
  ck_zt_ok(zt_step_down(dev, N, out, out + N, 0.9f, 0.1f));
}

static void run_call(zt_device *dev, int which, float *out) {
  if (which < 2)
    run_norm(dev, (zt_norm_kind) which, out);
  else if (which == 2)
    run_points(dev, out);
  else if (which == 3)
    run_loss_and_sums(dev, out);
  else if (which == 4)
    run_adamw(dev, out);
  else
    run_factored(dev, out);
}

START_TEST(threads_change_no_bits) {
  static float wanted[4 * N], got[4 * N];
  run_call(devices[0], _i, wanted);
  for (int t = 1; t < THREADS; t++) {
    run_call(devices[t], _i, got);
    ck_assert_int_eq(numbers_differ(got, wanted, 4 * N), -1);
  }
}
END_TEST

int main(int argc, char **argv) {
  (void) argc;
  zt_device_cpu_prepare(argv); /* short spinning */
  Suite *suite = suite_create("device");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_checked_fixture(all, open_devices, close_devices);
  tcase_add_loop_test(all, products_of_every_form, 0,
                      sizeof shapes / sizeof *shapes);
  tcase_add_test(all, wrong_shapes_are_refused);
  tcase_add_test(all, work_is_counted);
  tcase_add_test(all, bias_goes_by_buckets);
  tcase_add_test(all, embedding_adds_rows_in_order);
  tcase_add_loop_test(all, threads_change_no_bits, 0, 6);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
