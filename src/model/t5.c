/* SPDX-License-Identifier: BSD-3-Clause */
/* T5 and its kin: T5 v1.0 and v1.1, Flan-T5, ByT5, mT5, UL2.
 * Source: Raffel et al. 2020; arithmetic as in Hugging Face Transformers. */
#include "model/t5.h"

#include "base/json.h"
#include "base/memory.h"
#include "model/blocks.h"
#include "model/family_config.h"
#include "model/ops.h"
#include "model/pass.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENCODER, DECODER };
enum { EMBED, BLOCK, SELF, CROSS, FEED_FORWARD, FINAL_NORM, HEAD };
enum { ENCODER_BUCKETS, DECODER_BUCKETS }; /* tables of a pass */

static const char *const stack_names[] = {"encoder", "decoder"};

/* ---- Configuration ---- */

/* "relu", "gated-gelu" and the like; "gated-gelu" alone means the tanh form. */
static zt_status read_activation(zt_model_shape *shape, json_t *config,
                                 const char *path, const char *text) {
  ZT_TRY(zt_json_string(config, path, "feed_forward_proj", false, &text));
  shape->gated = !strncmp(text, "gated-", 6);
  const char *name = shape->gated ? text + 6 : text;
  if (!strcmp(text, "gated-gelu"))
    name = "gelu_new";
  return zt_config_activation(path, "feed_forward_proj", text, name,
                              &shape->activation);
}

/* Transformers 5 writes scale_decoder_outputs, and then always calls the
 * embeddings tied; before, tied meant scaled.  mT5 never scales. */
static zt_status read_scaling(zt_model_shape *shape, json_t *config,
                              const char *path, bool mt5) {
  shape->scale_logits = false;
  if (mt5)
    return ZT_OK;
  ZT_TRY(zt_config_tied(config, path, &shape->scale_logits));
  return zt_json_bool(config, path, "scale_decoder_outputs", false,
                      &shape->scale_logits);
}

static zt_status check_sizes(const zt_model_shape *s, const char *path) {
  if (s->pad_id >= s->vocabulary || s->eos_id >= s->vocabulary ||
      s->start_id >= s->vocabulary)
    return zt_fail(ZT_ERR_DATA,
                   "%s: pad, eos or start token is beyond vocab_size %" PRId64,
                   path, s->vocabulary);
  if (s->max_distance <= s->buckets / 2)
    return zt_fail(ZT_ERR_DATA,
                   "%s: relative_attention_max_distance %" PRId64
                   " must exceed half of the %" PRId64 " buckets",
                   path, s->max_distance, s->buckets);
  if (s->heads * s->head_dim > ZT_MOST_SIZE)
    return zt_fail(ZT_ERR_DATA, "%s: num_heads x d_kv is beyond %d", path,
                   ZT_MOST_SIZE);
  return ZT_OK;
}

