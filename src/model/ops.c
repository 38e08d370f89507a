/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/ops.h"

/* ---- Matrix products ---- */

static zt_matrix weight_of(const zt_tape *tape, zt_weight w) {
  return (zt_matrix){(void *) zt_tape_param(tape, w), w.cols, tape->dtype};
}

static int64_t out_of(zt_weight w) {
  return w.in_out ? w.cols : w.rows;
}

/* y = x W^T + b + h; h may be NULL. */
static zt_status apply_weight(zt_tape *tape, const zt_value *x, zt_weight w,
                              const void *h, zt_matrix y) {
  const char *bias = (const char *) tape->params +
                     (size_t) w.bias * zt_dtype_size(tape->dtype);
  return zt_gemm_run(tape->dev, &(zt_gemm){.transpose_b = !w.in_out,
                                           .m = x->rows,
                                           .n = out_of(w),
                                           .k = x->cols,
                                           .alpha = 1,
                                           .a = zt_value_matrix(x, x->data),
                                           .b = weight_of(tape, w),
                                           .c = y,
                                           .from = h,
                                           .bias = w.biased ? bias : NULL,
                                           .rows_alone = tape->rows_alone});
}

/* dW += dy^T x, in the layout of W, and db += the sum of dy's rows. */
static zt_status weight_gradient(zt_tape *tape, const zt_value *x, zt_weight w,
                                 zt_matrix dy) {
  zt_matrix dw = {zt_tape_param_grad(tape, w), w.cols, ZT_FP32};
  zt_matrix in = zt_value_matrix(x, x->data);
  ZT_TRY(zt_gemm_run(tape->dev, &(zt_gemm){.transpose_a = true,
                                           .m = w.rows,
                                           .n = w.cols,
                                           .k = x->rows,
                                           .alpha = 1,
                                           .beta = 1,
                                           .a = w.in_out ? in : dy,
                                           .b = w.in_out ? dy : in,
                                           .c = dw}));
  if (!w.biased)
    return ZT_OK;
  return zt_row_bias_backward(tape->dev,
                              &(zt_row_bias){.rows = x->rows,
                                             .n = out_of(w),
                                             .dy = dy.data,
                                             .db = tape->grads + w.bias,
                                             .dtype = dy.dtype});
}

/* Those of the weight, and dx = dy W or, when it is not fresh, dx += dy W. */
static zt_status linear_gradients(zt_tape *tape, const zt_value *x, zt_weight w,
                                  zt_matrix dy, void *dx, bool fresh) {
  ZT_TRY(weight_gradient(tape, x, w, dy));
  return zt_gemm_run(tape->dev, &(zt_gemm){.transpose_b = w.in_out,
                                           .m = x->rows,
                                           .n = x->cols,
                                           .k = out_of(w),
                                           .alpha = 1,
                                           .beta = fresh ? 0 : 1,
                                           .a = dy,
                                           .b = weight_of(tape, w),
                                           .c = zt_value_matrix(x, dx)});
}

typedef struct linear_record {
  zt_value *x, *h, *y;
  zt_weight w;
  zt_dropout dropout;
} linear_record;

static zt_status linear_backward(zt_tape *tape, const void *payload) {
  const linear_record *r = payload;
  void *dx;
  bool fresh;
  if (!r->y->grad)
    return ZT_OK;
  ZT_TRY(zt_tape_grad(tape, r->x, &dx, &fresh));
  return linear_gradients(tape, r->x, r->w, zt_value_matrix(r->y, r->y->grad),
                          dx, fresh);
}

zt_status zt_op_linear(zt_tape *tape, zt_value *x, zt_weight w, zt_value **y) {
  linear_record r = {.x = x, .w = w};
  ZT_TRY(zt_tape_value(tape, x->rows, out_of(w), tape->dtype, &r.y));
  ZT_TRY(apply_weight(tape, x, w, NULL, zt_value_matrix(r.y, r.y->data)));
  *y = r.y;
  return zt_tape_record(tape, linear_backward, &r, sizeof r);
}

