/* SPDX-License-Identifier: BSD-3-Clause */
/* The same bits from every kernel set, wherever in memory an element stands and
 * however long the row is that it stands in. */
#include "kernel_sets.h"
#include "numbers.h"
#include "unit.h"

#include <stdio.h>

static const zt_cpu_kernels *sets[KERNEL_SETS];
static int n_sets;

/* ---- Kernels that work element by element ---- */

enum { ELEMENTS = 160, OFFSETS = 64, ARRAYS = 4 };
enum { ROOM = OFFSETS + 2 * ELEMENTS + 1 };

/* An operation on up to four arrays of n elements, in place.  Gated activations
 * have a second half of n elements behind the first two. */
typedef struct operation {
  const char *name;
  void (*run)(const zt_cpu_kernels *k, const struct operation *o, int64_t n,
              float *const a[ARRAYS]);
  zt_activation_kind kind;
  bool gated;
} operation;

static void run_adamw(const zt_cpu_kernels *k, const operation *o, int64_t n,
                      float *const a[ARRAYS]) {
  (void) o;
  zt_adamw call = {.n = n,
                   .p = a[0],
                   .m = a[1],
                   .v = a[2],
                   .gradient = a[3],
                   .scale = 0.37f,
                   .beta2 = 0.999f,
                   .eps = 1e-8f,
                   .rate1 = 0.1f,
                   .rate2 = 0.001f,
                   .decay = 0.9999f,
                   .step_size = 0.0123f,
                   .root_c2 = 0.31f};
  k->adamw(&call, 0, n);
}

static void run_add(const zt_cpu_kernels *k, const operation *o, int64_t n,
                    float *const a[ARRAYS]) {
  (void) o;
  k->add(a[0], a[1], n);
}

static void run_fold(const zt_cpu_kernels *k, const operation *o, int64_t n,
                     float *const a[ARRAYS]) {
  (void) o;
  k->fold_rows(a[0], a[1], 1, n, 0, n);
}

static void run_drop(const zt_cpu_kernels *k, const operation *o, int64_t n,
                     float *const a[ARRAYS]) {
  (void) o;
  zt_drop call = {.rows = 1, .d = n, .x = a[0], .residual = a[1], .y = a[2]};
  k->drop(&call, 0, 1);
}

static void run_embedding(const zt_cpu_kernels *k, const operation *o,
                          int64_t n, float *const a[ARRAYS]) {
  (void) o;
  const int32_t id = 0;
  zt_embedding call = {
      .rows = 1, .d = n, .ids = &id, .padding = -1, .dy = a[0]};
  call.dtable = a[1];
  k->embedding_backward(&call, 0, n);
}

/* One head; the second halves are those of the pairs and of the angles. */
static void run_rope(const zt_cpu_kernels *k, const operation *o, int64_t n,
                     float *const a[ARRAYS]) {
  const int32_t position = 0;
  zt_rope call = {.rows = 1, .heads = 1, .head_dim = 2 * n};
  call.x = (zt_matrix){a[0], 2 * n, ZT_FP32};
  call.position = &position;
  call.table = a[1];
  call.inverse = o->gated;
  k->rope(&call, 0, 1);
}

static void run_row_bias(const zt_cpu_kernels *k, const operation *o, int64_t n,
                         float *const a[ARRAYS]) {
  zt_row_bias call = {.rows = 1, .n = n, .b = a[1], .y = a[2]};
  call.x = o->gated ? a[0] : NULL;
  k->row_bias_forward(&call, 0, 1);
  call.dy = a[0];
  call.db = a[3];
  k->row_bias_backward(&call, 0, n);
}

static zt_activation activation_of(const operation *o, int64_t n,
                                   const float *x) {
  return (zt_activation){
      .kind = o->kind, .gated = o->gated, .rows = 1, .d = n, .x = x};
}

static void run_forward(const zt_cpu_kernels *k, const operation *o, int64_t n,
                        float *const a[ARRAYS]) {
  zt_activation call = activation_of(o, n, a[0]);
  call.y = a[2];
  k->activation_forward(&call, 0, 1);
}

