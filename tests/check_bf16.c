/* SPDX-License-Identifier: BSD-3-Clause */
/* bf16 on the CPU device: row operations give the fp32 result rounded once;
 * products and attention are as near to it as one rounding and other sums
 * allow; the number of threads changes no bits. */
#include "device/device_cpu.h"

#include "numbers.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* An array in both formats with the same values. */
typedef struct both {
  float *wide;
  uint16_t *narrow;
  size_t n;
} both;

static zt_device *devices[2]; /* with 1 and 3 threads */
static uint64_t seed;

static void setup(void) {
  seed = 1;
  ck_zt_ok(zt_device_cpu_create(1, &devices[0]));
  ck_zt_ok(zt_device_cpu_create(3, &devices[1]));
}

static void teardown(void) {
  zt_device_destroy(&devices[0]);
  zt_device_destroy(&devices[1]);
}

static both make(int64_t n) {
  both b = {malloc((size_t) n * sizeof(float)),
            malloc((size_t) n * sizeof(uint16_t)), (size_t) n};
  ck_assert(b.wide && b.narrow);
  numbers_fill(b.wide, n, seed++, 2);
  zt_from_fp32(ZT_BF16, b.wide, b.narrow, b.n);
  zt_to_fp32(ZT_BF16, b.narrow, b.wide, b.n);
  return b;
}

static both copy(const both *from) {
  both b = make((int64_t) from->n);
  memcpy(b.wide, from->wide, b.n * sizeof *b.wide);
  memcpy(b.narrow, from->narrow, b.n * sizeof *b.narrow);
  return b;
}

static void drop_both(both *b) {
  free(b->wide);
  free(b->narrow);
}

static void ck_rounded(const char *what, const both *b) {
  for (size_t i = 0; i < b->n; i++) {
    uint16_t expected;
    zt_from_fp32(ZT_BF16, b->wide + i, &expected, 1);
    ck_assert_msg(b->narrow[i] == expected, "%s: element %zu is %#x, not %#x",
                  what, i, b->narrow[i], expected);
  }
}

/* The largest error, as a share of the largest value. */
static double error_of(const both *b) {
  double worst = 0, largest = 0;
  for (size_t i = 0; i < b->n; i++) {
    float x;
    zt_to_fp32(ZT_BF16, b->narrow + i, &x, 1);
    worst = fmax(worst, fabs((double) x - (double) b->wide[i]));
    largest = fmax(largest, fabs((double) b->wide[i]));
  }
  return worst / largest;
}

static const struct {
  int64_t rows, d;
} shapes[] = {{1, 1}, {3, 31}, {65, 64}, {7, 1000}, {130, 257}, {2, 20000}};

/* ---- Conversions ---- */

START_TEST(test_convert) {
  static float values[100003], back[100003];
  static uint16_t halves[100003], expected[100003];
  const size_t n = sizeof values / sizeof *values;
  for (size_t i = 0; i < n; i++) {
    uint32_t bits = (uint32_t) i * 2654435761u; /* of every kind */
    memcpy(values + i, &bits, sizeof bits);
  }
  zt_from_fp32(ZT_BF16, values, expected, n);
  for (int t = 0; t < 2; t++) {
    ck_zt_ok(
        zt_convert(devices[t], (int64_t) n, ZT_FP32, values, ZT_BF16, halves));
    ck_assert_int_eq(memcmp(halves, expected, sizeof halves), 0);
    ck_zt_ok(
        zt_convert(devices[t], (int64_t) n, ZT_BF16, halves, ZT_FP32, back));
    zt_to_fp32(ZT_BF16, halves, values, n);
    ck_assert_int_eq(memcmp(back, values, sizeof back), 0);
  }
}
END_TEST

/* ---- Row operations ---- */