static zt_status t5_configure(zt_model *model, json_t *config,
                              const char *path) {
  zt_model_shape *s = &model->shape;
  bool mt5 = !strcmp(model->model_type, "mt5");
  *s = (zt_model_shape){.buckets = 32,
                        .max_distance = 128,
                        .norm_eps = 1e-6,
                        .init_factor = 1,
                        .dropout = 0.1,
                        .pad_id = 0,
                        .eos_id = 1,
                        .start_id = -1};
  const zt_config_int integers[] = {
      {"vocab_size", true, 1, ZT_MOST_SIZE, &s->vocabulary},
      {"d_model", true, 1, ZT_MOST_SIZE, &s->d_model},
      {"d_kv", true, 1, ZT_MOST_SIZE, &s->head_dim},
      {"d_ff", true, 1, ZT_MOST_SIZE, &s->d_ff},
      {"num_heads", true, 1, ZT_MOST_SIZE, &s->heads},
      {"num_layers", true, 1, 100000, &s->encoder_layers},
      {"num_decoder_layers", false, 1, 100000, &s->layers},
      {"relative_attention_num_buckets", false, 4, ZT_MOST_SIZE, &s->buckets},
      {"relative_attention_max_distance", false, 1, ZT_MOST_SIZE,
       &s->max_distance},
      {"pad_token_id", false, 0, ZT_MOST_SIZE, &s->pad_id},
      {"eos_token_id", false, 0, ZT_MOST_SIZE, &s->eos_id},
      {"decoder_start_token_id", false, 0, ZT_MOST_SIZE, &s->start_id},
  };
  const zt_config_real reals[] = {{"layer_norm_epsilon", 1, &s->norm_eps},
                                  {"dropout_rate", 1, &s->dropout},
                                  {"initializer_factor", 1e6, &s->init_factor}};
  ZT_TRY(zt_config_ints(config, path, integers,
                        sizeof integers / sizeof *integers));
  if (s->layers == 0)
    s->layers = s->encoder_layers;
  if (s->start_id < 0)
    s->start_id = s->pad_id;
  s->kv_heads = s->heads;
  s->stop_ids[0] = (int32_t) s->eos_id;
  s->n_stop_ids = 1;
  ZT_TRY(check_sizes(s, path));
  ZT_TRY(zt_config_reals(config, path, reals, sizeof reals / sizeof *reals));
  ZT_TRY(zt_config_refuse(config, path, "tie_encoder_decoder"));
  ZT_TRY(read_activation(s, config, path, mt5 ? "gated-gelu" : "relu"));
  return read_scaling(s, config, path, mt5);
}

/* ---- Parameters and stages ---- */

static zt_status add(zt_model *model, const char *prefix, const char *name,
                     int64_t rows, int64_t cols, bool decay, zt_init init) {
  char full[256];
  snprintf(full, sizeof full, "%s.%s", prefix, name);
  return zt_params_add(&model->params, full, cols ? 2 : 1,
                       (int64_t[]){rows, cols}, decay, init, NULL);
}

static zt_status add_norm(zt_model *model, const char *prefix,
                          const char *name) {
  return add(model, prefix, name, model->shape.d_model, 0, false,
             (zt_init){.value = model->shape.init_factor});
}

static zt_status add_attention(zt_model *model, const char *prefix,
                               const char *name, bool bias) {
  const zt_model_shape *s = &model->shape;
  double f = s->init_factor, d = (double) s->d_model;
  int64_t inner = s->heads * s->head_dim;
  zt_init q = {.std = f / sqrt(d * (double) s->head_dim)};
  zt_init kv = {.std = f / sqrt(d)};
  zt_init o = {.std = f / sqrt((double) inner)};
  char path[160];
  snprintf(path, sizeof path, "%s.%s", prefix, name);
  ZT_TRY(add(model, path, "q.weight", inner, s->d_model, true, q));
  ZT_TRY(add(model, path, "k.weight", inner, s->d_model, true, kv));
  ZT_TRY(add(model, path, "v.weight", inner, s->d_model, true, kv));
  ZT_TRY(add(model, path, "o.weight", s->d_model, inner, true, o));
  /* Hugging Face's rule for no decay matches "bias", this one too. */
  if (bias)
    ZT_TRY(add(model, path, "relative_attention_bias.weight", s->buckets,
               s->heads, false, kv));
  return add_norm(model, prefix, "layer_norm.weight");
}

static zt_status add_feed_forward(zt_model *model, const char *prefix) {
  const zt_model_shape *s = &model->shape;
  zt_init in = {.std = s->init_factor / sqrt((double) s->d_model)};
  zt_init out = {.std = s->init_factor / sqrt((double) s->d_ff)};
  char path[160];
  snprintf(path, sizeof path, "%s.DenseReluDense", prefix);
  if (s->gated) {
    ZT_TRY(add(model, path, "wi_0.weight", s->d_ff, s->d_model, true, in));
    ZT_TRY(add(model, path, "wi_1.weight", s->d_ff, s->d_model, true, in));
  } else {
    ZT_TRY(add(model, path, "wi.weight", s->d_ff, s->d_model, true, in));
  }
  ZT_TRY(add(model, path, "wo.weight", s->d_model, s->d_ff, true, out));
  return add_norm(model, prefix, "layer_norm.weight");
}