static void run_backward(const zt_cpu_kernels *k, const operation *o, int64_t n,
                         float *const a[ARRAYS]) {
  zt_activation call = activation_of(o, n, a[0]);
  call.dx = a[1];
  call.dy = a[2];
  k->activation_backward(&call, 0, 1);
}

static const operation operations[] = {
    {"adamw", run_adamw, 0, false},
    {"add", run_add, 0, false},
    {"fold_rows", run_fold, 0, false},
    {"drop", run_drop, 0, false},
    {"embedding_backward", run_embedding, 0, false},
    {"rope", run_rope, 0, false},
    {"rope, inverse", run_rope, 0, true},
    {"row bias", run_row_bias, 0, false},
    {"row bias, add", run_row_bias, 0, true},
    {"relu", run_forward, ZT_RELU, false},
    {"gated relu", run_forward, ZT_RELU, true},
    {"relu'", run_backward, ZT_RELU, false},
    {"gated relu'", run_backward, ZT_RELU, true},
    {"gelu", run_forward, ZT_GELU, false},
    {"gated gelu", run_forward, ZT_GELU, true},
    {"gelu'", run_backward, ZT_GELU, false},
    {"gated gelu'", run_backward, ZT_GELU, true},
    {"gelu_new", run_forward, ZT_GELU_NEW, false},
    {"gated gelu_new", run_forward, ZT_GELU_NEW, true},
    {"gelu_new'", run_backward, ZT_GELU_NEW, false},
    {"gated gelu_new'", run_backward, ZT_GELU_NEW, true},
    {"silu", run_forward, ZT_SILU, false},
    {"gated silu", run_forward, ZT_SILU, true},
    {"silu'", run_backward, ZT_SILU, false},
    {"gated silu'", run_backward, ZT_SILU, true},
};

typedef struct elements {
  float first[ARRAYS][ELEMENTS], second[ARRAYS][ELEMENTS];
} elements;

/* Elements from .. from + n - 1 put at an offset, operated on, taken back. */
static void operate(const zt_cpu_kernels *k, const operation *o,
                    const elements *in, int64_t from, int64_t n, int offset,
                    elements *out) {
  static const float guard = 12345;
  static float room[ARRAYS][ROOM] __attribute__((aligned(256)));
  float *a[ARRAYS];
  size_t bytes = (size_t) n * sizeof **room;
  for (int i = 0; i < ARRAYS; i++) {
    a[i] = room[i] + offset;
    memcpy(a[i], in->first[i] + from, bytes);
    memcpy(a[i] + n, in->second[i] + from, bytes);
    a[i][2 * n] = guard;
  }
  o->run(k, o, n, a);
  for (int i = 0; i < ARRAYS; i++) {
    if (a[i][2 * n] != guard)
      ck_abort_msg("%s: %s writes behind", k->name, o->name);
    memcpy(out->first[i] + from, a[i], bytes);
    memcpy(out->second[i] + from, a[i] + n, bytes);
  }
}

static void compare_elements(const zt_cpu_kernels *k, const operation *o,
                             const elements *wanted, const elements *got,
                             int64_t from, int64_t n, int offset) {
  /* An assertion that holds costs as much as a kernel. */
  for (int i = 0; i < ARRAYS; i++)
    for (int64_t e = from; e < from + n; e++)
      if (!numbers_equal(got->first[i][e], wanted->first[i][e]) ||
          !numbers_equal(got->second[i][e], wanted->second[i][e]))
        ck_abort_msg("%s: %s: element %ld at offset %d of %ld: %a, not %a",
                     k->name, o->name, (long) e, offset, (long) n,
                     (double) got->first[i][e], (double) wanted->first[i][e]);
}

