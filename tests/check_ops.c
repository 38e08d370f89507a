/* SPDX-License-Identifier: BSD-3-Clause */
/* Gradients of every differentiable operation by finite differences through the
 * tape, on a device where memory that holds nothing is NaN. */
#include "model/ops.h"

#include "device/device_check.h"
#include "device/device_cpu.h"
#include "numbers.h"
#include "unit.h"

#include <stdio.h>

enum {
  SAMPLES = 2,
  LENGTH = 3,
  ROWS = SAMPLES * LENGTH,
  COLS = 8,
  ELEMENTS = ROWS * COLS,
  INPUTS = 2,
  PARAMS = 400,
  ARENA = 1 << 18,
  ARENAS = 3
};

/* Two inputs, the weights of one unit, and a tape to run programs on. */
typedef struct bench {
  zt_device *dev;
  void *memory[ARENAS];
  zt_arena keep, work, host;
  zt_tape tape;
  float in[INPUTS][ELEMENTS], params[PARAMS], grads[PARAMS];
  float home[INPUTS][ELEMENTS];
  zt_value *x[INPUTS];
  bool homes;     /* inputs say where their gradient has to be */
  double loss[2]; /* cross-entropy and its terms */
} bench;

/* Makes y of the inputs and weights; y stays NULL where b->loss is the end: the
 * sum of the two. */
typedef zt_status program(bench *b, zt_value **y);

static bench *open_bench(void) {
  bench *b = calloc(1, sizeof *b);
  zt_arena *arenas[] = {&b->keep, &b->work, &b->host};
  ck_zt_ok(zt_device_cpu_create(1, &b->dev));
  ck_zt_ok(zt_device_check(b->dev));
  for (int i = 0; i < ARENAS; i++) {
    ck_zt_ok(zt_device_allocate(b->dev, ARENA, &b->memory[i]));
    zt_arena_init(arenas[i], "test", b->memory[i], ARENA);
    arenas[i]->released = b->dev->poison;
  }
  b->tape = (zt_tape){.dev = b->dev,
                      .keep = &b->keep,
                      .work = &b->work,
                      .host = &b->host,
                      .params = b->params,
                      .grads = b->grads,
                      .dropout = {.key = 11, .step = 3, .first_sample = 40}};
  for (int i = 0; i < INPUTS; i++)
    for (uint64_t e = 0; e < ELEMENTS; e++) { /* away from the kink of relu */
      float u = (float) numbers_uniform((uint64_t) i + 1, e);
      b->in[i][e] = u + (u > 0 ? 0.3f : -0.3f);
    }
  numbers_fill(b->params, PARAMS, 9, 0.8);
  return b;
}

static void close_bench(bench *b) {
  for (int i = 0; i < ARENAS; i++)
    zt_device_release(b->dev, b->memory[i], ARENA);
  zt_device_destroy(&b->dev);
  free(b);
}

static double weight_of_output(int64_t i) {
  return numbers_uniform(77, (uint64_t) i);
}

/* Runs the program anew; the sum of its outputs, each times a fixed number. */
static double forward(bench *b, program *run, bool recording, zt_value **y) {
  double sum = 0;
  zt_arena_release(&b->keep, 0);
  zt_arena_release(&b->work, 0);
  zt_arena_release(&b->host, 0);
  b->tape.last = NULL;
  b->tape.recording = recording;
  b->loss[0] = b->loss[1] = 0;
  for (int i = 0; i < INPUTS; i++) {
    ck_zt_ok(zt_tape_value(&b->tape, ROWS, COLS, ZT_FP32, &b->x[i]));
    memcpy(b->x[i]->data, b->in[i], sizeof b->in[i]);
    b->x[i]->home = b->homes ? b->home[i] : NULL;
  }
  *y = NULL;
  ck_zt_ok(run(b, y));
  if (!*y)
    return b->loss[0] + b->loss[1];
  for (int64_t i = 0; i < (*y)->rows * (*y)->cols; i++)
    sum += weight_of_output(i) * (double) ((float *) (*y)->data)[i];
  return sum;
}