static zt_status add_sublayer(zt_model *model, const char *prefix, int kind,
                              bool bias) {
  if (kind == SELF)
    return add_attention(model, prefix, "SelfAttention", bias);
  if (kind == CROSS)
    return add_attention(model, prefix, "EncDecAttention", false);
  return add_feed_forward(model, prefix);
}

/* Elements of a block, to see whether it has to be cut at its sublayers. */
static int64_t block_numel(const zt_model_shape *s, int stack, bool bias) {
  int64_t attention = 4 * s->heads * s->head_dim * s->d_model + s->d_model;
  int64_t forward = (s->gated ? 3 : 2) * s->d_ff * s->d_model + s->d_model;
  return (stack == DECODER ? 2 : 1) * attention + forward +
         (bias ? s->buckets * s->heads : 0);
}

static zt_status add_block(zt_model *model, int stack, int layer) {
  static const int kinds[][3] = {{SELF, FEED_FORWARD, -1},
                                 {SELF, CROSS, FEED_FORWARD}};
  char block[64], prefix[96];
  snprintf(block, sizeof block, "%s.block.%d", stack_names[stack], layer);
  bool whole =
      model->unit_limit == 0 ||
      block_numel(&model->shape, stack, layer == 0) <= model->unit_limit;
  zt_stage stage = {.kind = BLOCK,
                    .stack = stack,
                    .layer = layer,
                    .source = stack == ENCODER};
  if (whole) {
    stage.unit = model->params.n_units;
    ZT_TRY(zt_params_begin_unit(&model->params, block));
    ZT_TRY(zt_model_add_stage(model, stage));
  }
  for (int i = 0; i < 3 && kinds[stack][i] >= 0; i++) {
    snprintf(prefix, sizeof prefix, "%s.layer.%d", block, i);
    if (!whole) {
      stage.kind = kinds[stack][i];
      stage.unit = model->params.n_units;
      ZT_TRY(zt_params_begin_unit(&model->params, prefix));
      ZT_TRY(zt_model_add_stage(model, stage));
    }
    ZT_TRY(add_sublayer(model, prefix, kinds[stack][i], layer == 0));
  }
  return ZT_OK;
}

static zt_status add_stack(zt_model *model, int stack, int64_t layers) {
  for (int i = 0; i < layers; i++)
    ZT_TRY(add_block(model, stack, i));
  char name[64];
  snprintf(name, sizeof name, "%s.final_layer_norm", stack_names[stack]);
  zt_stage stage = {.kind = FINAL_NORM,
                    .stack = stack,
                    .unit = model->params.n_units,
                    .source = stack == ENCODER};
  ZT_TRY(zt_params_begin_unit(&model->params, name));
  ZT_TRY(add_norm(model, name, "weight"));
  return zt_model_add_stage(model, stage);
}

static zt_status t5_build(zt_model *model) {
  const zt_model_shape *s = &model->shape;
  const int64_t table[] = {s->vocabulary, s->d_model};
  const zt_init init = {.std = s->init_factor};
  ZT_TRY(zt_params_begin_unit(&model->params, "shared"));
  ZT_TRY(zt_params_add(&model->params, "shared.weight", 2, table, true, init,
                       NULL));
  ZT_TRY(zt_model_add_stage(model, (zt_stage){.kind = EMBED}));
  ZT_TRY(add_stack(model, ENCODER, s->encoder_layers));
  ZT_TRY(add_stack(model, DECODER, s->layers));
  zt_stage head = {.kind = HEAD};
  if (s->tied) {
    ZT_TRY(zt_params_add_alias(&model->params, "lm_head.weight", 0));
  } else {
    head.unit = model->params.n_units;
    ZT_TRY(zt_params_begin_unit(&model->params, "lm_head"));
    ZT_TRY(zt_params_add(&model->params, "lm_head.weight", 2, table, true, init,
                         NULL));
  }
  ZT_TRY(zt_model_add_stage(model, head));
  ZT_TRY(zt_params_add_alias(&model->params, "encoder.embed_tokens.weight", 0));
  return zt_params_add_alias(&model->params, "decoder.embed_tokens.weight", 0);
}

