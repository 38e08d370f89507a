/* SPDX-License-Identifier: BSD-3-Clause */
/* Attention and what tells it positions; see ops.h. */
#include "model/ops.h"

/* ---- Rotary positions ---- */

typedef struct rope_record {
  zt_value *x;
  int64_t heads, head_dim;
  const int32_t *position;
  const float *table;
} rope_record;

static zt_status rotate(zt_tape *tape, const rope_record *r, void *data,
                        bool inverse) {
  return zt_rope_run(tape->dev, &(zt_rope){.rows = r->x->rows,
                                           .heads = r->heads,
                                           .head_dim = r->head_dim,
                                           .x = zt_value_matrix(r->x, data),
                                           .position = r->position,
                                           .table = r->table,
                                           .inverse = inverse});
}

static zt_status rope_backward(zt_tape *tape, const void *payload) {
  const rope_record *r = payload;
  return r->x->grad ? rotate(tape, r, r->x->grad, true) : ZT_OK;
}

zt_status zt_op_rope(zt_tape *tape, zt_value *x, int64_t heads,
                     int64_t head_dim, const int32_t *position,
                     const float *table) {
  rope_record r = {.x = x,
                   .heads = heads,
                   .head_dim = head_dim,
                   .position = position,
                   .table = table};
  ZT_TRY(rotate(tape, &r, x->data, false));
  return zt_tape_record(tape, rope_backward, &r, sizeof r);
}

/* ---- Position bias ---- */

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

/* ---- Attention ---- */

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
                        .window = a->window,
                        .k_first = a->k_first,
                        .k_valid = a->k_valid,
                        .bias = a->bias ? a->bias->data : NULL,
                        .q = columns(a->q, a->q->data, a->q_column),
                        .k = columns(a->k, a->k->data, a->k_column),
                        .v = columns(a->v, a->v->data, a->v_column),
                        .y = zt_value_matrix(r->y, r->y->data),
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
  call.dy = zt_value_matrix(r->y, r->y->grad);
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