static void backward(bench *b, program *run) {
  zt_value *y;
  memset(b->grads, 0, sizeof b->grads);
  memset(b->home, 0xFF, sizeof b->home);
  forward(b, run, true, &y);
  if (y) {
    y->grad = y->home; /* it may be an input */
    if (!y->grad)
      ck_zt_ok(zt_tape_push(&b->work, zt_value_bytes(y), &y->grad));
    for (int64_t i = 0; i < y->rows * y->cols; i++)
      ((float *) y->grad)[i] = (float) weight_of_output(i);
  }
  ck_zt_ok(zt_tape_backward(&b->tape, NULL));
  ck_assert_ptr_null(b->tape.last);
}

/* Five-point rule: exact to the fourth power of the step. */
static double slope_at(bench *b, program *run, float *x) {
  const float h = 0x1p-5f, kept = *x;
  double f[4];
  zt_value *y;
  for (int i = 0; i < 4; i++) {
    *x = kept + h * (float) (i < 2 ? i - 2 : i - 1);
    f[i] = forward(b, run, false, &y);
  }
  *x = kept;
  return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * (double) h);
}

static double worst;

static void compare(bench *b, program *run, float *x, float got,
                    const char *what, int64_t i) {
  double wanted = slope_at(b, run, x);
  double error = fabs((double) got - wanted) / (1 + fabs(wanted));
  if (!(error <= 2e-4))
    ck_abort_msg("%s %ld: %g, by differences %g", what, (long) i, (double) got,
                 wanted);
  worst = fmax(worst, error);
}

/* All gradients against differences, and with homes against those without. */
static void check(program *run) {
  bench *b = open_bench();
  float input_grads[INPUTS][ELEMENTS] = {{0}};
  backward(b, run);
  for (int i = 0; i < INPUTS; i++)
    if (b->x[i]->grad)
      memcpy(input_grads[i], b->x[i]->grad, sizeof input_grads[i]);
  b->homes = true;
  backward(b, run);
  for (int i = 0; i < INPUTS; i++)
    if (b->x[i]->grad) {
      ck_assert_ptr_eq(b->x[i]->grad, b->home[i]);
      ck_assert_mem_eq(b->home[i], input_grads[i], sizeof input_grads[i]);
    }
  for (int i = 0; i < INPUTS; i++)
    for (int64_t e = 0; e < ELEMENTS; e++)
      compare(b, run, &b->in[i][e], input_grads[i][e], "input", e);
  for (int64_t p = 0; p < PARAMS; p++)
    compare(b, run, &b->params[p], b->grads[p], "parameter", p);
  close_bench(b);
}

/* ---- Programs of one operation ---- */

static const int32_t ids[ROWS] = {4, 0, 4, 2, 4, 0};
static const zt_weight square = {.at = 3, .rows = COLS, .cols = COLS},
                       other = {.at = 70, .rows = COLS, .cols = COLS},
                       vector = {.at = 140, .rows = COLS, .cols = 1},
                       wide = {.at = 150, .rows = 3 * COLS, .cols = COLS};

static zt_weight weight_at(int64_t at, int64_t rows, int64_t cols) {
  return (zt_weight){.at = at, .rows = rows, .cols = cols};
}

static zt_dropout dropout_at(const bench *b, float rate, uint32_t site) {
  zt_dropout d = zt_tape_dropout(&b->tape, site, LENGTH);
  d.rate = rate;
  return d;
}

static zt_status embedding(bench *b, zt_value **y) {
  return zt_op_embedding(&b->tape, ids, ROWS, weight_at(5, 6, 11), -1, y);
}

static zt_status rms_norm(bench *b, zt_value **y) {
  return zt_op_rms_norm(&b->tape, b->x[0], vector, 1e-2, y);
}

static zt_status layer_norm(bench *b, zt_value **y) {
  return zt_op_layer_norm(&b->tape, b->x[0], vector, weight_at(7, COLS, 1),
                          1e-2, y);
}

