/* SPDX-License-Identifier: BSD-3-Clause */
/* Values of the CPU kernels against references in double precision.  The
 * portable set stands for all: check_kernels.c shows that they are equal. */
#include "base/random.h"
#include "device/cpu_kernels.h"
#include "numbers.h"
#include "unit.h"

#include <stdio.h>

static const zt_cpu_kernels *const k = &zt_cpu_kernels_portable;

/* Half a unit in the last place of 1. */
static const double ulp = 0x1p-24;

/* ---- Activations ---- */

static double sigmoid(double x) {
  return 1 / (1 + exp(-x));
}

/* Derivative of the inner cubic of the tanh form, and that itself. */
static double tanh_argument(double x) {
  return sqrt(8 / M_PI) * (x + 0.044715 * x * x * x);
}

static double value_of(zt_activation_kind kind, double x) {
  switch (kind) {
  case ZT_RELU:
    return x > 0 ? x : 0;
  case ZT_GELU:
    return x * 0.5 * erfc(-x * M_SQRT1_2);
  case ZT_GELU_NEW:
    return x * sigmoid(tanh_argument(x));
  default:
    return x * sigmoid(x);
  }
}

static double slope_of(zt_activation_kind kind, double x) {
  double s = sigmoid(x), t = sigmoid(tanh_argument(x));
  switch (kind) {
  case ZT_RELU:
    return x > 0;
  case ZT_GELU:
    return 0.5 * erfc(-x * M_SQRT1_2) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
  case ZT_GELU_NEW:
    return t + x * t * (1 - t) * sqrt(8 / M_PI) * (1 + 3 * 0.044715 * x * x);
  default:
    return s + x * s * (1 - s);
  }
}

static const char *const kinds[] = {"relu", "gelu", "gelu_new", "silu"};
/* Largest errors allowed, in halves of the last place of max(1, |x|).
 * Measured: gelu 1.6 and 2.0, gelu_new 2.3 and 3.0, silu 2.3 and 2.7. */
static const double most_value[] = {0, 2, 4, 4};
static const double most_slope[] = {0, 4, 4, 4};

START_TEST(activations_equal_their_formulas) {
  enum { STEPS = 40001 };
  static float x[STEPS], y[STEPS], dx[STEPS], one[STEPS];
  double worst[2] = {0, 0};
  for (int i = 0; i < STEPS; i++) {
    x[i] = (float) (i - STEPS / 2) * 1.25e-3f; /* -25 .. 25 */
    one[i] = 1;
  }
  zt_activation call = {.kind = (zt_activation_kind) _i, .rows = 1, .d = STEPS};
  call.x = x;
  call.y = y;
  call.dy = one;
  call.dx = dx;
  k->activation_forward(&call, 0, 1);
  k->activation_backward(&call, 0, 1);
  for (int i = 0; i < STEPS; i++) {
    double at = (double) x[i], size = fmax(1, fabs(at)) * ulp;
    worst[0] =
        fmax(worst[0], fabs((double) y[i] - value_of(call.kind, at)) / size);
    worst[1] =
        fmax(worst[1], fabs((double) dx[i] - slope_of(call.kind, at)) / ulp);
  }
  printf("%s: value within %.2f, slope within %.2f\n", kinds[_i], worst[0],
         worst[1]);
  ck_assert_double_le(worst[0], most_value[_i]);
  ck_assert_double_le(worst[1], most_slope[_i]);
}
END_TEST

/* y = act(x) * gate and its two gradients, from those without a gate. */
START_TEST(gated_activations_equal_their_parts) {
  enum { D = 37 };
  float x[2 * D], y[D], a[D], slope[D], dy[D], dx[2 * D], one[D];
  numbers_fill(x, 2 * D, 1, 5);
  numbers_fill(dy, D, 2, 3);
  for (int i = 0; i < D; i++)
    one[i] = 1;
  zt_activation plain = {.kind = (zt_activation_kind) _i, .rows = 1, .d = D};
  plain.x = x;
  plain.y = a;
  plain.dy = one;
  plain.dx = slope;
  k->activation_forward(&plain, 0, 1);
  k->activation_backward(&plain, 0, 1);
  zt_activation gated = plain;
  gated.gated = true;
  gated.y = y;
  gated.dy = dy;
  gated.dx = dx;
  k->activation_forward(&gated, 0, 1);
  k->activation_backward(&gated, 0, 1);
  for (int i = 0; i < D; i++) {
    ck_assert_float_eq(y[i], a[i] * x[D + i]);
    ck_assert_float_eq(dx[D + i], dy[i] * a[i]);
    ck_assert_float_eq(dx[i], dy[i] * x[D + i] * slope[i]);
  }
}
END_TEST