/* ---- Position buckets ---- */

int64_t zt_t5_bucket(int64_t offset, bool bidirectional, int64_t buckets,
                     int64_t max_distance) {
  int64_t base = 0, distance;
  if (bidirectional) {
    buckets /= 2;
    base = offset > 0 ? buckets : 0;
    distance = offset < 0 ? -offset : offset;
  } else {
    distance = offset < 0 ? -offset : 0;
  }
  int64_t exact = buckets / 2;
  if (distance < exact)
    return base + distance;
  float steps = logf((float) distance / (float) exact) /
                logf((float) max_distance / (float) exact) *
                (float) (buckets - exact);
  int64_t far = exact + (int64_t) steps;
  return base + (far < buckets - 1 ? far : buckets - 1);
}

static zt_status t5_prepare(zt_pass *pass) {
  const zt_model_shape *s = &pass->model->shape;
  for (int stack = ENCODER; stack <= DECODER; stack++) {
    int64_t length = stack == ENCODER ? pass->shape.source_length
                                      : pass->shape.target_length;
    int32_t *bucket = zt_calloc((size_t) (2 * length), sizeof *bucket);
    if (!bucket)
      return ZT_ERR_MEMORY;
    for (int64_t i = 0; i < 2 * length - 1; i++)
      bucket[i] = (int32_t) zt_t5_bucket(i - (length - 1), stack == ENCODER,
                                         s->buckets, s->max_distance);
    zt_status status = zt_pass_add_table(
        pass, stack == ENCODER ? ENCODER_BUCKETS : DECODER_BUCKETS, bucket,
        (size_t) (2 * length - 1) * sizeof *bucket);
    free(bucket);
    ZT_TRY(status);
  }
  return ZT_OK;
}

/* ---- Forward ---- */

/* Dropout sites are numbered in forward order: 8 to a block. */
enum {
  SITE_SELF_PROBS,
  SITE_SELF,
  SITE_CROSS_PROBS,
  SITE_CROSS,
  SITE_FF_INNER,
  SITE_FF,
  SITES_PER_BLOCK = 8
};
enum { SITE_EMBED, SITE_FINAL };

static uint32_t site_of_block(const zt_pass *pass, const zt_stage *stage,
                              uint32_t which) {
  int64_t block = stage->layer;
  if (stage->stack == DECODER)
    block += pass->model->shape.encoder_layers;
  return (uint32_t) (block + 1) * SITES_PER_BLOCK + which;
}

static uint32_t site_of_stack(int stack, uint32_t which) {
  return (uint32_t) (2 * stack) + which;
}

static int64_t length_of(const zt_pass *pass, int stack) {
  return stack == ENCODER ? pass->shape.source_length
                          : pass->shape.target_length;
}

static zt_status embed(zt_pass *pass, int next) {
  zt_tape *t = &pass->tape;
  zt_weight table = zt_block_take(pass, &next, 1);
  for (int stack = ENCODER; stack <= DECODER; stack++) {
    int64_t length = length_of(pass, stack);
    int64_t rows = zt_pass_rows(pass, stack == ENCODER);
    zt_value *h;
    if (rows == 0) /* a step of generation without a new source */
      continue;
    ZT_TRY(zt_op_embedding(t, stack == ENCODER ? pass->source : pass->target,
                           rows, table, -1, &h));
    ZT_TRY(zt_op_dropout(
        t, h, zt_tape_dropout(t, site_of_stack(stack, SITE_EMBED), length),
        &pass->slot[stack == ENCODER ? ZT_SLOT_SOURCE : ZT_SLOT_TARGET]));
  }
  return ZT_OK;
}