/* Tokens and positions from two tables, as in GPT-2. */
static zt_status embedding_add(bench *b, zt_value **y) {
  static const int32_t position[ROWS] = {0, 1, 2, 0, 1, 2};
  ZT_TRY(zt_op_embedding(&b->tape, ids, ROWS, weight_at(5, 6, COLS), -1, y));
  return zt_op_embedding_add(&b->tape, position, weight_at(90, 3, COLS), *y);
}

/* Linear maps with a bias, of both layouts. */
static zt_weight map_at(int64_t at, int64_t rows, int64_t cols, bool in_out) {
  return (zt_weight){.at = at,
                     .rows = rows,
                     .cols = cols,
                     .in_out = in_out,
                     .biased = true,
                     .bias = at + rows * cols};
}

static zt_status biased_linear(bench *b, zt_value **y) {
  return zt_op_linear(&b->tape, b->x[0], map_at(1, 5, COLS, false), y);
}

static zt_status conv1d(bench *b, zt_value **y) {
  return zt_op_linear(&b->tape, b->x[0], map_at(1, COLS, 5, true), y);
}

static zt_status biased_add(bench *b, zt_value **y) {
  return zt_op_linear_add(&b->tape, b->x[0], map_at(3, COLS, COLS, false),
                          b->x[1], dropout_at(b, 0, 1), y);
}

static zt_status conv1d_add_drop(bench *b, zt_value **y) {
  return zt_op_linear_add(&b->tape, b->x[0], map_at(3, COLS, COLS, true),
                          b->x[1], dropout_at(b, 0.4f, 1), y);
}

static zt_status linear(bench *b, zt_value **y) {
  return zt_op_linear(&b->tape, b->x[0], weight_at(1, 5, COLS), y);
}

static zt_status linear_add(bench *b, zt_value **y) {
  return zt_op_linear_add(&b->tape, b->x[0], square, b->x[1],
                          dropout_at(b, 0, 1), y);
}

static zt_status linear_add_drop(bench *b, zt_value **y) {
  return zt_op_linear_add(&b->tape, b->x[0], square, b->x[1],
                          dropout_at(b, 0.4f, 1), y);
}

static zt_status no_dropout(bench *b, zt_value **y) {
  return zt_op_dropout(&b->tape, b->x[0], dropout_at(b, 0, 2), y);
}

static zt_status dropout(bench *b, zt_value **y) {
  return zt_op_dropout(&b->tape, b->x[0], dropout_at(b, 0.4f, 2), y);
}

#define ACTIVATION(name, kind, gated, rate)                                    \
  static zt_status name(bench *b, zt_value **y) {                              \
    return zt_op_activation(&b->tape, b->x[0], kind, gated,                    \
                            dropout_at(b, rate, 3), y);                        \
  }
ACTIVATION(relu, ZT_RELU, false, 0)
ACTIVATION(relu_drop, ZT_RELU, false, 0.4f)
ACTIVATION(gelu, ZT_GELU, false, 0)
ACTIVATION(gelu_new, ZT_GELU_NEW, false, 0)
ACTIVATION(silu, ZT_SILU, false, 0)
ACTIVATION(gated_relu, ZT_RELU, true, 0)
ACTIVATION(gated_gelu, ZT_GELU, true, 0)
ACTIVATION(gated_gelu_new, ZT_GELU_NEW, true, 0)
ACTIVATION(gated_gelu_new_drop, ZT_GELU_NEW, true, 0.4f)
ACTIVATION(gated_silu, ZT_SILU, true, 0)

/* ---- Attention and its bias ---- */

static const int32_t valid[SAMPLES] = {LENGTH, 1};
static const int32_t bucket[2 * LENGTH - 1] = {2, 0, 3, 0, 1};