/* y = drop(x) + residual, all of the shape of one value. */
static zt_status drop_values(zt_tape *tape, const zt_value *shape,
                             const void *x, const void *residual, void *y,
                             const zt_dropout *dropout) {
  return zt_drop_run(tape->dev, &(zt_drop){.rows = shape->rows,
                                           .d = shape->cols,
                                           .x = x,
                                           .residual = residual,
                                           .y = y,
                                           .dropout = *dropout,
                                           .dtype = shape->dtype});
}

static zt_status linear_add_backward(zt_tape *tape, const void *payload) {
  const linear_record *r = payload;
  void *dy = r->y->grad, *branch = dy, *dx;
  bool fresh;
  if (!dy)
    return ZT_OK;
  ZT_TRY(zt_tape_grad(tape, r->x, &dx, &fresh));
  size_t mark = zt_arena_mark(tape->work);
  if (r->dropout.rate > 0) {
    ZT_TRY(zt_tape_push(tape->work, zt_value_bytes(r->y), &branch));
    ZT_TRY(drop_values(tape, r->y, dy, NULL, branch, &r->dropout));
  }
  ZT_TRY(linear_gradients(tape, r->x, r->w, zt_value_matrix(r->y, branch), dx,
                          fresh));
  zt_arena_release(tape->work, mark);
  return zt_tape_give_grad(tape, r->h, dy);
}

static zt_status add_branch(zt_tape *tape, const linear_record *r) {
  return apply_weight(tape, r->x, r->w, r->h->data,
                      zt_value_matrix(r->y, r->y->data));
}

static zt_status add_dropped_branch(zt_tape *tape, const linear_record *r) {
  void *branch;
  size_t mark = zt_arena_mark(tape->work);
  ZT_TRY(zt_tape_push(tape->work, zt_value_bytes(r->y), &branch));
  ZT_TRY(apply_weight(tape, r->x, r->w, NULL, zt_value_matrix(r->y, branch)));
  ZT_TRY(drop_values(tape, r->y, branch, r->h->data, r->y->data, &r->dropout));
  zt_arena_release(tape->work, mark);
  return ZT_OK;
}

zt_status zt_op_linear_add(zt_tape *tape, zt_value *x, zt_weight w, zt_value *h,
                           zt_dropout dropout, zt_value **y) {
  linear_record r = {.x = x, .h = h, .w = w, .dropout = dropout};
  ZT_TRY(zt_tape_value(tape, h->rows, h->cols, h->dtype, &r.y));
  ZT_TRY(dropout.rate > 0 ? add_dropped_branch(tape, &r)
                          : add_branch(tape, &r));
  *y = r.y;
  return zt_tape_record(tape, linear_add_backward, &r, sizeof r);
}

/* ---- Embedding ---- */

typedef struct embedding_record {
  const int32_t *ids;
  zt_weight table;
  int32_t padding;
  zt_value *y;
} embedding_record;

static zt_status embedding_backward(zt_tape *tape, const void *payload) {
  const embedding_record *r = payload;
  if (!r->y->grad)
    return ZT_OK;
  return zt_embedding_backward(
      tape->dev, &(zt_embedding){.rows = r->y->rows,
                                 .d = r->y->cols,
                                 .vocabulary = r->table.rows,
                                 .padding = r->padding,
                                 .ids = r->ids,
                                 .dy = r->y->grad,
                                 .dtable = zt_tape_param_grad(tape, r->table),
                                 .dtype = r->y->dtype});
}

static zt_status look_up(zt_tape *tape, const embedding_record *r,
                         bool accumulate) {
  ZT_TRY(zt_embedding_forward(
      tape->dev, &(zt_embedding){.rows = r->y->rows,
                                 .d = r->y->cols,
                                 .vocabulary = r->table.rows,
                                 .accumulate = accumulate,
                                 .ids = r->ids,
                                 .table = zt_tape_param(tape, r->table),
                                 .y = r->y->data,
                                 .dtype = tape->dtype}));
  return zt_tape_record(tape, embedding_backward, r, sizeof *r);
}