/* Self-attention; in the first layer it also makes the bias of its stack. */
static zt_status self_attention(zt_pass *pass, const zt_stage *stage, int *next,
                                zt_value **h) {
  const zt_model_shape *s = &pass->model->shape;
  zt_tape *t = &pass->tape;
  bool causal = stage->stack == DECODER;
  int64_t length = length_of(pass, stage->stack),
          inner = s->heads * s->head_dim;
  int slot = causal ? ZT_SLOT_BIAS_OUT : ZT_SLOT_BIAS_IN;
  zt_weight qkv = zt_block_take(pass, next, 3),
            o = zt_block_take(pass, next, 1);
  if (stage->layer == 0)
    ZT_TRY(zt_op_bias(t, zt_block_take(pass, next, 1),
                      pass->table[causal ? DECODER_BUCKETS : ENCODER_BUCKETS],
                      2 * length - 1, &pass->slot[slot]));
  zt_weight norm = zt_block_take(pass, next, 1);
  zt_value *n, *x, *y;
  ZT_TRY(zt_tape_scope_begin(t));
  ZT_TRY(zt_op_rms_norm(t, *h, norm, s->norm_eps, &n));
  ZT_TRY(zt_op_linear(t, n, qkv, &x));
  zt_attend attend = {
      .samples = pass->shape.samples,
      .heads = s->heads,
      .kv_heads = s->heads,
      .head_dim = s->head_dim,
      .q_length = length,
      .k_length = length,
      .scale = 1,
      .causal = causal,
      .k_valid = causal ? NULL : pass->source_valid,
      .q = x,
      .k = x,
      .v = x,
      .k_column = inner,
      .v_column = 2 * inner,
      .bias = pass->slot[slot],
      .dropout = zt_tape_dropout(t, site_of_block(pass, stage, SITE_SELF_PROBS),
                                 length)};
  ZT_TRY(zt_cache_attend(pass, causal ? ZT_ATTEND_TARGET : ZT_ATTEND_SOURCE,
                         stage->layer, &attend, &y));
  ZT_TRY(zt_op_linear_add(
      t, y, o, *h,
      zt_tape_dropout(t, site_of_block(pass, stage, SITE_SELF), length), h));
  return zt_tape_scope_end(t);
}

static zt_status cross_attention(zt_pass *pass, const zt_stage *stage,
                                 int *next, zt_value **h) {
  const zt_model_shape *s = &pass->model->shape;
  zt_tape *t = &pass->tape;
  int64_t inner = s->heads * s->head_dim;
  zt_weight q = zt_block_take(pass, next, 1), kv = zt_block_take(pass, next, 2);
  zt_weight o = zt_block_take(pass, next, 1),
            norm = zt_block_take(pass, next, 1);
  zt_value *n, *query, *memory = NULL, *y;
  ZT_TRY(zt_tape_scope_begin(t));
  ZT_TRY(zt_op_rms_norm(t, *h, norm, s->norm_eps, &n));
  ZT_TRY(zt_op_linear(t, n, q, &query));
  if (pass->slot[ZT_SLOT_MEMORY]) /* else the cache has its keys already */
    ZT_TRY(zt_op_linear(t, pass->slot[ZT_SLOT_MEMORY], kv, &memory));
  zt_attend attend = {.samples = pass->shape.samples,
                      .heads = s->heads,
                      .kv_heads = s->heads,
                      .head_dim = s->head_dim,
                      .q_length = pass->shape.target_length,
                      .k_length = pass->shape.source_length,
                      .scale = 1,
                      .k_valid = pass->source_valid,
                      .q = query,
                      .k = memory,
                      .v = memory,
                      .v_column = inner,
                      .dropout = zt_tape_dropout(
                          t, site_of_block(pass, stage, SITE_CROSS_PROBS),
                          pass->shape.target_length)};
  ZT_TRY(zt_cache_attend(pass, ZT_ATTEND_CROSS, stage->layer, &attend, &y));
  ZT_TRY(zt_op_linear_add(
      t, y, o, *h,
      zt_tape_dropout(t, site_of_block(pass, stage, SITE_CROSS),
                      pass->shape.target_length),
      h));
  return zt_tape_scope_end(t);
}

