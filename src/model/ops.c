/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/ops.h"

/* ---- Matrix products ---- */

static zt_matrix matrix_of(const zt_value *value, void *data) {
  return (zt_matrix){data, value->cols, value->dtype};
}

static zt_matrix weight_of(const zt_tape *tape, zt_weight w) {
  return (zt_matrix){(void *) zt_tape_param(tape, w), w.cols, tape->dtype};
}

/* y = alpha * x W^T + beta * y */
static zt_status apply_weight(zt_tape *tape, const zt_value *x, zt_weight w,
                              zt_matrix y, float beta) {
  return zt_gemm_run(tape->dev, &(zt_gemm){.transpose_b = true,
                                           .m = x->rows,
                                           .n = w.rows,
                                           .k = w.cols,
                                           .alpha = 1,
                                           .beta = beta,
                                           .a = matrix_of(x, x->data),
                                           .b = weight_of(tape, w),
                                           .c = y});
}

/* dW += dy^T x, and dx = dy W or, when it is not fresh, dx += dy W. */
static zt_status linear_gradients(zt_tape *tape, const zt_value *x, zt_weight w,
                                  zt_matrix dy, void *dx, bool fresh) {
  zt_matrix dw = {zt_tape_param_grad(tape, w), w.cols, ZT_FP32};
  ZT_TRY(zt_gemm_run(tape->dev, &(zt_gemm){.transpose_a = true,
                                           .m = w.rows,
                                           .n = w.cols,
                                           .k = x->rows,
                                           .alpha = 1,
                                           .beta = 1,
                                           .a = dy,
                                           .b = matrix_of(x, x->data),
                                           .c = dw}));
  return zt_gemm_run(tape->dev, &(zt_gemm){.m = x->rows,
                                           .n = w.cols,
                                           .k = w.rows,
                                           .alpha = 1,
                                           .beta = fresh ? 0 : 1,
                                           .a = dy,
                                           .b = weight_of(tape, w),
                                           .c = matrix_of(x, dx)});
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
  return linear_gradients(tape, r->x, r->w, matrix_of(r->y, r->y->grad), dx,
                          fresh);
}

zt_status zt_op_linear(zt_tape *tape, zt_value *x, zt_weight w, zt_value **y) {
  linear_record r = {.x = x, .w = w};
  ZT_TRY(zt_tape_value(tape, x->rows, w.rows, tape->dtype, &r.y));
  ZT_TRY(apply_weight(tape, x, w, matrix_of(r.y, r.y->data), 0));
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
  ZT_TRY(
      linear_gradients(tape, r->x, r->w, matrix_of(r->y, branch), dx, fresh));
  zt_arena_release(tape->work, mark);
  return zt_tape_give_grad(tape, r->h, dy);
}

zt_status zt_op_linear_add(zt_tape *tape, zt_value *x, zt_weight w, zt_value *h,
                           zt_dropout dropout, zt_value **y) {
  linear_record r = {.x = x, .h = h, .w = w, .dropout = dropout};
  ZT_TRY(zt_tape_value(tape, h->rows, h->cols, h->dtype, &r.y));
  if (dropout.rate > 0) {
    size_t mark = zt_arena_mark(tape->work);
    void *branch;
    ZT_TRY(zt_tape_push(tape->work, zt_value_bytes(r.y), &branch));
    ZT_TRY(apply_weight(tape, x, w, matrix_of(r.y, branch), 0));
    ZT_TRY(drop_values(tape, r.y, branch, h->data, r.y->data, &dropout));
    zt_arena_release(tape->work, mark);
  } else {
    ZT_TRY(zt_device_copy(tape->dev, r.y->data, h->data, zt_value_bytes(h)));
    ZT_TRY(apply_weight(tape, x, w, matrix_of(r.y, r.y->data), 1));
  }
  *y = r.y;
  return zt_tape_record(tape, linear_add_backward, &r, sizeof r);
}

/* ---- Embedding ---- */

typedef struct embedding_record {
  const int32_t *ids;
  zt_weight table;
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
                                 .ids = r->ids,
                                 .dy = r->y->grad,
                                 .dtable = zt_tape_param_grad(tape, r->table),
                                 .dtype = r->y->dtype});
}

zt_status zt_op_embedding(zt_tape *tape, const int32_t *ids, int64_t rows,
                          zt_weight table, zt_value **y) {
  embedding_record r = {.ids = ids, .table = table};
  ZT_TRY(zt_tape_value(tape, rows, table.cols, tape->dtype, &r.y));
  ZT_TRY(zt_embedding_forward(
      tape->dev, &(zt_embedding){.rows = rows,
                                 .d = table.cols,
                                 .vocabulary = table.rows,
                                 .ids = ids,
                                 .table = zt_tape_param(tape, table),
                                 .y = r.y->data,
                                 .dtype = tape->dtype}));
  *y = r.y;
  return zt_tape_record(tape, embedding_backward, &r, sizeof r);
}

/* ---- Normalisation ---- */

typedef struct norm_record {
  zt_value *x, *y;
  zt_weight w;
  float eps, *stats;
} norm_record;