static void at_one_place(zt_activation_kind kind, float x, float *y,
                         float *slope) {
  const float one = 1;
  zt_activation call = {.kind = kind, .rows = 1, .d = 1, .x = &x, .y = y};
  call.dy = &one;
  call.dx = slope;
  k->activation_forward(&call, 0, 1);
  k->activation_backward(&call, 0, 1);
}

/* Where the exponential is out of range. */
START_TEST(activations_at_the_ends) {
  const float far[] = {90, 1e3f, 1e6f, 1e13f, 1e18f};
  zt_activation_kind kind = (zt_activation_kind) _i;
  float y, slope;
  for (size_t i = 0; i < sizeof far / sizeof *far; i++) {
    at_one_place(kind, far[i], &y, &slope);
    ck_assert_float_eq(y, far[i]);
    ck_assert_float_eq(slope, 1);
    at_one_place(kind, -far[i], &y, &slope);
    ck_assert_msg(y == 0 && slope == 0, "%s(%g) = %g, slope %g", kinds[_i],
                  -(double) far[i], (double) y, (double) slope);
  }
  at_one_place(kind, INFINITY, &y, &slope);
  ck_assert_float_infinite(y);
  at_one_place(kind, NAN, &y, &slope);
  ck_assert_float_nan(y);
}
END_TEST

START_TEST(relu_keeps_minus_infinity_at_zero) {
  float y, slope;
  at_one_place(ZT_RELU, -INFINITY, &y, &slope);
  ck_assert_float_eq(y, 0);
  ck_assert_float_eq(slope, 0);
}
END_TEST

/* ---- Dropout ---- */

/* Element e of a sample, by the definition in DESIGN.md 3. */
static float dropped(const zt_dropout *d, uint32_t sample, int64_t e, float x) {
  uint32_t words[4], counter[4] = {(uint32_t) (e / 4), d->site,
                                   d->first_sample + sample, d->step};
  zt_philox(d->key, counter, words);
  if ((double) words[e % 4] < (double) d->rate * 0x1p32)
    return 0;
  return x * (1 / (1 - d->rate));
}

/* Rows of every length, so that they begin at every offset of a block. */
START_TEST(dropout_is_philox) {
  enum { ROWS = 10, MOST = 70 };
  static float x[ROWS * MOST], y[ROWS * MOST], r[ROWS * MOST];
  const float rates[] = {0.1f, 0.5f, 0.9f, 1e-6f};
  int64_t zeros = 0, all = 0;
  for (int64_t d = 1; d <= MOST; d++) {
    zt_dropout dropout = {.rate = rates[d % 4],
                          .key = 0xFEDCBA9876543210,
                          .step = (uint32_t) d,
                          .site = 17,
                          .first_sample = UINT32_MAX - 1,
                          .rows_per_sample = 3};
    numbers_fill(x, ROWS * d, 1, 4);
    numbers_fill(r, ROWS * d, 2, 4);
    zt_drop call = {.rows = ROWS, .d = d, .x = x, .y = y, .dropout = dropout};
    for (int pass = 0; pass < 2; pass++) {
      call.residual = pass ? r : NULL;
      k->drop(&call, 0, 4); /* in two pieces */
      k->drop(&call, 4, ROWS);
      for (int64_t i = 0; i < ROWS * d; i++) {
        float want =
            dropped(&dropout, (uint32_t) (i / d / 3), i % (3 * d), x[i]);
        zeros += d % 4 == 1 && want == 0;
        all += d % 4 == 1;
        if (y[i] != (pass ? r[i] + want : want))
          ck_abort_msg("d %ld, element %ld", (long) d, (long) i);
      }
    }
  }
  double share = (double) zeros / (double) all;
  ck_assert_msg(fabs(share - 0.5) < 0.01, "share %g", share);
}
END_TEST

/* In place, and with the residual in place, as the tape uses it. */
START_TEST(drop_in_place) {
  enum { ROWS = 2, D = 2500 };
  static float x[ROWS * D], y[ROWS * D], in[ROWS * D], r[ROWS * D];
  numbers_fill(x, ROWS * D, 1, 1);
  numbers_fill(r, ROWS * D, 2, 1);
  zt_drop call = {.rows = ROWS, .d = D, .x = x, .residual = r, .y = y};
  call.dropout = (zt_dropout){.rate = 0.25f, .rows_per_sample = ROWS};
  k->drop(&call, 0, ROWS);
  memcpy(in, x, sizeof in);
  call.x = call.y = in;
  k->drop(&call, 0, ROWS);
  ck_assert_mem_eq(in, y, sizeof y);
  memcpy(in, r, sizeof in);
  call.x = x;
  call.residual = call.y = in;
  k->drop(&call, 0, ROWS);
  ck_assert_mem_eq(in, y, sizeof y);
}
END_TEST