static void norm_case(zt_device *dev, zt_norm_kind kind, int64_t rows,
                      int64_t d, bool accumulate) {
  bool layer = kind == ZT_LAYER_NORM;
  both x = make(rows * d), w = make(d), b = make(d), y = make(rows * d);
  both dy = make(rows * d), dx = make(rows * d);
  float *stats = calloc((size_t) (2 * rows), sizeof *stats);
  float *sums = calloc((size_t) (4 * d), sizeof *sums);
  zt_norm wide = {.kind = kind, .rows = rows, .d = d, .eps = 1e-6f};
  zt_norm narrow = wide;
  wide.x = x.wide, wide.w = w.wide, wide.y = y.wide, wide.dy = dy.wide;
  narrow.x = x.narrow, narrow.w = w.wide, narrow.y = y.narrow;
  narrow.dy = dy.narrow, wide.dx = dx.wide, narrow.dx = dx.narrow;
  if (layer)
    wide.b = narrow.b = b.wide;
  wide.stats = narrow.stats = stats;
  wide.accumulate_dx = narrow.accumulate_dx = accumulate;
  wide.dw = sums, narrow.dw = sums + d;
  wide.db = layer ? sums + 2 * d : NULL;
  narrow.db = layer ? sums + 3 * d : NULL;
  narrow.dtype = ZT_BF16;
  ck_zt_ok(zt_norm_forward(dev, &wide));
  ck_zt_ok(zt_norm_forward(dev, &narrow));
  ck_rounded("norm", &y);
  wide.workspace = malloc(zt_device_norm_workspace(dev, &wide));
  narrow.workspace = malloc(zt_device_norm_workspace(dev, &narrow));
  ck_zt_ok(zt_norm_backward(dev, &wide));
  ck_zt_ok(zt_norm_backward(dev, &narrow));
  ck_rounded("norm backward", &dx);
  for (int64_t i = 0; i < d; i++) {
    ck_assert_float_eq_tol(sums[i], sums[d + i], 1e-4f * (1 + fabsf(sums[i])));
    ck_assert_float_eq_tol(sums[2 * d + i], sums[3 * d + i],
                           1e-4f * (1 + fabsf(sums[2 * d + i])));
  }
  free(wide.workspace);
  free(narrow.workspace);
  free(stats);
  free(sums);
  both *all[] = {&x, &w, &b, &y, &dy, &dx};
  for (size_t i = 0; i < 6; i++)
    drop_both(all[i]);
}

START_TEST(test_norm) {
  for (int t = 0; t < 2; t++)
    for (int kind = 0; kind < 2; kind++)
      norm_case(devices[t], kind ? ZT_LAYER_NORM : ZT_RMS_NORM, shapes[_i].rows,
                shapes[_i].d, t == 1);
}
END_TEST

START_TEST(test_activation) {
  int64_t rows = shapes[_i].rows, d = shapes[_i].d;
  for (int variant = 0; variant < 16; variant++) {
    zt_device *dev = devices[variant & 1];
    bool gated = variant & 2;
    both x = make(rows * d * (gated ? 2 : 1)), y = make(rows * d);
    both dy = make(rows * d), dx = make((int64_t) x.n);
    zt_activation wide = {.kind = (zt_activation_kind) (variant / 4),
                          .gated = gated,
                          .rows = rows,
                          .d = d};
    wide.dropout = (zt_dropout){.rate = 0.3f,
                                .key = 5,
                                .step = 2,
                                .site = 3,
                                .first_sample = 4,
                                .rows_per_sample = 2};
    zt_activation narrow = wide;
    wide.x = x.wide, wide.y = y.wide, wide.dy = dy.wide, wide.dx = dx.wide;
    narrow.x = x.narrow, narrow.y = y.narrow, narrow.dy = dy.narrow;
    narrow.dx = dx.narrow, narrow.dtype = ZT_BF16;
    ck_zt_ok(zt_activation_forward(dev, &wide));
    ck_zt_ok(zt_activation_forward(dev, &narrow));
    ck_rounded("activation", &y);
    ck_zt_ok(zt_activation_backward(dev, &wide));
    ck_zt_ok(zt_activation_backward(dev, &narrow));
    ck_rounded("activation backward", &dx);
    both *all[] = {&x, &y, &dy, &dx};
    for (size_t i = 0; i < 4; i++)
      drop_both(all[i]);
  }
}
END_TEST

START_TEST(test_drop) {
  int64_t rows = shapes[_i].rows, d = shapes[_i].d;
  for (int t = 0; t < 2; t++) {
    both x = make(rows * d), y = make(rows * d);
    zt_drop wide = {.rows = rows, .d = d, .x = x.wide, .y = y.wide};
    wide.dropout =
        (zt_dropout){.rate = 0.1f, .key = 9, .step = 1, .rows_per_sample = 3};
    zt_drop narrow = wide;
    narrow.x = x.narrow, narrow.y = y.narrow, narrow.dtype = ZT_BF16;
    if (t)
      wide.residual = y.wide, narrow.residual = y.narrow;
    ck_zt_ok(zt_drop_run(devices[t], &wide));
    ck_zt_ok(zt_drop_run(devices[t], &narrow));
    ck_rounded("drop", &y);
    ck_zt_ok(zt_add(devices[t], ZT_FP32, rows * d, x.wide, x.wide));
    ck_zt_ok(zt_add(devices[t], ZT_BF16, rows * d, x.narrow, x.narrow));
    ck_rounded("add", &x);
    drop_both(&x);
    drop_both(&y);
  }
}
END_TEST