static zt_status norm_backward(zt_tape *tape, const void *payload) {
  const norm_record *r = payload;
  void *dx;
  bool fresh;
  if (!r->y->grad)
    return ZT_OK;
  ZT_TRY(zt_tape_grad(tape, r->x, &dx, &fresh));
  zt_norm call = {.kind = ZT_RMS_NORM,
                  .rows = r->x->rows,
                  .d = r->x->cols,
                  .eps = r->eps,
                  .x = r->x->data,
                  .w = zt_tape_param(tape, r->w),
                  .stats = r->stats,
                  .dy = r->y->grad,
                  .dx = dx,
                  .accumulate_dx = !fresh,
                  .dw = zt_tape_param_grad(tape, r->w),
                  .dtype = r->x->dtype};
  size_t mark = zt_arena_mark(tape->work);
  ZT_TRY(zt_tape_push(tape->work, zt_device_norm_workspace(tape->dev, &call),
                      &call.workspace));
  ZT_TRY(zt_norm_backward(tape->dev, &call));
  zt_arena_release(tape->work, mark);
  return ZT_OK;
}

zt_status zt_op_rms_norm(zt_tape *tape, zt_value *x, zt_weight w, double eps,
                         zt_value **y) {
  norm_record r = {.x = x, .w = w, .eps = (float) eps};
  ZT_TRY(zt_tape_value(tape, x->rows, x->cols, x->dtype, &r.y));
  ZT_TRY(
      zt_tape_push(tape->keep, (size_t) x->rows * sizeof *r.stats, &r.stats));
  ZT_TRY(zt_norm_forward(tape->dev, &(zt_norm){.kind = ZT_RMS_NORM,
                                               .rows = x->rows,
                                               .d = x->cols,
                                               .eps = r.eps,
                                               .x = x->data,
                                               .w = zt_tape_param(tape, w),
                                               .y = r.y->data,
                                               .stats = r.stats,
                                               .dtype = x->dtype}));
  *y = r.y;
  return zt_tape_record(tape, norm_backward, &r, sizeof r);
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

/* ---- Attention ---- */

typedef struct bias_record {
  zt_weight table;
  const int32_t *bucket;
  zt_value *bias;
} bias_record;

static zt_bias bias_call(zt_tape *tape, const bias_record *r) {
  return (zt_bias){.heads = r->table.cols,
                   .offsets = r->bias->cols,
                   .buckets = r->table.rows,
                   .bucket = r->bucket,
                   .table = zt_tape_param(tape, r->table),
                   .dtype = tape->dtype};
}

static zt_status bias_backward(zt_tape *tape, const void *payload) {
  const bias_record *r = payload;
  if (!r->bias->grad)
    return ZT_OK;
  zt_bias call = bias_call(tape, r);
  call.dbias = r->bias->grad;
  call.dtable = zt_tape_param_grad(tape, r->table);
  return zt_bias_backward(tape->dev, &call);
}

zt_status zt_op_bias(zt_tape *tape, zt_weight table, const int32_t *bucket,
                     int64_t offsets, zt_value **bias) {
  bias_record r = {.table = table, .bucket = bucket};
  ZT_TRY(zt_tape_value(tape, table.cols, offsets, ZT_FP32, &r.bias));
  zt_bias call = bias_call(tape, &r);
  call.bias = r.bias->data;
  ZT_TRY(zt_bias_forward(tape->dev, &call));
  *bias = r.bias;
  return zt_tape_record(tape, bias_backward, &r, sizeof r);
}

typedef struct attention_record {
  zt_attend a;
  zt_value *y;
  float *stats;
} attention_record;

/* Columns of a value as an operand. */
static zt_matrix columns(const zt_value *value, void *data, int64_t column) {
  char *first = data;
  return (zt_matrix){first + (size_t) column * zt_dtype_size(value->dtype),
                     value->cols, value->dtype};
}

static zt_attention attention_call(const attention_record *r) {
  const zt_attend *a = &r->a;
  return (zt_attention){.samples = a->samples,
                        .heads = a->heads,
                        .kv_heads = a->kv_heads,
                        .head_dim = a->head_dim,
                        .q_length = a->q_length,
                        .k_length = a->k_length,
                        .scale = a->scale,
                        .causal = a->causal,
                        .k_valid = a->k_valid,
                        .bias = a->bias ? a->bias->data : NULL,
                        .q = columns(a->q, a->q->data, a->q_column),
                        .k = columns(a->k, a->k->data, a->k_column),
                        .v = columns(a->v, a->v->data, a->v_column),
                        .y = matrix_of(r->y, r->y->data),
                        .stats = r->stats,
                        .dropout = a->dropout};
}

/* Gradient of an input whose columns attention writes; inputs may be one value,
 * so all three are asked for before any is written. */
static zt_status fresh_gradient(zt_tape *tape, zt_value *value) {
  void *grad;
  bool fresh;
  ZT_TRY(zt_tape_grad(tape, value, &grad, &fresh));
  if (!fresh)
    return zt_fail(ZT_ERR_INTERNAL, "attention: an input has a second use");
  return ZT_OK;
}

static zt_status attention_backward(zt_tape *tape, const void *payload) {
  const attention_record *r = payload;
  const zt_attend *a = &r->a;
  if (!r->y->grad)
    return ZT_OK;
  ZT_TRY(fresh_gradient(tape, a->q));
  if (a->k != a->q)
    ZT_TRY(fresh_gradient(tape, a->k));
  if (a->v != a->q && a->v != a->k)
    ZT_TRY(fresh_gradient(tape, a->v));
  zt_attention call = attention_call(r);
  call.dy = matrix_of(r->y, r->y->grad);
  call.dq = columns(a->q, a->q->grad, a->q_column);
  call.dk = columns(a->k, a->k->grad, a->k_column);
  call.dv = columns(a->v, a->v->grad, a->v_column);
  if (a->bias) {
    void *dbias;
    bool fresh;
    ZT_TRY(zt_tape_grad(tape, a->bias, &dbias, &fresh));
    if (fresh)
      ZT_TRY(zt_device_zero(tape->dev, dbias, zt_value_bytes(a->bias)));
    call.dbias = dbias;
  }
  size_t mark = zt_arena_mark(tape->work);
  ZT_TRY(zt_tape_push(tape->work,
                      zt_device_attention_workspace(tape->dev, &call),
                      &call.workspace));
  ZT_TRY(zt_attention_backward(tape->dev, &call));
  zt_arena_release(tape->work, mark);
  return ZT_OK;
}

zt_status zt_op_attention(zt_tape *tape, const zt_attend *attend,
                          zt_value **y) {
  attention_record r = {.a = *attend};
  size_t rows = (size_t) (attend->samples * attend->q_length);
  ZT_TRY(zt_tape_value(tape, (int64_t) rows, attend->heads * attend->head_dim,
                       tape->dtype, &r.y));
  ZT_TRY(zt_tape_push(tape->keep,
                      2 * rows * (size_t) attend->heads * sizeof *r.stats,
                      &r.stats));
  zt_attention call = attention_call(&r);
  size_t mark = zt_arena_mark(tape->work);
  ZT_TRY(zt_tape_push(tape->work,
                      zt_device_attention_workspace(tape->dev, &call),
                      &call.workspace));
  ZT_TRY(zt_attention_forward(tape->dev, &call));
  zt_arena_release(tape->work, mark);
  *y = r.y;
  return zt_tape_record(tape, attention_backward, &r, sizeof r);
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
                                           .c = {logits, w.rows, ZT_FP32}});
}