START_TEST(element_does_not_depend_on_place) {
  const operation *o = &operations[_i];
  static elements in, wanted, got;
  for (int i = 0; i < ARRAYS; i++) {
    numbers_fill_odd(in.first[i], ELEMENTS, (uint64_t) (2 * i + 1));
    numbers_fill_odd(in.second[i], ELEMENTS, (uint64_t) (2 * i + 2));
  }
  operate(sets[0], o, &in, 0, ELEMENTS, 0, &wanted);
  for (int s = 0; s < n_sets; s++) {
    operate(sets[s], o, &in, 0, ELEMENTS, 0, &got);
    compare_elements(sets[s], o, &wanted, &got, 0, ELEMENTS, 0);
    for (int offset = 0; offset < OFFSETS; offset++)
      for (int64_t n = 1; n <= 64; n++) {
        int64_t from = (7 * offset + 13 * n) % (ELEMENTS - n);
        operate(sets[s], o, &in, from, n, offset, &got);
        compare_elements(sets[s], o, &wanted, &got, from, n, offset);
      }
  }
}
END_TEST

/* ---- Kernels that work row by row ---- */

enum { ROWS = 3, WIDTH = 200, MOST = 24 * ROWS * WIDTH };

/* Inputs at an offset from a boundary, and room for all results. */
typedef struct bench {
  float *in;  /* [4 * ROWS * WIDTH] */
  float *out; /* [MOST] */
  int64_t d;
} bench;

/* A kernel on rows of d elements: writes results to out, returns how many. */
typedef int64_t row_function(const zt_cpu_kernels *k, const bench *b);

static zt_dropout dropout_of(int64_t rows_per_sample) {
  return (zt_dropout){.rate = 0.3f,
                      .key = 0x0123456789ABCDEF,
                      .step = 7,
                      .site = 11,
                      .first_sample = 5,
                      .rows_per_sample = rows_per_sample};
}

static int64_t norm_rows(const zt_cpu_kernels *k, const bench *b,
                         zt_norm_kind kind) {
  int64_t n = ROWS * b->d;
  bool layer = kind == ZT_LAYER_NORM;
  float *y = b->out, *dx = y + n, *stats = dx + n, *partial = stats + 2 * ROWS;
  zt_norm call = {.kind = kind,
                  .rows = ROWS,
                  .d = b->d,
                  .eps = 1e-6f,
                  .x = b->in,
                  .dy = b->in + n,
                  .w = b->in + 2 * n,
                  .b = layer ? b->in + 3 * n : NULL,
                  .y = y,
                  .dx = dx,
                  .stats = stats};
  k->norm_forward(&call, 0, ROWS);
  k->norm_backward(&call, 0, ROWS, partial);
  call.accumulate_dx = true;
  k->norm_backward(&call, 1, ROWS, partial + 2 * b->d);
  return 2 * n + 2 * ROWS + 4 * b->d;
}

static int64_t rms_norm(const zt_cpu_kernels *k, const bench *b) {
  return norm_rows(k, b, ZT_RMS_NORM);
}

static int64_t layer_norm(const zt_cpu_kernels *k, const bench *b) {
  return norm_rows(k, b, ZT_LAYER_NORM);
}

/* Scores of ROWS query rows, from the second on, of head 1 of two. */
static int64_t softmax_rows(const zt_cpu_kernels *k, const bench *b,
                            bool causal) {
  int64_t n = ROWS * b->d, offsets = ROWS + 1 + b->d - 1;
  static float bias[2 * (ROWS + WIDTH)];
  numbers_fill(bias, 2 * offsets, 99, 2);
  float *p = b->out, *again = p + n, *dropped = again + n, *dp = dropped + n;
  float *dbias = dp + n, *stats = dbias + offsets;
  memcpy(p, b->in, (size_t) n * sizeof *p);
  memcpy(again, b->in, (size_t) n * sizeof *p);
  memcpy(dp, b->in + n, (size_t) n * sizeof *p);
  zt_attention call = {.samples = 1,
                       .heads = 2,
                       .q_length = ROWS + 1,
                       .k_length = b->d,
                       .scale = 0.35f,
                       .causal = causal,
                       .bias = bias,
                       .stats = stats,
                       .dropout = dropout_of(ROWS + 1)};
  zt_cpu_scores block = {.first = 1,
                         .rows = ROWS,
                         .keys = b->d,
                         .head = 1,
                         .p = p,
                         .dp = dp,
                         .dropped = dropped,
                         .delta = b->in + 2 * n,
                         .dbias = dbias};
  k->softmax(&call, &block);
  block.p = again;
  k->softmax_again(&call, &block);
  k->softmax_backward(&call, &block);
  return 4 * n + offsets + 4 * (ROWS + 1);
}

