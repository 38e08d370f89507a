/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/blocks.h"

#include "base/memory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EMBED, BLOCK, ATTENTION, FEED_FORWARD, FINAL_NORM, HEAD };
enum { ANGLES }; /* table of a pass */

/* ---- Parameters ---- */

static int64_t size_of(const zt_model_shape *s, zt_dim dim) {
  switch (dim) {
  case ZT_DIM_NONE:
    return 1;
  case ZT_DIM_VOCABULARY:
    return s->vocabulary;
  case ZT_DIM_POSITIONS:
    return s->positions;
  case ZT_DIM_MODEL:
    return s->d_model;
  case ZT_DIM_FF:
    return s->d_ff;
  case ZT_DIM_QUERY:
    return s->heads * s->head_dim;
  case ZT_DIM_KEY:
    return s->kv_heads * s->head_dim;
  case ZT_DIM_QKV:
    return (s->heads + 2 * s->kv_heads) * s->head_dim;
  }
  return 0;
}

static bool is_there(const zt_model_shape *s, const zt_param_row *row) {
  switch (row->when) {
  case ZT_WHEN_QKV_BIAS:
    return s->qkv_bias;
  case ZT_WHEN_OUT_BIAS:
    return s->out_bias;
  case ZT_WHEN_FF_BIAS:
    return s->ff_bias;
  case ZT_ALWAYS:
    break;
  }
  return true;
}

static zt_init init_of(const zt_model_shape *s, zt_fill fill) {
  switch (fill) {
  case ZT_FILL_NORMAL:
    return (zt_init){.std = s->init_factor};
  case ZT_FILL_RESIDUAL:
    return (zt_init){.std = s->init_factor / sqrt(2 * (double) s->layers)};
  case ZT_FILL_ONES:
    return (zt_init){.value = 1};
  case ZT_FILL_ZEROS:
    break;
  }
  return (zt_init){0};
}

static int64_t count_rows(const zt_model_shape *s, const zt_param_row *rows) {
  int64_t numel = 0;
  for (const zt_param_row *row = rows; row->name; row++)
    if (is_there(s, row))
      numel += size_of(s, row->rows) * size_of(s, row->cols);
  return numel;
}

/* `in` is where the rows are, "layers.3." or "".  Files may hold the names with
 * the prefix or without. */
static zt_status add_rows(zt_model *model, const zt_decoder *d, const char *in,
                          const zt_param_row *rows) {
  const zt_model_shape *s = &model->shape;
  char name[256];
  for (const zt_param_row *row = rows; row->name; row++) {
    const int64_t dims[] = {size_of(s, row->rows), size_of(s, row->cols)};
    bool matrix = row->cols != ZT_DIM_NONE;
    int index;
    if (!is_there(s, row))
      continue;
    snprintf(name, sizeof name, "%s%s%s", d->prefix, in, row->name);
    ZT_TRY(zt_params_add(&model->params, name, matrix ? 2 : 1, dims, matrix,
                         init_of(s, row->fill), &index));
    ZT_TRY(
        zt_params_add_alias(&model->params, name + strlen(d->prefix), index));
  }
  return ZT_OK;
}

/* ---- Units and stages ---- */

/* A stage of its own unit, which begins here. */
static zt_status begin_stage(zt_model *model, const zt_decoder *d,
                             const char *unit, int kind, int layer) {
  char name[256];
  zt_stage stage = {
      .kind = kind, .layer = layer, .unit = model->params.n_units};
  snprintf(name, sizeof name, "%s%s", d->prefix, unit);
  ZT_TRY(zt_params_begin_unit(&model->params, name));
  return zt_model_add_stage(model, stage);
}

/* A block is one unit, or one for each half where that would be too large. */
static zt_status add_block(zt_model *model, const zt_decoder *d, int layer) {
  const zt_model_shape *s = &model->shape;
  char block[64], unit[128], in[80];
  int64_t numel = count_rows(s, d->attention) + count_rows(s, d->feed_forward);
  bool whole = model->unit_limit == 0 || numel <= model->unit_limit;
  snprintf(block, sizeof block, "%s.%d", d->layers, layer);
  snprintf(in, sizeof in, "%s.", block);
  snprintf(unit, sizeof unit, "%s.%s", block, d->attention_name);
  ZT_TRY(begin_stage(model, d, whole ? block : unit, whole ? BLOCK : ATTENTION,
                     layer));
  ZT_TRY(add_rows(model, d, in, d->attention));
  snprintf(unit, sizeof unit, "%s.%s", block, d->feed_forward_name);
  if (!whole)
    ZT_TRY(begin_stage(model, d, unit, FEED_FORWARD, layer));
  return add_rows(model, d, in, d->feed_forward);
}