static zt_status feed_forward(zt_pass *pass, const zt_stage *stage, int *next,
                              zt_value **h) {
  const zt_model_shape *s = &pass->model->shape;
  zt_tape *t = &pass->tape;
  int64_t length = length_of(pass, stage->stack);
  zt_weight wi = zt_block_take(pass, next, s->gated ? 2 : 1);
  zt_weight wo = zt_block_take(pass, next, 1),
            norm = zt_block_take(pass, next, 1);
  zt_value *n, *x, *a;
  ZT_TRY(zt_tape_scope_begin(t));
  ZT_TRY(zt_op_rms_norm(t, *h, norm, s->norm_eps, &n));
  ZT_TRY(zt_op_linear(t, n, wi, &x));
  ZT_TRY(zt_op_activation(
      t, x, s->activation, s->gated,
      zt_tape_dropout(t, site_of_block(pass, stage, SITE_FF_INNER), length),
      &a));
  ZT_TRY(zt_op_linear_add(
      t, a, wo, *h,
      zt_tape_dropout(t, site_of_block(pass, stage, SITE_FF), length), h));
  return zt_tape_scope_end(t);
}

static zt_status block(zt_pass *pass, const zt_stage *stage, int next) {
  zt_value **h =
      &pass->slot[stage->stack == ENCODER ? ZT_SLOT_SOURCE : ZT_SLOT_TARGET];
  bool whole = stage->kind == BLOCK;
  if (whole || stage->kind == SELF)
    ZT_TRY(self_attention(pass, stage, &next, h));
  if ((whole && stage->stack == DECODER) || stage->kind == CROSS)
    ZT_TRY(cross_attention(pass, stage, &next, h));
  if (whole || stage->kind == FEED_FORWARD)
    ZT_TRY(feed_forward(pass, stage, &next, h));
  return ZT_OK;
}

static zt_status final_norm(zt_pass *pass, int stack, int next) {
  zt_tape *t = &pass->tape;
  zt_value *y;
  int in = stack == ENCODER ? ZT_SLOT_SOURCE : ZT_SLOT_TARGET;
  int out = stack == ENCODER ? ZT_SLOT_MEMORY : ZT_SLOT_TARGET;
  ZT_TRY(zt_op_rms_norm(t, pass->slot[in], zt_block_take(pass, &next, 1),
                        pass->model->shape.norm_eps, &y));
  return zt_op_dropout(t, y,
                       zt_tape_dropout(t, site_of_stack(stack, SITE_FINAL),
                                       length_of(pass, stack)),
                       &pass->slot[out]);
}

static zt_status head(zt_pass *pass, int next) {
  const zt_model_shape *s = &pass->model->shape;
  return zt_block_head(pass, next,
                       s->scale_logits ? 1 / sqrt((double) s->d_model) : 1);
}

static zt_status t5_forward(zt_pass *pass, const zt_stage *stage) {
  int first = pass->model->params.units[stage->unit].first;
  switch (stage->kind) {
  case EMBED:
    return embed(pass, first);
  case FINAL_NORM:
    return final_norm(pass, stage->stack, first);
  case HEAD:
    return head(pass, first);
  default:
    return block(pass, stage, first);
  }
}

const zt_family zt_family_t5 = {
    .name = "t5",
    .model_types = (const char *const[]){"t5", "mt5", NULL},
    .embedding = "shared.weight",
    .embedding_aliases =
        (const char *const[]){"encoder.embed_tokens.weight",
                              "decoder.embed_tokens.weight", NULL},
    .head = "lm_head.weight",
    .ignored = (const char *const[]){"decoder.block.0.layer.1.EncDecAttention."
                                     "relative_attention_bias.weight",
                                     NULL},
    .encoder = true,
    .tied_by_default = true,
    .tied_by_absence = true,
    .configure = t5_configure,
    .build = t5_build,
    .prepare = t5_prepare,
    .forward = t5_forward,
};