static int64_t softmax(const zt_cpu_kernels *k, const bench *b) {
  return softmax_rows(k, b, false);
}

static int64_t causal_softmax(const zt_cpu_kernels *k, const bench *b) {
  return softmax_rows(k, b, true);
}

static int64_t cross_entropy(const zt_cpu_kernels *k, const bench *b) {
  int64_t n = ROWS * b->d;
  const int32_t labels[ROWS] = {0, (int32_t) b->d - 1, -100};
  memcpy(b->out, b->in, (size_t) n * sizeof *b->out);
  zt_cross_entropy call = {.rows = ROWS,
                           .vocabulary = b->d,
                           .logits = b->out,
                           .labels = labels,
                           .row_loss = b->out + n};
  k->cross_entropy(&call, 0, ROWS);
  float losses[ROWS];
  memcpy(losses, call.row_loss, sizeof losses);
  memcpy(b->out, b->in, (size_t) n * sizeof *b->out);
  call.gradient = true;
  k->cross_entropy(&call, 0, ROWS);
  ck_assert_int_eq(numbers_differ(losses, call.row_loss, ROWS), -1);
  return n + ROWS;
}

static int64_t loss_terms(const zt_cpu_kernels *k, const bench *b) {
  int64_t n = ROWS * b->d;
  const int32_t labels[ROWS] = {-1, (int32_t) b->d - 1, 0};
  memcpy(b->out, b->in, (size_t) n * sizeof *b->out);
  zt_cross_entropy call = {.rows = ROWS,
                           .vocabulary = b->d,
                           .logits = b->out,
                           .labels = labels,
                           .row_loss = b->out + n,
                           .smoothing = 0.1f,
                           .z_loss = 0.01f,
                           .gradient = true};
  k->cross_entropy(&call, 0, ROWS);
  return n + 2 * ROWS;
}

static int64_t factored(const zt_cpu_kernels *k, const bench *b) {
  const int64_t n = ROWS * b->d;
  int64_t *sums = calloc((size_t) (ROWS + b->d), sizeof *sums);
  float *factor = b->out + n;
  for (int64_t i = 0; i < ROWS + b->d; i++)
    factor[i] = 0x1p20f;
  memcpy(b->out, b->in, (size_t) n * sizeof *b->out);
  zt_factored call = {.phase = ZT_FACTORED_LARGEST,
                      .n = n,
                      .columns = b->d,
                      .gradient = b->out,
                      .scale = 0.3f,
                      .row_sum = sums,
                      .column_sum = sums + ROWS,
                      .row_factor = factor,
                      .column_factor = factor + ROWS};
  k->factored_rows(&call, 0, ROWS);
  k->factored_columns(&call, 0, b->d);
  call.phase = ZT_FACTORED_SUM;
  k->factored_rows(&call, 0, ROWS);
  k->factored_columns(&call, 0, b->d);
  k->factored_update(&call, 0, ROWS);
  for (int64_t i = 0; i < ROWS + b->d; i++)
    factor[i] = (float) sums[i];
  k->step_down(b->out, b->in, 0.9f, 0.1f, n);
  free(sums);
  return n + ROWS + b->d;
}

static int64_t reductions(const zt_cpu_kernels *k, const bench *b) {
  int64_t n = ROWS * b->d;
  double squares = k->sum_squares(b->in, n);
  b->out[0] = (float) squares;
  b->out[1] = (float) (squares - (double) b->out[0]);
  b->out[2] = k->dot(b->in, b->in + n, n);
  b->out[3] = (float) k->argmax(b->in, n);
  memset(b->out + 4, 0, (size_t) b->d * sizeof *b->out);
  k->fold_rows(b->out + 4, b->in, ROWS, b->d, 0, b->d);
  return 4 + b->d;
}