zt_status zt_op_embedding(zt_tape *tape, const int32_t *ids, int64_t rows,
                          zt_weight table, int32_t padding, zt_value **y) {
  embedding_record r = {.ids = ids, .table = table, .padding = padding};
  ZT_TRY(zt_tape_value(tape, rows, table.cols, tape->dtype, &r.y));
  *y = r.y;
  return look_up(tape, &r, false);
}

zt_status zt_op_embedding_add(zt_tape *tape, const int32_t *ids,
                              zt_weight table, zt_value *h) {
  embedding_record r = {.ids = ids, .table = table, .padding = -1, .y = h};
  return look_up(tape, &r, true);
}

/* ---- Normalisation ---- */

typedef struct norm_record {
  zt_value *x, *y;
  zt_norm_kind kind;
  zt_weight w, b; /* b: layer norm only */
  float eps, *stats;
} norm_record;

static zt_norm norm_call(const zt_tape *tape, const norm_record *r) {
  bool layer = r->kind == ZT_LAYER_NORM;
  return (zt_norm){.kind = r->kind,
                   .rows = r->x->rows,
                   .d = r->x->cols,
                   .eps = r->eps,
                   .x = r->x->data,
                   .w = zt_tape_vector(tape, r->w),
                   .b = layer ? zt_tape_vector(tape, r->b) : NULL,
                   .stats = r->stats,
                   .dtype = r->x->dtype};
}

static zt_status norm_backward(zt_tape *tape, const void *payload) {
  const norm_record *r = payload;
  bool fresh;
  if (!r->y->grad)
    return ZT_OK;
  zt_norm call = norm_call(tape, r);
  ZT_TRY(zt_tape_grad(tape, r->x, &call.dx, &fresh));
  call.dy = r->y->grad;
  call.accumulate_dx = !fresh;
  call.dw = zt_tape_param_grad(tape, r->w);
  if (r->kind == ZT_LAYER_NORM)
    call.db = zt_tape_param_grad(tape, r->b);
  size_t mark = zt_arena_mark(tape->work);
  ZT_TRY(zt_tape_push(tape->work, zt_device_norm_workspace(tape->dev, &call),
                      &call.workspace));
  ZT_TRY(zt_norm_backward(tape->dev, &call));
  zt_arena_release(tape->work, mark);
  return ZT_OK;
}

static zt_status norm_forward(zt_tape *tape, norm_record *r, zt_value **y) {
  int64_t rows = r->x->rows, stats = r->kind == ZT_LAYER_NORM ? 2 * rows : rows;
  ZT_TRY(zt_tape_value(tape, rows, r->x->cols, r->x->dtype, &r->y));
  ZT_TRY(
      zt_tape_push(tape->keep, (size_t) stats * sizeof *r->stats, &r->stats));
  zt_norm call = norm_call(tape, r);
  call.y = r->y->data;
  ZT_TRY(zt_norm_forward(tape->dev, &call));
  *y = r->y;
  return zt_tape_record(tape, norm_backward, r, sizeof *r);
}

zt_status zt_op_rms_norm(zt_tape *tape, zt_value *x, zt_weight w, double eps,
                         zt_value **y) {
  norm_record r = {.kind = ZT_RMS_NORM, .x = x, .w = w, .eps = (float) eps};
  return norm_forward(tape, &r, y);
}

zt_status zt_op_layer_norm(zt_tape *tape, zt_value *x, zt_weight w, zt_weight b,
                           double eps, zt_value **y) {
  norm_record r = {
      .kind = ZT_LAYER_NORM, .x = x, .w = w, .b = b, .eps = (float) eps};
  return norm_forward(tape, &r, y);
}

/* ---- Activation and dropout ---- */

typedef struct activation_record {
  zt_value *x, *y;
  zt_activation_kind kind;
  bool gated;
  zt_dropout dropout;
} activation_record;

