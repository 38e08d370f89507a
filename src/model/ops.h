/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Differentiable operations: each runs forward on the tape's device and pushes
 *  the record of its backward.  All are Local. */
#ifndef ZT_MODEL_OPS_H
#define ZT_MODEL_OPS_H

#include "model/tape.h"

/** y = rows of the table by index.
 *  \param[in] ids      [rows], device, each below table.rows; must stay
 *  \param[in] padding  id whose row gets no gradient, -1: none */
zt_status zt_op_embedding(zt_tape *tape, const int32_t *ids, int64_t rows,
                          zt_weight table, int32_t padding, zt_value **y);

/** h += rows of the table by index, in place. */
zt_status zt_op_embedding_add(zt_tape *tape, const int32_t *ids,
                              zt_weight table, zt_value *h);

/** y = w * x / sqrt(mean(x^2) + eps), row by row. */
zt_status zt_op_rms_norm(zt_tape *tape, zt_value *x, zt_weight w, double eps,
                         zt_value **y);

/** y = w * (x - mean(x)) / sqrt(var(x) + eps) + b, row by row. */
zt_status zt_op_layer_norm(zt_tape *tape, zt_value *x, zt_weight w, zt_weight b,
                           double eps, zt_value **y);

/** Rotary positions for `heads` heads in the first columns of x, in place: only
 *  for an x that nobody needs as it was, such as the result of zt_op_linear().
 *  \param[in] position, table  as in zt_rope; must stay */
zt_status zt_op_rope(zt_tape *tape, zt_value *x, int64_t heads,
                     int64_t head_dim, const int32_t *position,
                     const float *table);

/** y = x W^T + b, where the weight has a bias.  W is [cols of y, cols of x], or
 *  the other way round and y = x W. */
zt_status zt_op_linear(zt_tape *tape, zt_value *x, zt_weight w, zt_value **y);

/** y = h + drop(x W^T + b): the end of a residual branch. */
zt_status zt_op_linear_add(zt_tape *tape, zt_value *x, zt_weight w, zt_value *h,
                           zt_dropout dropout, zt_value **y);

/** y = drop(act(x)) or, gated, drop(act(x1) * x2) with x = [x1, x2]. */
zt_status zt_op_activation(zt_tape *tape, zt_value *x, zt_activation_kind kind,
                           bool gated, zt_dropout dropout, zt_value **y);

/** y = drop(x); y is x itself where nothing is dropped. */
zt_status zt_op_dropout(zt_tape *tape, zt_value *x, zt_dropout dropout,
                        zt_value **y);

/** T5's position bias as a vector over offsets, [heads, offsets] fp32.
 *  \param[in] bucket  [offsets], device; must stay */
zt_status zt_op_bias(zt_tape *tape, zt_weight table, const int32_t *bucket,
                     int64_t offsets, zt_value **bias);

/** What zt_op_attention() attends with; see zt_attention for the meaning. */
typedef struct zt_attend {
  int64_t samples, heads, kv_heads, head_dim, q_length, k_length;
  float scale;
  bool causal;
  int64_t window;
  const int32_t *k_first, *k_valid; /* device; must stay */
  zt_value *q, *k, *v; /* may be one value: each has its first column */
  int64_t q_column, k_column, v_column;
  zt_value *bias; /* NULL: none */
  zt_dropout dropout;
} zt_attend;

zt_status zt_op_attention(zt_tape *tape, const zt_attend *attend, zt_value **y);

/** Cross-entropy of softmax(scale * x W^T) against labels, summed over rows
 *  with a label, and what is added to it (zt_cross_entropy).  The logits are
 *  never whole.  While recording it computes all gradients at once: the loss is
 *  where backward starts, with 1. */
typedef struct zt_loss {
  double scale;
  const int32_t *labels;   /* [rows of x], device; negative: no label */
  float smoothing, z_loss; /* 0: no such term */
  double *sums; /* [2], device, added to: cross-entropy, and the terms */
} zt_loss;

zt_status zt_op_cross_entropy(zt_tape *tape, zt_value *x, zt_weight w,
                              const zt_loss *loss);

/** scale * x W^T for single rows of x; no record.
 *  \param[in]  rows    [count], device
 *  \param[out] logits  [count, rows of W], device */
zt_status zt_op_logits(zt_tape *tape, const zt_value *x, zt_weight w,
                       double scale, const int32_t *rows, int64_t count,
                       float *logits);

#endif
