/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Blocks that families share.
 *
 *  Decoders differ in names, in where biases stand, in the norm and in how they
 *  know positions; the rest is one forward pass: blocks of attention and
 *  feed-forward, each behind a norm and added to the residual stream.  Such a
 *  family is a table of parameters, and a configuration that fills the second
 *  part of zt_model_shape.  All functions are Local. */
#ifndef ZT_MODEL_BLOCKS_H
#define ZT_MODEL_BLOCKS_H

#include "model/model.h"
#include "model/ops.h"
#include "model/pass.h"

/** Sizes of parameters, as the shape has them. */
typedef enum zt_dim {
  ZT_DIM_NONE, /* second dimension of a vector */
  ZT_DIM_VOCABULARY,
  ZT_DIM_POSITIONS,
  ZT_DIM_MODEL,
  ZT_DIM_FF,
  ZT_DIM_QUERY, /* heads x head_dim */
  ZT_DIM_KEY,   /* kv_heads x head_dim */
  ZT_DIM_QKV    /* a query, a key and a value */
} zt_dim;

/** How `ztconv init` fills a parameter; of the shape's init_factor f. */
typedef enum zt_fill {
  ZT_FILL_NORMAL,   /* N(0, f^2) */
  ZT_FILL_RESIDUAL, /* N(0, f^2 / (2 layers)) */
  ZT_FILL_ONES,
  ZT_FILL_ZEROS
} zt_fill;

/** Which models have a parameter. */
typedef enum zt_when {
  ZT_ALWAYS,
  ZT_WHEN_QKV_BIAS,
  ZT_WHEN_OUT_BIAS,
  ZT_WHEN_FF_BIAS
} zt_when;

/** A parameter.  Matrices take weight decay, vectors do not. */
typedef struct zt_param_row {
  const char *name; /* behind the prefix of its unit; NULL ends a list */
  zt_dim rows, cols;
  zt_fill fill;
  zt_when when;
} zt_param_row;

/** The table of a decoder, in canonical order.  Attention is norm (and its
 *  bias), queries, keys and values (one matrix or three), their biases, the
 *  output and its bias; feed-forward is norm, what goes in (gated: the gate
 *  first), its biases, the output and its bias. */
typedef struct zt_decoder {
  const char *prefix; /* of all names but the head's; files may leave it out */
  const char *layers; /* "layers": blocks are layers.0, layers.1, ... */
  const char *attention_name, *feed_forward_name; /* of units, if cut */
  const char *norm_name;                          /* of the last norm's unit */
  const zt_param_row *embedding;                  /* tokens, then positions */
  const zt_param_row *attention, *feed_forward, *norm;
} zt_decoder;

/** Parameters and stages of a decoder: zt_family.build. */
zt_status zt_decoder_build(zt_model *model, const zt_decoder *decoder);
/** zt_family.prepare and zt_family.forward of all decoders. */
zt_status zt_decoder_prepare(zt_pass *pass);
zt_status zt_decoder_forward(zt_pass *pass, const zt_stage *stage);

/** The parameter `*next` as a matrix, and with it the `neighbours` - 1 behind
 *  it, which have the same number of columns: a map onto all of them. */
zt_weight zt_block_take(const zt_pass *pass, int *next, int neighbours);
/** The last stage: loss or choice of tokens by scale * x W^T, where W is the
 *  parameter `next`. */
zt_status zt_block_head(zt_pass *pass, int next, double scale);

#endif