static zt_status add_head(zt_model *model) {
  const zt_model_shape *s = &model->shape;
  const char *name = model->family->head;
  zt_stage head = {.kind = HEAD};
  if (s->tied) {
    ZT_TRY(zt_params_add_alias(&model->params, name, 0));
    return zt_model_add_stage(model, head);
  }
  head.unit = model->params.n_units;
  ZT_TRY(zt_params_begin_unit(&model->params, "lm_head"));
  ZT_TRY(zt_params_add(&model->params, name, 2,
                       (int64_t[]){s->vocabulary, s->d_model}, true,
                       init_of(s, ZT_FILL_NORMAL), NULL));
  return zt_model_add_stage(model, head);
}

zt_status zt_decoder_build(zt_model *model, const zt_decoder *d) {
  ZT_TRY(begin_stage(model, d, "embedding", EMBED, 0));
  ZT_TRY(add_rows(model, d, "", d->embedding));
  for (int i = 0; i < model->shape.layers; i++)
    ZT_TRY(add_block(model, d, i));
  ZT_TRY(begin_stage(model, d, d->norm_name, FINAL_NORM, 0));
  ZT_TRY(add_rows(model, d, "", d->norm));
  return add_head(model);
}

/* ---- Forward ---- */

zt_weight zt_block_take(const zt_pass *pass, int *next, int neighbours) {
  const zt_param *p = &pass->model->params.list[*next];
  zt_weight w = {
      .at = p->at, .vector = p->vector, .cols = p->ndim == 2 ? p->dims[1] : 1};
  for (int i = 0; i < neighbours; i++)
    w.rows += p[i].dims[0];
  *next += neighbours;
  return w;
}

/* A linear map of `neighbours` matrices, and as many biases behind them. */
static zt_weight take_map(const zt_pass *pass, int *next, int neighbours,
                          bool biased) {
  zt_weight w = zt_block_take(pass, next, neighbours);
  w.in_out = pass->model->shape.in_out;
  w.biased = biased;
  if (biased)
    w.bias = zt_block_take(pass, next, neighbours).at;
  return w;
}

static zt_status norm(zt_pass *pass, int *next, zt_value *x, zt_value **y) {
  const zt_model_shape *s = &pass->model->shape;
  zt_weight w = zt_block_take(pass, next, 1);
  if (s->norm == ZT_RMS_NORM)
    return zt_op_rms_norm(&pass->tape, x, w, s->norm_eps, y);
  zt_weight b = zt_block_take(pass, next, 1);
  return zt_op_layer_norm(&pass->tape, x, w, b, s->norm_eps, y);
}

/* Dropout sites are numbered in forward order: 8 to a block, as in T5. */
enum { SITE_EMBED, SITES_PER_BLOCK = 8 };
enum { SITE_PROBS, SITE_ATTENTION, SITE_FF };

static zt_dropout dropout_at(const zt_pass *pass, uint32_t site) {
  return zt_tape_dropout(&pass->tape, site, pass->shape.target_length);
}

/* Dropout that only some decoders have. */
static zt_dropout dropout_of_all(const zt_pass *pass, uint32_t site) {
  zt_dropout dropout = dropout_at(pass, site);
  if (!pass->model->shape.drop_all)
    dropout.rate = 0;
  return dropout;
}

static uint32_t site_of(const zt_stage *stage, uint32_t which) {
  return (uint32_t) (stage->layer + 1) * SITES_PER_BLOCK + which;
}

static zt_status embed(zt_pass *pass, int next) {
  const zt_model_shape *s = &pass->model->shape;
  zt_tape *t = &pass->tape;
  zt_weight tokens = zt_block_take(pass, &next, 1);
  zt_value *h;
  ZT_TRY(zt_op_embedding(t, pass->target, zt_pass_rows(pass, false), tokens,
                         s->embedding_frozen, &h));
  if (s->positions > 0)
    ZT_TRY(zt_op_embedding_add(t, pass->position, zt_block_take(pass, &next, 1),
                               h));
  return zt_op_dropout(t, h, dropout_of_all(pass, SITE_EMBED),
                       &pass->slot[ZT_SLOT_TARGET]);
}