/* An activation drops what it made, and its gradient before all else. */
START_TEST(activation_drops_like_drop) {
  enum { ROWS = 4, D = 1300 };
  static float x[ROWS * D], y[ROWS * D], dy[ROWS * D], dx[ROWS * D];
  static float wanted[ROWS * D];
  zt_dropout dropout = {.rate = 0.3f, .key = 9, .rows_per_sample = 2};
  numbers_fill(x, ROWS * D, 1, 4);
  numbers_fill(dy, ROWS * D, 2, 4);
  zt_activation call = {.kind = ZT_SILU, .rows = ROWS, .d = D, .x = x, .y = y};
  call.dy = dy;
  call.dx = dx;
  zt_drop drop = {.rows = ROWS, .d = D, .y = wanted, .dropout = dropout};
  call.y = wanted;
  k->activation_forward(&call, 0, ROWS);
  drop.x = wanted;
  k->drop(&drop, 0, ROWS);
  call.y = y;
  call.dropout = dropout;
  k->activation_forward(&call, 0, ROWS);
  ck_assert_mem_eq(y, wanted, sizeof y);
  k->activation_backward(&call, 0, ROWS);
  drop.x = dy;
  k->drop(&drop, 0, ROWS);
  call.dropout.rate = 0;
  call.dy = wanted;
  call.dx = y;
  k->activation_backward(&call, 0, ROWS);
  ck_assert_mem_eq(dx, y, sizeof y);
}
END_TEST

/* ---- Norms ---- */

static void reference_norm(const zt_norm *call, double *y, double *dx,
                           double *dw, double *db) {
  int64_t d = call->d;
  const float *x = call->x, *w = call->w, *b = call->b, *dy = call->dy;
  bool layer = call->kind == ZT_LAYER_NORM;
  for (int64_t r = 0; r < call->rows; r++, x += d, dy += d, y += d, dx += d) {
    double mean = 0, squares = 0, gn = 0, g1 = 0;
    for (int64_t i = 0; layer && i < d; i++)
      mean += (double) x[i] / (double) d;
    for (int64_t i = 0; i < d; i++)
      squares += ((double) x[i] - mean) * ((double) x[i] - mean) / (double) d;
    double rstd = 1 / sqrt(squares + (double) call->eps);
    for (int64_t i = 0; i < d; i++) {
      double n = ((double) x[i] - mean) * rstd;
      y[i] = (double) w[i] * n + (layer ? (double) b[i] : 0);
      gn += (double) dy[i] * (double) w[i] * n / (double) d;
      g1 += (double) dy[i] * (double) w[i] / (double) d;
      dw[i] += (double) dy[i] * n;
      db[i] += (double) dy[i];
    }
    for (int64_t i = 0; i < d; i++)
      dx[i] = rstd * ((double) dy[i] * (double) w[i] -
                      ((double) x[i] - mean) * rstd * gn - (layer ? g1 : 0));
  }
}

START_TEST(norms_equal_their_formulas) {
  enum { ROWS = 5, MOST = 1100 };
  static float x[ROWS * MOST], dy[ROWS * MOST], y[ROWS * MOST], w[MOST];
  static float dx[ROWS * MOST], b[MOST], stats[2 * ROWS], dw[2 * MOST];
  static double wy[ROWS * MOST], wdx[ROWS * MOST], wdw[MOST], wdb[MOST];
  bool layer = _i == ZT_LAYER_NORM;
  for (int64_t d = 1 + layer; d <= MOST; d += d < 40 ? 1 : 211) {
    numbers_fill(x, ROWS * d, 1, 3);
    numbers_fill(dy, ROWS * d, 2, 3);
    numbers_fill(w, d, 3, 2);
    numbers_fill(b, d, 4, 2);
    memset(wdw, 0, sizeof wdw);
    memset(wdb, 0, sizeof wdb);
    zt_norm call = {.kind = (zt_norm_kind) _i, .rows = ROWS, .d = d};
    call.eps = 1e-2f;
    call.x = x;
    call.w = w;
    call.b = layer ? b : NULL;
    call.y = y;
    call.stats = stats;
    call.dy = dy;
    call.dx = dx;
    k->norm_forward(&call, 0, ROWS);
    k->norm_backward(&call, 0, ROWS, dw);
    reference_norm(&call, wy, wdx, wdw, wdb);
    ck_assert_double_le(numbers_distance(y, wy, ROWS * d), 2e-6);
    /* Short rows cancel. */
    ck_assert_double_le(numbers_distance(dx, wdx, ROWS * d),
                        d < 8 ? 1e-4 : 1e-5);
    ck_assert_double_le(numbers_distance(dw, wdw, d), 2e-6);
    if (layer)
      ck_assert_double_le(numbers_distance(dw + d, wdb, d), 2e-6);
    memcpy(y, dx, sizeof y);
    call.accumulate_dx = true;
    k->norm_backward(&call, 0, ROWS, dw);
    for (int64_t i = 0; i < ROWS * d; i++)
      y[i] += y[i];
    ck_assert_int_eq(numbers_differ(dx, y, ROWS * d), -1);
  }
}
END_TEST