static zt_activation activation_call(const activation_record *r) {
  return (zt_activation){.kind = r->kind,
                         .gated = r->gated,
                         .rows = r->y->rows,
                         .d = r->y->cols,
                         .x = r->x->data,
                         .dropout = r->dropout,
                         .dtype = r->x->dtype};
}

static zt_status activation_backward(zt_tape *tape, const void *payload) {
  const activation_record *r = payload;
  void *dx;
  bool fresh;
  if (!r->y->grad)
    return ZT_OK;
  ZT_TRY(zt_tape_grad(tape, r->x, &dx, &fresh));
  if (!fresh)
    return zt_fail(ZT_ERR_INTERNAL, "activation: its input has a second use");
  zt_activation call = activation_call(r);
  call.dy = r->y->grad;
  call.dx = dx;
  return zt_activation_backward(tape->dev, &call);
}

zt_status zt_op_activation(zt_tape *tape, zt_value *x, zt_activation_kind kind,
                           bool gated, zt_dropout dropout, zt_value **y) {
  activation_record r = {
      .x = x, .kind = kind, .gated = gated, .dropout = dropout};
  ZT_TRY(zt_tape_value(tape, x->rows, gated ? x->cols / 2 : x->cols, x->dtype,
                       &r.y));
  zt_activation call = activation_call(&r);
  call.y = r.y->data;
  ZT_TRY(zt_activation_forward(tape->dev, &call));
  *y = r.y;
  return zt_tape_record(tape, activation_backward, &r, sizeof r);
}

static zt_status dropout_backward(zt_tape *tape, const void *payload) {
  const activation_record *r = payload;
  void *dy = r->y->grad;
  if (!dy)
    return ZT_OK;
  ZT_TRY(drop_values(tape, r->y, dy, NULL, dy, &r->dropout));
  return zt_tape_give_grad(tape, r->x, dy);
}

zt_status zt_op_dropout(zt_tape *tape, zt_value *x, zt_dropout dropout,
                        zt_value **y) {
  activation_record r = {.x = x, .dropout = dropout};
  *y = x;
  if (dropout.rate == 0)
    return ZT_OK;
  ZT_TRY(zt_tape_value(tape, x->rows, x->cols, x->dtype, &r.y));
  ZT_TRY(drop_values(tape, x, x->data, NULL, r.y->data, &dropout));
  *y = r.y;
  return zt_tape_record(tape, dropout_backward, &r, sizeof r);
}

/* ---- Loss ---- */

/* Rows of logits that are in memory at once: about 16 MiB.  A function of the
 * vocabulary alone. */
static int64_t logit_rows(int64_t vocabulary, int64_t rows) {
  int64_t fit = (4 << 20) / vocabulary / 16 * 16;
  fit = fit < 16 ? 16 : fit;
  return fit < rows ? fit : rows;
}

typedef struct loss_record {
  zt_value *x;
  void *dx;
} loss_record;

static zt_status loss_backward(zt_tape *tape, const void *payload) {
  const loss_record *r = payload;
  return zt_tape_give_grad(tape, r->x, r->dx);
}

/* Rows of a value as an operand. */
static zt_matrix rows_from(const zt_value *value, void *data, int64_t row) {
  char *first = data;
  return (zt_matrix){first + (size_t) (row * value->cols) *
                                 zt_dtype_size(value->dtype),
                     value->cols, value->dtype};
}

/* logits = scale * x W^T for n rows. */
static zt_status make_logits(zt_tape *tape, zt_matrix x, zt_weight w,
                             double scale, int64_t n, float *logits) {
  return zt_gemm_run(tape->dev, &(zt_gemm){.transpose_b = true,
                                           .m = n,
                                           .n = w.rows,
                                           .k = w.cols,
                                           .alpha = (float) scale,
                                           .a = x,
                                           .b = weight_of(tape, w),
                                           .c = {logits, w.rows, ZT_FP32},
                                           .rows_alone = tape->rows_alone});
}