/* Queries, keys and values as columns of one product, as in T5. */
static zt_status attend(bench *b, bool causal, bool bias, float rate,
                        zt_value **y) {
  zt_value *x, *offsets = NULL;
  if (bias)
    ZT_TRY(zt_op_bias(&b->tape, weight_at(350, 4, 2), bucket, 2 * LENGTH - 1,
                      &offsets));
  ZT_TRY(zt_op_linear(&b->tape, b->x[0], wide, &x));
  zt_attend a = {.samples = SAMPLES,
                 .heads = 2,
                 .kv_heads = 2,
                 .head_dim = COLS / 2,
                 .q_length = LENGTH,
                 .k_length = LENGTH,
                 .scale = 0.6f,
                 .causal = causal,
                 .k_valid = causal ? NULL : valid,
                 .q = x,
                 .k = x,
                 .v = x,
                 .k_column = COLS,
                 .v_column = 2 * COLS,
                 .bias = offsets,
                 .dropout = dropout_at(b, rate, 4)};
  return zt_op_attention(&b->tape, &a, y);
}

static zt_status self_attention(bench *b, zt_value **y) {
  return attend(b, false, false, 0, y);
}

static zt_status causal_attention(bench *b, zt_value **y) {
  return attend(b, true, true, 0, y);
}

static zt_status biased_attention_drop(bench *b, zt_value **y) {
  return attend(b, false, true, 0.3f, y);
}

/* Rotary positions in the first columns of a product, as in Llama; documents
 * and a window. */
static zt_status rotary_attention(bench *b, zt_value **y) {
  static const int32_t position[ROWS] = {2, 0, 1, 0, 1, 2};
  static const int32_t first[ROWS] = {0, 1, 1, 0, 0, 0};
  static const float table[3 * 2] = {1, 0, 0.6f, 0.8f, -0.28f, 0.96f};
  zt_value *x;
  ZT_TRY(
      zt_op_linear(&b->tape, b->x[0], map_at(150, 2 * COLS, COLS, false), &x));
  ZT_TRY(zt_op_rope(&b->tape, x, 6, 2, position, table));
  zt_attend a = {.samples = SAMPLES,
                 .heads = 4,
                 .kv_heads = 2,
                 .head_dim = 2,
                 .q_length = LENGTH,
                 .k_length = LENGTH,
                 .scale = 0.7f,
                 .causal = true,
                 .window = 2,
                 .k_first = first,
                 .q = x,
                 .k = x,
                 .v = x,
                 .k_column = 8,
                 .v_column = 12,
                 .dropout = dropout_at(b, 0.2f, 6)};
  return zt_op_attention(&b->tape, &a, y);
}

/* Three values, fewer key heads than heads; the input twice through it. */
static zt_status cross_attention(bench *b, zt_value **y) {
  zt_value *q, *k, *v;
  ZT_TRY(zt_op_linear(&b->tape, b->x[0], square, &q));
  ZT_TRY(zt_op_linear(&b->tape, b->x[1], weight_at(70, 4, COLS), &k));
  ZT_TRY(zt_op_linear(&b->tape, b->x[1], weight_at(102, 4, COLS), &v));
  zt_attend a = {.samples = SAMPLES,
                 .heads = 4,
                 .kv_heads = 2,
                 .head_dim = 2,
                 .q_length = LENGTH,
                 .k_length = LENGTH,
                 .scale = 1,
                 .k_valid = valid,
                 .q = q,
                 .k = k,
                 .v = v,
                 .dropout = dropout_at(b, 0, 5)};
  return zt_op_attention(&b->tape, &a, y);
}

/* ---- The loss ---- */

static const int32_t labels[ROWS] = {3, -100, 0, 12, 12, -1};

static zt_status loss_with(bench *b, float smoothing, float z_loss) {
  return zt_op_cross_entropy(&b->tape, b->x[0], weight_at(3, 13, COLS),
                             &(zt_loss){.scale = 0.7,
                                        .labels = labels,
                                        .smoothing = smoothing,
                                        .z_loss = z_loss,
                                        .sums = b->loss});
}

static zt_status cross_entropy(bench *b, zt_value **y) {
  (void) y;
  return loss_with(b, 0, 0);
}