/* dx = scale * dlogits W and dW += scale * dlogits^T x for n rows. */
static zt_status logits_gradients(zt_tape *tape, zt_matrix x, zt_matrix dx,
                                  zt_weight w, double scale, int64_t n,
                                  float *dlogits) {
  zt_matrix dl = {dlogits, w.rows, ZT_FP32};
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
                              double scale, const int32_t *labels,
                              double *loss) {
  int64_t most = logit_rows(w.rows, x->rows);
  loss_record r = {.x = x};
  if (tape->recording)
    ZT_TRY(zt_tape_push(tape->keep, zt_value_bytes(x), &r.dx));
  size_t mark = zt_arena_mark(tape->work);
  float *logits, *row_loss;
  ZT_TRY(zt_tape_push(tape->work, (size_t) (most * w.rows) * sizeof *logits,
                      &logits));
  ZT_TRY(zt_tape_push(tape->work, (size_t) most * sizeof *row_loss, &row_loss));
  for (int64_t at = 0; at < x->rows; at += most) {
    int64_t n = x->rows - at < most ? x->rows - at : most;
    zt_matrix rows = rows_from(x, x->data, at);
    ZT_TRY(make_logits(tape, rows, w, scale, n, logits));
    ZT_TRY(zt_cross_entropy_run(
        tape->dev, &(zt_cross_entropy){.rows = n,
                                       .vocabulary = w.rows,
                                       .logits = logits,
                                       .labels = labels + at,
                                       .row_loss = row_loss,
                                       .loss = loss,
                                       .gradient = tape->recording}));
    if (tape->recording)
      ZT_TRY(logits_gradients(tape, rows, rows_from(x, r.dx, at), w, scale, n,
                              logits));
  }
  zt_arena_release(tape->work, mark);
  return zt_tape_record(tape, loss_backward, &r, sizeof r);
}

zt_status zt_op_argmax(zt_tape *tape, const zt_value *x, zt_weight w,
                       double scale, int64_t first, int64_t stride,
                       int64_t count, int32_t *index) {
  size_t mark = zt_arena_mark(tape->work);
  float *logits;
  ZT_TRY(zt_tape_push(tape->work, (size_t) w.rows * sizeof *logits, &logits));
  for (int64_t i = 0; i < count; i++) {
    zt_matrix row = rows_from(x, x->data, first + i * stride);
    ZT_TRY(make_logits(tape, row, w, scale, 1, logits));
    ZT_TRY(zt_argmax(tape->dev, 1, w.rows, logits, index + i));
  }
  zt_arena_release(tape->work, mark);
  return ZT_OK;
}