static int64_t dropped_rows(const zt_cpu_kernels *k, const bench *b) {
  int64_t n = ROWS * b->d;
  zt_drop drop = {.rows = ROWS,
                  .d = b->d,
                  .x = b->in,
                  .residual = b->in + n,
                  .y = b->out,
                  .dropout = dropout_of(2)};
  k->drop(&drop, 0, ROWS);
  zt_activation call = {.kind = ZT_GELU_NEW,
                        .gated = true,
                        .rows = ROWS,
                        .d = b->d,
                        .x = b->in,
                        .y = b->out + n,
                        .dy = b->in + 2 * n,
                        .dx = b->out + 2 * n,
                        .dropout = dropout_of(2)};
  k->activation_forward(&call, 0, ROWS);
  k->activation_backward(&call, 0, ROWS);
  return 4 * n;
}

/* All four forms, with factors that make no product exact. */
static int64_t gemm_small(const zt_cpu_kernels *k, const bench *b) {
  int64_t n = ROWS * b->d;
  for (int form = 0; form < 4; form++) {
    bool ta = form & 1, tb = form & 2;
    zt_gemm call = {.transpose_a = ta,
                    .transpose_b = tb,
                    .m = ROWS,
                    .n = b->d,
                    .k = ROWS,
                    .alpha = 0.0441941738f,
                    .beta = 0.7f,
                    .a = {b->in + n, ROWS, ZT_FP32},
                    .b = {b->in + 2 * n, tb ? ROWS : b->d, ZT_FP32},
                    .c = {b->out + form * n, b->d, ZT_FP32}};
    memcpy(call.c.data, b->in, (size_t) n * sizeof(float));
    k->gemm_small(&call, 0, 0, ROWS, b->d);
  }
  return 4 * n;
}

static const struct {
  const char *name;
  row_function *run;
} row_kernels[] = {
    {"rms norm", rms_norm},
    {"layer norm", layer_norm},
    {"softmax", softmax},
    {"causal softmax", causal_softmax},
    {"cross-entropy", cross_entropy},
    {"loss terms", loss_terms},
    {"factored", factored},
    {"reductions", reductions},
    {"dropout", dropped_rows},
    {"small product", gemm_small},
};

static int64_t run_row(int which, const zt_cpu_kernels *k, int64_t d,
                       int offset, bool odd, float *out) {
  static float in[4 * ROWS * WIDTH + 64] __attribute__((aligned(256)));
  static float results[MOST + 64] __attribute__((aligned(256)));
  bench b = {.in = in + offset, .out = results + offset % 5, .d = d};
  memset(results, 0, sizeof results);
  if (odd)
    numbers_fill_odd(b.in, 4 * ROWS * d, (uint64_t) d);
  else
    numbers_fill(b.in, 4 * ROWS * d, (uint64_t) d, 4);
  int64_t n = row_kernels[which].run(k, &b);
  ck_assert_int_le(n, MOST);
  memcpy(out, b.out, (size_t) n * sizeof *out);
  return n;
}

START_TEST(rows_are_the_same_in_all_sets) {
  static float wanted[MOST], got[MOST];
  for (int64_t d = ROWS; d <= WIDTH; d += d < 70 || numbers_long() ? 1 : 13)
    for (int odd = 0; odd < 2; odd++) {
      int64_t n = run_row(_i, sets[0], d, 0, odd, wanted);
      for (int s = 0; s < n_sets; s++)
        for (int offset = 0; offset < 64; offset += 1 + (int) (d % 7)) {
          ck_assert_int_eq(run_row(_i, sets[s], d, offset, odd, got), n);
          int64_t at = numbers_differ(got, wanted, n);
          ck_assert_msg(at < 0, "%s: %s: d %ld, offset %d: [%ld] %a, not %a",
                        sets[s]->name, row_kernels[_i].name, (long) d, offset,
                        (long) at, (double) got[at < 0 ? 0 : at],
                        (double) wanted[at < 0 ? 0 : at]);
        }
    }
}
END_TEST

/* Of two elements among many that vanish, both results are known wherever they
 * stand: in the vector body, in the tail, or one in each. */