/* dx = scale * dlogits W and dW += scale * dlogits^T x for n rows. */
static zt_status logits_gradients(zt_tape *tape, zt_matrix x, zt_matrix dx,
                                  zt_weight w, double scale, int64_t n,
                                  zt_matrix dl) {
  ZT_TRY(zt_gemm_run(tape->dev, &(zt_gemm){.m = n,
                                           .n = w.cols,
                                           .k = w.rows,
                                           .alpha = (float) scale,
                                           .a = dl,
                                           .b = weight_of(tape, w),
                                           .c = dx}));
  zt_matrix dw = {zt_tape_param_grad(tape, w), w.cols, ZT_FP32};
  return zt_gemm_run(tape->dev, &(zt_gemm){.transpose_a = true,
                                           .m = w.rows,
                                           .n = w.cols,
                                           .k = n,
                                           .alpha = (float) scale,
                                           .beta = 1,
                                           .a = dl,
                                           .b = x,
                                           .c = dw});
}

zt_status zt_op_cross_entropy(zt_tape *tape, zt_value *x, zt_weight w,
                              const zt_loss *loss) {
  const double scale = loss->scale;
  int64_t most = logit_rows(w.rows, x->rows);
  loss_record r = {.x = x};
  if (tape->recording)
    ZT_TRY(zt_tape_push(tape->keep, zt_value_bytes(x), &r.dx));
  size_t mark = zt_arena_mark(tape->work);
  float *logits, *row_loss;
  ZT_TRY(zt_tape_push(tape->work, (size_t) (most * w.rows) * sizeof *logits,
                      &logits));
  ZT_TRY(zt_tape_push(tape->work, 2 * (size_t) most * sizeof *row_loss,
                      &row_loss));
  /* Products are of one format: what flows back is rounded first. */
  zt_matrix dl = {logits, w.rows, x->dtype};
  if (tape->recording && x->dtype != ZT_FP32)
    ZT_TRY(zt_tape_push(tape->work,
                        (size_t) (most * w.rows) * zt_dtype_size(x->dtype),
                        &dl.data));
  for (int64_t at = 0; at < x->rows; at += most) {
    int64_t n = x->rows - at < most ? x->rows - at : most;
    zt_matrix rows = rows_from(x, x->data, at);
    ZT_TRY(make_logits(tape, rows, w, scale, n, logits));
    ZT_TRY(zt_cross_entropy_run(
        tape->dev, &(zt_cross_entropy){.rows = n,
                                       .vocabulary = w.rows,
                                       .logits = logits,
                                       .labels = loss->labels + at,
                                       .row_loss = row_loss,
                                       .loss = loss->sums,
                                       .smoothing = loss->smoothing,
                                       .z_loss = loss->z_loss,
                                       .gradient = tape->recording}));
    if (!tape->recording)
      continue;
    if (dl.data != logits)
      ZT_TRY(zt_convert(tape->dev, n * w.rows, ZT_FP32, logits, dl.dtype,
                        dl.data));
    ZT_TRY(
        logits_gradients(tape, rows, rows_from(x, r.dx, at), w, scale, n, dl));
  }
  zt_arena_release(tape->work, mark);
  return zt_tape_record(tape, loss_backward, &r, sizeof r);
}

zt_status zt_op_logits(zt_tape *tape, const zt_value *x, zt_weight w,
                       double scale, const int32_t *rows, int64_t count,
                       float *logits) {
  size_t mark = zt_arena_mark(tape->work);
  void *chosen;
  ZT_TRY(zt_tape_push(tape->work,
                      (size_t) (count * x->cols) * zt_dtype_size(x->dtype),
                      &chosen));
  /* An embedding is rows of a table by index, whatever the table is. */
  ZT_TRY(zt_embedding_forward(tape->dev, &(zt_embedding){.rows = count,
                                                         .d = x->cols,
                                                         .vocabulary = x->rows,
                                                         .ids = rows,
                                                         .table = x->data,
                                                         .y = chosen,
                                                         .dtype = x->dtype}));
  ZT_TRY(make_logits(tape, (zt_matrix){chosen, x->cols, x->dtype}, w, scale,
                     count, logits));
  zt_arena_release(tape->work, mark);
  return ZT_OK;
}