static zt_status smoothed(bench *b, zt_value **y) {
  (void) y;
  return loss_with(b, 0.3f, 0);
}

static zt_status z_loss(bench *b, zt_value **y) {
  (void) y;
  return loss_with(b, 0, 0.2f);
}

static zt_status all_terms(bench *b, zt_value **y) {
  (void) y;
  return loss_with(b, 0.3f, 0.2f);
}

/* ---- Programs of several ---- */

/* Gradients that add: x0 goes two ways through linear, norm and residual. */
static zt_status used_twice(bench *b, zt_value **y) {
  zt_value *n, *p, *q;
  ZT_TRY(zt_op_rms_norm(&b->tape, b->x[0], vector, 1e-2, &n));
  ZT_TRY(zt_op_linear(&b->tape, n, square, &p));
  ZT_TRY(zt_op_linear_add(&b->tape, n, other, b->x[0], dropout_at(b, 0.2f, 6),
                          &q));
  return zt_op_linear_add(&b->tape, p, square, q, dropout_at(b, 0, 7), y);
}

/* A branch as in a block: its gradients are given back when it has run. */
static zt_status branch(bench *b, uint32_t site, zt_value **h) {
  zt_value *n, *x, *a;
  ZT_TRY(zt_tape_scope_begin(&b->tape));
  ZT_TRY(zt_op_rms_norm(&b->tape, *h, vector, 1e-2, &n));
  ZT_TRY(zt_op_linear(&b->tape, n, weight_at(150, 2 * COLS, COLS), &x));
  ZT_TRY(zt_op_activation(&b->tape, x, ZT_SILU, true, dropout_at(b, 0.2f, site),
                          &a));
  ZT_TRY(zt_op_linear_add(&b->tape, a, other, *h, dropout_at(b, 0.2f, site + 1),
                          h));
  return zt_tape_scope_end(&b->tape);
}

static zt_status scopes(bench *b, zt_value **y) {
  *y = b->x[1];
  ZT_TRY(branch(b, 20, y));
  ZT_TRY(branch(b, 30, y));
  return zt_op_dropout(&b->tape, *y, dropout_at(b, 0.2f, 40), y);
}

/* Bias shared by two attentions, and the loss behind them. */
static zt_status whole(bench *b, zt_value **y) {
  zt_value *a, *kept = b->x[0];
  ZT_TRY(attend(b, true, true, 0, &a));
  ZT_TRY(zt_op_linear_add(&b->tape, a, square, kept, dropout_at(b, 0, 8), &a));
  b->x[0] = a;
  zt_status status = attend(b, false, true, 0.2f, &a);
  if (status == ZT_OK)
    status =
        zt_op_linear_add(&b->tape, a, other, b->x[0], dropout_at(b, 0, 9), &a);
  b->x[0] = a;
  if (status == ZT_OK)
    status = cross_entropy(b, y);
  b->x[0] = kept;
  return status;
}

static const struct {
  const char *name;
  program *run;
} programs[] = {{"embedding", embedding},
                {"rms norm", rms_norm},
                {"layer norm", layer_norm},
                {"embedding, add", embedding_add},
                {"linear", linear},
                {"linear, bias", biased_linear},
                {"conv1d", conv1d},
                {"linear, bias, add", biased_add},
                {"conv1d, drop, add", conv1d_add_drop},
                {"linear, add", linear_add},
                {"linear, drop, add", linear_add_drop},
                {"no dropout", no_dropout},
                {"dropout", dropout},
                {"relu", relu},
                {"relu, drop", relu_drop},
                {"gelu", gelu},
                {"gelu_new", gelu_new},
                {"silu", silu},
                {"gated relu", gated_relu},
                {"gated gelu", gated_gelu},
                {"gated gelu_new", gated_gelu_new},
                {"gated gelu_new, drop", gated_gelu_new_drop},
                {"gated silu", gated_silu},
                {"self-attention", self_attention},
                {"causal attention", causal_attention},
                {"biased attention, drop", biased_attention_drop},
                {"rotary attention, window, documents", rotary_attention},
                {"cross-attention", cross_attention},
                {"cross-entropy", cross_entropy},
                {"cross-entropy, smoothed", smoothed},
                {"cross-entropy, z-loss", z_loss},
                {"cross-entropy, both", all_terms},
                {"values used twice", used_twice},
                {"scopes", scopes},
                {"two attentions and the loss", whole}};