static void check_pair(const zt_cpu_kernels *k, int64_t n, int64_t i, int64_t j,
                       float lower, const float wanted[2]) {
  float x[64], loss, stats[2];
  const int32_t label = (int32_t) j;
  for (int pass = 0; pass < 2; pass++) {
    for (int64_t e = 0; e < n; e++)
      x[e] = -INFINITY;
    x[i] = 3;
    x[j] = lower;
    zt_cross_entropy entropy = {.rows = 1, .vocabulary = n, .logits = x};
    entropy.labels = &label;
    entropy.row_loss = &loss;
    entropy.gradient = true;
    zt_attention attention = {.heads = 1, .q_length = 1, .k_length = n};
    attention.scale = 1;
    attention.stats = stats;
    zt_cpu_scores block = {.rows = 1, .keys = n, .p = x};
    if (pass == 0)
      k->softmax(&attention, &block);
    else
      k->cross_entropy(&entropy, 0, 1);
    if (x[i] != wanted[0] || x[j] != (pass ? wanted[1] - 1 : wanted[1]))
      ck_abort_msg("%s: %ld of %ld with %ld: %a, %a", k->name, (long) i,
                   (long) n, (long) j, (double) x[i], (double) x[j]);
  }
}

START_TEST(exponentials_do_not_depend_on_place) {
  float stats[2];
  for (uint64_t i = 0; i < 50; i++) {
    float lower = (float) (3 - 8 * fabs(numbers_uniform(1, i)));
    float wanted[2] = {3, lower};
    zt_attention call = {.heads = 1, .q_length = 1, .k_length = 2, .scale = 1};
    call.stats = stats;
    zt_cpu_scores two = {.rows = 1, .keys = 2, .p = wanted};
    sets[0]->softmax(&call, &two);
    for (int s = 0; s < n_sets; s++)
      for (int64_t n = 2; n <= 40; n++)
        for (int64_t at = 0; at < n - 1; at++) {
          check_pair(sets[s], n, at, n - 1, lower, wanted);
          check_pair(sets[s], n, n - 1, at, lower, wanted);
        }
  }
}
END_TEST

/* alpha * sum + c rounds once instead of twice where the compiler makes it one
 * instruction.  With alpha * sum = 1 + 2^-10 + 2^-34 + a little and c = -1 that
 * shows: without the little, the result is half way between two numbers. */
START_TEST(small_product_is_not_contracted) {
  const double product = 1 + 0x1p-10 + 0x1p-34;
  int seen = 0;
  for (uint64_t i = 0; i < 100; i++) {
    float alpha = (float) (1.5 + numbers_uniform(1, i) / 2);
    double sum = product / (double) alpha;
    if ((double) alpha * sum != product ||
        fma((double) alpha, sum, -product) <= 0)
      continue;
    float high = (float) sum, middle = (float) (sum - (double) high);
    float parts[] = {high, middle,
                     (float) (sum - (double) high - (double) middle)};
    float ones[] = {1, 1, 1};
    seen++;
    for (int s = 0; s < n_sets; s++) {
      float c = -1;
      zt_gemm call = {.m = 1, .n = 1, .k = 3, .alpha = alpha, .beta = 1};
      call.a = (zt_matrix){parts, 3, ZT_FP32};
      call.b = (zt_matrix){ones, 1, ZT_FP32};
      call.c = (zt_matrix){&c, 1, ZT_FP32};
      sets[s]->gemm_small(&call, 0, 0, 1, 1);
      ck_assert_msg(c == 0x1p-10f, "%s: %a", sets[s]->name, (double) c);
    }
  }
  ck_assert_int_gt(seen, 0);
}
END_TEST

int main(void) {
  n_sets = kernel_sets(sets);
  printf("kernel sets:");
  for (int s = 0; s < n_sets; s++)
    printf(" %s", sets[s]->name);
  printf("\n");
  Suite *suite = suite_create("kernels");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, element_does_not_depend_on_place, 0,
                      sizeof operations / sizeof *operations);
  tcase_add_loop_test(all, rows_are_the_same_in_all_sets, 0,
                      sizeof row_kernels / sizeof *row_kernels);
  tcase_add_test(all, exponentials_do_not_depend_on_place);
  tcase_add_test(all, small_product_is_not_contracted);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