/* Queries, keys and values stand side by side in x. */
static zt_status attend(zt_pass *pass, const zt_stage *stage, zt_value *x,
                        zt_value **y) {
  const zt_model_shape *s = &pass->model->shape;
  zt_tape *t = &pass->tape;
  int64_t length = pass->shape.target_length;
  double scale = s->attention_scale;
  if (s->rotary.kind != ZT_ROTARY_NONE)
    ZT_TRY(zt_op_rope(t, x, s->heads + s->kv_heads, s->head_dim, pass->position,
                      pass->table[ANGLES]));
  if (s->scale_by_layer)
    scale /= stage->layer + 1;
  zt_attend attend = {.samples = pass->shape.samples,
                      .heads = s->heads,
                      .kv_heads = s->kv_heads,
                      .head_dim = s->head_dim,
                      .q_length = length,
                      .k_length = length,
                      .scale = (float) scale,
                      .causal = true,
                      .window = stage->layer >= s->window_from ? s->window : 0,
                      .k_first = pass->first,
                      .q = x,
                      .k = x,
                      .v = x,
                      .k_column = s->heads * s->head_dim,
                      .v_column = (s->heads + s->kv_heads) * s->head_dim,
                      .dropout = dropout_at(pass, site_of(stage, SITE_PROBS))};
  return zt_cache_attend(pass, ZT_ATTEND_TARGET, stage->layer, &attend, y);
}

static zt_status attention(zt_pass *pass, const zt_stage *stage, int *next,
                           zt_value **h) {
  const zt_model_shape *s = &pass->model->shape;
  zt_tape *t = &pass->tape;
  zt_value *n, *x, *y;
  ZT_TRY(zt_tape_scope_begin(t));
  ZT_TRY(norm(pass, next, *h, &n));
  ZT_TRY(
      zt_op_linear(t, n, take_map(pass, next, s->qkv_parts, s->qkv_bias), &x));
  ZT_TRY(attend(pass, stage, x, &y));
  ZT_TRY(zt_op_linear_add(t, y, take_map(pass, next, 1, s->out_bias), *h,
                          dropout_of_all(pass, site_of(stage, SITE_ATTENTION)),
                          h));
  return zt_tape_scope_end(t);
}

static zt_status feed_forward(zt_pass *pass, const zt_stage *stage, int *next,
                              zt_value **h) {
  const zt_model_shape *s = &pass->model->shape;
  zt_tape *t = &pass->tape;
  zt_value *n, *x, *a;
  ZT_TRY(zt_tape_scope_begin(t));
  ZT_TRY(norm(pass, next, *h, &n));
  ZT_TRY(zt_op_linear(t, n, take_map(pass, next, s->gated ? 2 : 1, s->ff_bias),
                      &x));
  ZT_TRY(zt_op_activation(t, x, s->activation, s->gated,
                          (zt_dropout){.rate = 0}, &a));
  ZT_TRY(zt_op_linear_add(t, a, take_map(pass, next, 1, s->ff_bias), *h,
                          dropout_of_all(pass, site_of(stage, SITE_FF)), h));
  return zt_tape_scope_end(t);
}

zt_status zt_block_head(zt_pass *pass, int next, double scale) {
  zt_weight w = zt_block_take(pass, &next, 1);
  zt_value *h = pass->slot[ZT_SLOT_TARGET];
  if (pass->cache)
    return zt_cache_head(pass, h, w, scale);
  return zt_op_cross_entropy(
      &pass->tape, h, w,
      &(zt_loss){.scale = scale,
                 .labels = pass->labels,
                 .smoothing = (float) pass->shape.label_smoothing,
                 .z_loss = (float) pass->shape.z_loss,
                 .sums = pass->loss});
}

zt_status zt_decoder_prepare(zt_pass *pass) {
  const zt_model_shape *s = &pass->model->shape;
  int64_t n = pass->shape.target_length * s->head_dim;
  if (s->rotary.kind == ZT_ROTARY_NONE)
    return ZT_OK;
  float *angles = zt_calloc((size_t) n, sizeof *angles);
  if (!angles)
    return ZT_ERR_MEMORY;
  zt_rotary_fill(&s->rotary, s->head_dim, pass->shape.target_length, angles);
  zt_status status =
      zt_pass_add_table(pass, ANGLES, angles, (size_t) n * sizeof *angles);
  free(angles);
  return status;
}

zt_status zt_decoder_forward(zt_pass *pass, const zt_stage *stage) {
  zt_value **h = &pass->slot[ZT_SLOT_TARGET];
  int next = pass->model->params.units[stage->unit].first;
  switch (stage->kind) {
  case EMBED:
    return embed(pass, next);
  case BLOCK:
    ZT_TRY(attention(pass, stage, &next, h));
    return feed_forward(pass, stage, &next, h);
  case ATTENTION:
    return attention(pass, stage, &next, h);
  case FEED_FORWARD:
    return feed_forward(pass, stage, &next, h);
  case FINAL_NORM:
    return norm(pass, &next, *h, h);
  default:
    return zt_block_head(pass, next, 1);
  }
}