/* ---- Loss ---- */

typedef struct entropy {
  float loss, *gradient;
} entropy;

static entropy entropy_of(const float *logits, int64_t n, int32_t label) {
  static float x[5000];
  entropy e = {.gradient = x};
  memcpy(x, logits, (size_t) n * sizeof *x);
  zt_cross_entropy call = {.rows = 1, .vocabulary = n, .logits = x};
  call.labels = &label;
  call.row_loss = &e.loss;
  call.gradient = true;
  k->cross_entropy(&call, 0, 1);
  return e;
}

START_TEST(loss_equals_its_formula) {
  enum { MOST = 5000 };
  static float x[MOST];
  static double wanted[MOST];
  for (int64_t n = 1; n <= MOST; n += n < 40 ? 1 : 992) {
    double sum = 0, most = -INFINITY;
    numbers_fill(x, n, (uint64_t) n, 12);
    for (int64_t i = 0; i < n; i++)
      most = fmax(most, (double) x[i]);
    for (int64_t i = 0; i < n; i++)
      sum += exp((double) x[i] - most);
    int32_t label = (int32_t) (n / 3);
    double loss = log(sum) + most - (double) x[label];
    for (int64_t i = 0; i < n; i++)
      wanted[i] = exp((double) x[i] - most) / sum - (i == label);
    entropy e = entropy_of(x, n, label);
    ck_assert_double_le(fabs((double) e.loss - loss), 4 * ulp * (1 + loss));
    for (int64_t i = 0; i < n; i++)
      if (fabs((double) e.gradient[i] - wanted[i]) >
          2 * ulp + 8 * ulp * fabs(wanted[i]))
        ck_abort_msg("n %ld: gradient %ld: %g, not %g", (long) n, (long) i,
                     (double) e.gradient[i], wanted[i]);
  }
}
END_TEST

START_TEST(loss_of_special_rows) {
  enum { N = 21 };
  float x[N];
  for (int i = 0; i < N; i++)
    x[i] = 3e4f;
  entropy e = entropy_of(x, N, 4); /* all equal */
  ck_assert_float_eq_tol(e.loss, logf(N), 1e-6f);
  ck_assert_float_eq_tol(e.gradient[4], 1.f / N - 1, 1e-7f);
  ck_assert_float_eq_tol(e.gradient[5], 1.f / N, 1e-7f);
  x[20] = 3e38f; /* one huge: the right one, and a wrong one */
  e = entropy_of(x, N, 20);
  ck_assert_float_eq(e.loss, 0);
  ck_assert_float_eq(e.gradient[20], 0);
  ck_assert_float_eq(e.gradient[0], 0);
  e = entropy_of(x, N, 0);
  ck_assert_float_eq(e.loss, 3e38f);
  ck_assert_float_eq(e.gradient[0], -1);
  ck_assert_float_eq(e.gradient[20], 1);
  x[20] = -INFINITY; /* impossible, and not asked for */
  e = entropy_of(x, N, 0);
  ck_assert_float_eq_tol(e.loss, logf(N - 1), 1e-6f);
  ck_assert_float_eq(e.gradient[20], 0);
  e = entropy_of(x, N, 20);
  ck_assert_float_infinite(e.loss);
  const float bad[] = {INFINITY, NAN};
  for (int i = 0; i < 2; i++) {
    x[20] = bad[i];
    e = entropy_of(x, N, 0);
    ck_assert(!isfinite(e.loss));
    ck_assert_float_nan(e.gradient[20]);
  }
  e = entropy_of(x, N, -100); /* no label: nothing counts */
  ck_assert_float_eq(e.loss, 0);
  for (int i = 0; i < N; i++)
    ck_assert_float_eq(e.gradient[i], 0);
}
END_TEST