START_TEST(gradients_equal_differences) {
  worst = 0;
  check(programs[_i].run);
  printf("%s: within %.1e\n", programs[_i].name, worst);
}
END_TEST

/* ---- What else the tape promises ---- */

/* Without recording there is no record, and no gradient in the loss. */
START_TEST(forward_alone_leaves_no_record) {
  bench *b = open_bench();
  zt_value *y;
  for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
    double with = forward(b, programs[i].run, true, &y);
    double without = forward(b, programs[i].run, false, &y);
    ck_assert_double_eq(with, without);
    ck_assert_ptr_null(b->tape.last);
  }
  close_bench(b);
}
END_TEST

/* What nothing flows back to costs nothing. */
START_TEST(unused_values_get_no_gradient) {
  bench *b = open_bench();
  zt_value *y, *unused;
  forward(b, linear, true, &y);
  ck_zt_ok(used_twice(b, &unused));
  ck_zt_ok(zt_tape_backward(&b->tape, NULL));
  ck_assert_ptr_null(b->x[0]->grad);
  for (int i = 0; i < PARAMS; i++)
    ck_assert_float_eq(b->grads[i], 0);
  close_bench(b);
}
END_TEST

/* The row of the padding id learns nothing, whatever flows back to it. */
START_TEST(padding_learns_nothing) {
  bench *b = open_bench();
  zt_value *y;
  forward(b, embedding, true, &y); /* begins a tape */
  ck_zt_ok(
      zt_op_embedding(&b->tape, ids, ROWS, weight_at(200, 6, COLS), 4, &y));
  ck_zt_ok(zt_tape_push(&b->work, zt_value_bytes(y), &y->grad));
  for (int64_t i = 0; i < ROWS * COLS; i++)
    ((float *) y->grad)[i] = 1;
  ck_zt_ok(zt_tape_backward(&b->tape, NULL));
  for (int i = 0; i < COLS; i++) {
    ck_assert_float_eq(b->grads[200 + i], 2); /* the id 0 stands twice */
    ck_assert_float_eq(b->grads[200 + 4 * COLS + i], 0);
  }
  close_bench(b);
}
END_TEST

/* Operations that cannot add say so. */
START_TEST(second_uses_are_refused) {
  bench *b = open_bench();
  zt_value *y, *z;
  forward(b, relu, true, &y);
  ck_zt_ok(
      zt_op_linear_add(&b->tape, y, square, b->x[0], dropout_at(b, 0, 1), &z));
  ck_zt_ok(zt_tape_push(&b->work, zt_value_bytes(z), &z->grad));
  memset(z->grad, 0, zt_value_bytes(z));
  ck_zt_fails(zt_tape_backward(&b->tape, NULL), ZT_ERR_INTERNAL);
  close_bench(b);
}
END_TEST

START_TEST(a_full_arena_is_named) {
  bench *b = open_bench();
  zt_value *y;
  forward(b, linear, true, &y);
  b->keep.size = b->keep.used;
  ck_zt_fails(linear(b, &y), ZT_ERR_INTERNAL);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "arena test"));
  close_bench(b);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("ops");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, gradients_equal_differences, 0,
                      sizeof programs / sizeof *programs);
  tcase_add_test(all, forward_alone_leaves_no_record);
  tcase_add_test(all, unused_values_get_no_gradient);
  tcase_add_test(all, second_uses_are_refused);
  tcase_add_test(all, padding_learns_nothing);
  tcase_add_test(all, a_full_arena_is_named);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
