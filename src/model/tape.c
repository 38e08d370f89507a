/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/tape.h"

#include <string.h>

typedef struct zt_record {
  struct zt_record *below;
  zt_backward backward;
  max_align_t payload[];
} zt_record;

size_t zt_value_bytes(const zt_value *value) {
  return (size_t) (value->rows * value->cols) * zt_dtype_size(value->dtype);
}

zt_matrix zt_value_matrix(const zt_value *value, void *data) {
  return (zt_matrix){data, value->cols, value->dtype};
}

zt_status zt_tape_push(zt_arena *arena, size_t bytes, void *p) {
  void *got = zt_arena_push(arena, bytes);
  memcpy(p, &got, sizeof got);
  if (got)
    return ZT_OK;
  return zt_fail(ZT_ERR_INTERNAL,
                 "arena %s: %zu bytes more than the planned %zu", arena->name,
                 bytes, arena->size);
}

zt_status zt_tape_value(zt_tape *tape, int64_t rows, int64_t cols,
                        zt_dtype dtype, zt_value **value) {
  zt_value *v;
  ZT_TRY(zt_tape_push(tape->host, sizeof *v, &v));
  *v = (zt_value){.rows = rows, .cols = cols, .dtype = dtype};
  ZT_TRY(zt_tape_push(tape->keep, zt_value_bytes(v), &v->data));
  *value = v;
  return ZT_OK;
}

zt_status zt_tape_record(zt_tape *tape, zt_backward backward,
                         const void *payload, size_t size) {
  if (!tape->recording)
    return ZT_OK;
  zt_record *record;
  ZT_TRY(zt_tape_push(tape->host, sizeof *record + size, &record));
  *record = (zt_record){.below = tape->last, .backward = backward};
  if (size)
    memcpy(record->payload, payload, size);
  tape->last = record;
  return ZT_OK;
}

/* Scopes are told apart from operations by having these as their backward. */
static zt_status scope_begin(zt_tape *tape, const void *payload) {
  (void) tape, (void) payload;
  return ZT_OK;
}

static zt_status scope_end(zt_tape *tape, const void *payload) {
  (void) tape, (void) payload;
  return ZT_OK;
}

zt_status zt_tape_scope_begin(zt_tape *tape) {
  return zt_tape_record(tape, scope_begin, NULL, 0);
}

zt_status zt_tape_scope_end(zt_tape *tape) {
  return zt_tape_record(tape, scope_end, NULL, 0);
}

zt_status zt_tape_backward(zt_tape *tape, const zt_record *mark) {
  size_t scope_mark = 0; /* scopes do not nest */
  for (; tape->last != mark; tape->last = tape->last->below) {
    zt_record *record = tape->last;
    if (record->backward == scope_end)
      scope_mark = zt_arena_mark(tape->work);
    else if (record->backward == scope_begin)
      zt_arena_release(tape->work, scope_mark);
    else
      ZT_TRY(record->backward(tape, record->payload));
  }
  return ZT_OK;
}

zt_status zt_tape_grad(zt_tape *tape, zt_value *value, void **grad,
                       bool *fresh) {
  *fresh = !value->grad;
  if (!value->grad && value->home)
    value->grad = value->home;
  if (!value->grad)
    ZT_TRY(zt_tape_push(tape->work, zt_value_bytes(value), &value->grad));
  *grad = value->grad;
  return ZT_OK;
}

zt_status zt_tape_give_grad(zt_tape *tape, zt_value *value, void *grad) {
  if (value->grad)
    return zt_add(tape->dev, value->dtype, value->rows * value->cols,
                  value->grad, grad);
  if (!value->home || value->home == grad) {
    value->grad = grad;
    return ZT_OK;
  }
  value->grad = value->home;
  return zt_device_copy(tape->dev, value->grad, grad, zt_value_bytes(value));
}

const void *zt_tape_param(const zt_tape *tape, zt_weight weight) {
  return (const char *) tape->params +
         (size_t) weight.at * zt_dtype_size(tape->dtype);
}

const float *zt_tape_vector(const zt_tape *tape, zt_weight weight) {
  return tape->vectors ? tape->vectors + weight.vector
                       : (const float *) tape->params + weight.at;
}

float *zt_tape_param_grad(const zt_tape *tape, zt_weight weight) {
  return tape->grads + weight.at;
}

zt_dropout zt_tape_dropout(const zt_tape *tape, uint32_t site,
                           int64_t rows_per_sample) {
  zt_dropout dropout = tape->dropout;
  dropout.site = site;
  dropout.rows_per_sample = rows_per_sample;
  return dropout;
}