START_TEST(test_rope) {
  enum { ROWS = 37, HEADS = 3, DIM = 10, LD = 41 };
  both x = make(ROWS * LD);
  float table[50 * DIM];
  int32_t position[ROWS];
  numbers_fill(table, 50 * DIM, seed++, 1);
  for (int r = 0; r < ROWS; r++)
    position[r] = r * 7 % 50;
  zt_rope wide = {.rows = ROWS,
                  .heads = HEADS,
                  .head_dim = DIM,
                  .x = {x.wide, LD, ZT_FP32},
                  .position = position,
                  .table = table,
                  .inverse = _i};
  zt_rope narrow = wide;
  narrow.x = (zt_matrix){x.narrow, LD, ZT_BF16};
  ck_zt_ok(zt_rope_run(devices[_i], &wide));
  ck_zt_ok(zt_rope_run(devices[_i], &narrow));
  ck_rounded("rope", &x);
  drop_both(&x);
}
END_TEST

START_TEST(test_sums) {
  int64_t rows = shapes[_i].rows, d = shapes[_i].d;
  for (int t = 0; t < 2; t++) {
    both b = make(d), y = make(rows * d), table = make(5 * d);
    float *sums = calloc((size_t) (7 * d), sizeof *sums);
    int32_t *ids = calloc((size_t) rows, sizeof *ids);
    for (int64_t r = 0; r < rows; r++)
      ids[r] = (int32_t) (r * 3 % 5);
    zt_row_bias bias = {
        .rows = rows, .n = d, .b = b.wide, .x = y.wide, .y = y.wide};
    zt_row_bias narrow = {.rows = rows,
                          .n = d,
                          .b = b.narrow,
                          .x = y.narrow,
                          .y = y.narrow,
                          .dtype = ZT_BF16};
    ck_zt_ok(zt_row_bias_forward(devices[t], &bias));
    ck_zt_ok(zt_row_bias_forward(devices[t], &narrow));
    ck_rounded("row bias", &y);
    zt_embedding e = {.rows = rows,
                      .d = d,
                      .vocabulary = 5,
                      .padding = 3,
                      .accumulate = t,
                      .ids = ids,
                      .table = table.wide,
                      .y = y.wide};
    zt_embedding ne = e;
    ne.table = table.narrow, ne.y = y.narrow, ne.dtype = ZT_BF16;
    zt_to_fp32(ZT_BF16, y.narrow, y.wide, y.n);
    ck_zt_ok(zt_embedding_forward(devices[t], &e));
    ck_zt_ok(zt_embedding_forward(devices[t], &ne));
    ck_rounded("embedding", &y);
    zt_to_fp32(ZT_BF16, y.narrow, y.wide, y.n);
    bias.dy = y.wide, bias.db = sums, narrow.dy = y.narrow;
    narrow.db = sums + d;
    ck_zt_ok(zt_row_bias_backward(devices[t], &bias));
    ck_zt_ok(zt_row_bias_backward(devices[t], &narrow));
    for (int64_t i = 0; i < d; i++)
      ck_assert_float_eq_tol(sums[i], sums[d + i],
                             1e-4f * (1 + fabsf(sums[i])));
    memset(sums, 0, (size_t) (2 * d) * sizeof *sums);
    float *again = calloc((size_t) (5 * d), sizeof *again);
    e.dy = y.wide, e.dtable = sums, ne.dy = y.narrow, ne.dtable = again;
    ck_zt_ok(zt_embedding_backward(devices[t], &e));
    ck_zt_ok(zt_embedding_backward(devices[t], &ne));
    ck_assert_int_eq(memcmp(sums, again, (size_t) (5 * d) * sizeof *sums), 0);
    free(again);
    free(sums);
    free(ids);
    drop_both(&b);
    drop_both(&y);
    drop_both(&table);
  }
}
END_TEST

/* ---- Products ---- */