START_TEST(argmax_takes_the_first) {
  float x[67];
  for (int n = 1; n <= 67; n++)
    for (int first = 0; first < n; first++) {
      for (int i = 0; i < n; i++)
        x[i] = i < first ? -2.0f : i % 3 == first % 3 ? 5.0f : -5.0f;
      if (k->argmax(x, n) != first)
        ck_abort_msg("n %d: %d, not %d", n, k->argmax(x, n), first);
    }
  float odd[] = {NAN, -INFINITY, 3, INFINITY, INFINITY};
  ck_assert_int_eq(k->argmax(odd, 5), 3);
  ck_assert_int_eq(k->argmax(odd, 3), 2);
  ck_assert_int_eq(k->argmax(odd, 2), 1);
  ck_assert_int_eq(k->argmax(odd, 1), 0);
}
END_TEST

/* ---- Sums and the update ---- */

START_TEST(sums_are_close) {
  enum { N = 4096 };
  static float x[N], y[N];
  numbers_fill(x, N, 1, 1e15);
  numbers_fill(y, N, 2, 1);
  for (int64_t n = 1; n <= N; n += n < 40 ? 1 : 811) {
    long double squares = 0, dot = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
      squares += (long double) x[i] * (long double) x[i];
      dot += (long double) x[i] * (long double) y[i];
      size += fabsl((long double) x[i] * (long double) y[i]);
    }
    ck_assert(fabsl((long double) k->sum_squares(x, n) - squares) <=
              squares * 0x1p-46L);
    ck_assert(fabsl((long double) k->dot(x, y, n) - dot) <= size * 0x1p-20L);
  }
}
END_TEST

START_TEST(adamw_equals_its_formula) {
  enum { N = 50 };
  float p[N], m[N], v[N], g[N], p0[N], m0[N], v0[N];
  numbers_fill(p, N, 1, 2);
  numbers_fill(m, N, 2, 0.1);
  numbers_fill(g, N, 3, 5);
  for (int i = 0; i < N; i++)
    v[i] = m[i] * m[i];
  memcpy(p0, p, sizeof p);
  memcpy(m0, m, sizeof m);
  memcpy(v0, v, sizeof v);
  const double lr = 0.01, t = 7, b1 = 0.9, b2 = 0.99, wd = 0.1, scale = 0.5;
  zt_adamw call = {.n = N, .p = p, .m = m, .v = v, .gradient = g};
  call.scale = (float) scale;
  call.beta2 = (float) b2;
  call.eps = 1e-8f;
  call.rate1 = (float) (1 - b1);
  call.rate2 = (float) (1 - b2);
  call.decay = (float) (1 - lr * wd);
  call.step_size = (float) (lr / (1 - pow(b1, t)));
  call.root_c2 = (float) sqrt(1 - pow(b2, t));
  k->adamw(&call, 0, 20);
  k->adamw(&call, 20, N);
  for (int i = 0; i < N; i++) {
    double d = (double) g[i] * scale;
    double nm = b1 * (double) m0[i] + (1 - b1) * d;
    double nv = b2 * (double) v0[i] + (1 - b2) * d * d;
    double np =
        (double) p0[i] * (1 - lr * wd) -
        lr / (1 - pow(b1, t)) * nm / (sqrt(nv) / sqrt(1 - pow(b2, t)) + 1e-8);
    ck_assert_double_le(fabs((double) m[i] - nm), 4 * ulp);
    ck_assert_double_le(fabs((double) v[i] - nv), 4 * ulp);
    ck_assert_double_le(fabs((double) p[i] - np), 4 * ulp * 2);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("kernel_values");
  TCase *all = tcase_create("all");
  tcase_add_loop_test(all, activations_equal_their_formulas, ZT_RELU,
                      ZT_SILU + 1);
  tcase_add_loop_test(all, gated_activations_equal_their_parts, ZT_RELU,
                      ZT_SILU + 1);
  tcase_add_loop_test(all, activations_at_the_ends, ZT_RELU, ZT_SILU + 1);
  tcase_add_test(all, relu_keeps_minus_infinity_at_zero);
  tcase_add_test(all, dropout_is_philox);
  tcase_add_test(all, drop_in_place);
  tcase_add_test(all, activation_drops_like_drop);
  tcase_add_loop_test(all, norms_equal_their_formulas, ZT_RMS_NORM,
                      ZT_LAYER_NORM + 1);
  tcase_add_test(all, loss_equals_its_formula);
  tcase_add_test(all, loss_of_special_rows);
  tcase_add_test(all, argmax_takes_the_first);
  tcase_add_test(all, sums_are_close);
  tcase_add_test(all, adamw_equals_its_formula);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