START_TEST(test_gemm) {
  static const int64_t sizes[][3] = {
      {1, 1, 1}, {31, 33, 65}, {257, 300, 1025}, {512, 64, 700}};
  int64_t m = sizes[_i][0], n = sizes[_i][1], k = sizes[_i][2];
  for (int variant = 0; variant < 8; variant++) {
    bool ta = variant & 1, tb = variant & 2, fp32_result = variant & 4;
    both a = make(m * k), b = make(k * n), c = make(m * n), again;
    float *sum = malloc(c.n * sizeof *sum);
    memcpy(sum, c.wide, c.n * sizeof *sum);
    again = copy(&c);
    zt_gemm wide = {.transpose_a = ta,
                    .transpose_b = tb,
                    .m = m,
                    .n = n,
                    .k = k,
                    .alpha = 0.5f,
                    .beta = variant % 3 ? 1 : 0,
                    .a = {a.wide, ta ? m : k, ZT_FP32},
                    .b = {b.wide, tb ? k : n, ZT_FP32},
                    .c = {c.wide, n, ZT_FP32}};
    zt_gemm narrow = wide;
    narrow.a = (zt_matrix){a.narrow, ta ? m : k, ZT_BF16};
    narrow.b = (zt_matrix){b.narrow, tb ? k : n, ZT_BF16};
    if (fp32_result)
      narrow.c = (zt_matrix){sum, n, ZT_FP32};
    else
      narrow.c = (zt_matrix){c.narrow, n, ZT_BF16};
    ck_zt_ok(zt_gemm_run(devices[0], &wide));
    ck_zt_ok(zt_gemm_run(devices[0], &narrow));
    if (fp32_result) {
      for (size_t i = 0; i < c.n; i++)
        ck_assert_float_eq_tol(sum[i], c.wide[i], 2e-6f * (float) k + 1e-6f);
    } else {
      ck_assert_double_lt(error_of(&c), 0x1p-8);
      narrow.c.data = again.narrow;
      ck_zt_ok(zt_gemm_run(devices[1], &narrow));
      ck_assert_int_eq(memcmp(again.narrow, c.narrow, 2 * c.n), 0);
    }
    free(sum);
    both *all[] = {&a, &b, &c, &again};
    for (size_t i = 0; i < 4; i++)
      drop_both(all[i]);
  }
}
END_TEST

START_TEST(test_attention) {
  enum { S = 2, H = 4, KV = 2, D = 24, Q = 37, K = 45 };
  bool decoder = _i;
  both q = make(S * Q * H * D), k = make(S * K * KV * D);
  both v = make(S * K * KV * D), y = make(S * Q * H * D);
  both dy = make(S * Q * H * D), dq = make(S * Q * H * D);
  both dk = make(S * K * KV * D), dv = make(S * K * KV * D);
  both bias = make(H * (Q + K - 1)),
       *all[] = {&q, &k, &v, &y, &dy, &dq, &dk, &dv, &bias};
  float *stats = calloc(S * H * Q * 2, sizeof *stats);
  float *sums = calloc(2 * bias.n, sizeof *sums);
  const int32_t valid[S] = {K, 11};
  zt_attention wide = {.samples = S,
                       .heads = H,
                       .kv_heads = KV,
                       .head_dim = D,
                       .q_length = Q,
                       .k_length = K,
                       .scale = 0.2f,
                       .causal = decoder,
                       .k_valid = valid,
                       .bias = bias.wide,
                       .stats = stats};
  wide.dropout = (zt_dropout){.rate = decoder ? 0.2f : 0, .key = 3, .site = 1};
  zt_attention narrow = wide;
#define OPERAND(name, heads)                                                   \
  wide.name = (zt_matrix){name.wide, (heads) *D, ZT_FP32},                     \
  narrow.name = (zt_matrix){name.narrow, (heads) *D, ZT_BF16}
  OPERAND(q, H), OPERAND(y, H), OPERAND(dy, H), OPERAND(dq, H);
  OPERAND(k, KV), OPERAND(v, KV), OPERAND(dk, KV), OPERAND(dv, KV);
  wide.dbias = sums, narrow.dbias = sums + bias.n;
  wide.workspace = malloc(zt_device_attention_workspace(devices[1], &wide));
  narrow.workspace = malloc(zt_device_attention_workspace(devices[1], &narrow));
  ck_zt_ok(zt_attention_forward(devices[1], &wide));
  ck_zt_ok(zt_attention_forward(devices[1], &narrow));
  ck_rounded("attention", &y);
  zt_to_fp32(ZT_BF16, y.narrow, y.wide, y.n);
  ck_zt_ok(zt_attention_backward(devices[1], &wide));
  ck_zt_ok(zt_attention_backward(devices[1], &narrow));
  ck_rounded("dq", &dq);
  ck_rounded("dk", &dk);
  ck_rounded("dv", &dv);
  ck_assert_int_eq(memcmp(sums, sums + bias.n, bias.n * sizeof *sums), 0);
  free(wide.workspace);
  free(narrow.workspace);
  free(stats);
  free(sums);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    drop_both(all[i]);
}
END_TEST

int main(void) {
  const int n = sizeof shapes / sizeof *shapes;
  Suite *suite = suite_create("bf16");
  TCase *t = tcase_create("cpu");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, test_convert);
  tcase_add_loop_test(t, test_norm, 0, n);
  tcase_add_loop_test(t, test_activation, 0, n);
  tcase_add_loop_test(t, test_drop, 0, n);
  tcase_add_loop_test(t, test_rope, 0, 2);
  tcase_add_loop_test(t, test_sums, 0, n);
  tcase_add_loop_test(t, test_gemm, 0, 4);
  tcase_add_loop_test(t, test_attention, 0, 2);
  suite_add_tcase(suite, t);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed > 0;
}
