/* SPDX-License-Identifier: BSD-3-Clause */
/* GPT-2.  Source: Radford et al. 2019; arithmetic as in Transformers. */
#include "base/json.h"
#include "model/blocks.h"
#include "model/family_config.h"

#include <inttypes.h>
#include <math.h>

/* Matrices are those of Conv1D: [in, out]. */
static const zt_param_row embedding[] = {
    {"wte.weight", ZT_DIM_VOCABULARY, ZT_DIM_MODEL, ZT_FILL_NORMAL, ZT_ALWAYS},
    {"wpe.weight", ZT_DIM_POSITIONS, ZT_DIM_MODEL, ZT_FILL_NORMAL, ZT_ALWAYS},
    {0}};

static const zt_param_row attention[] = {
    {"ln_1.weight", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ONES, ZT_ALWAYS},
    {"ln_1.bias", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ZEROS, ZT_ALWAYS},
    {"attn.c_attn.weight", ZT_DIM_MODEL, ZT_DIM_QKV, ZT_FILL_NORMAL, ZT_ALWAYS},
    {"attn.c_attn.bias", ZT_DIM_QKV, ZT_DIM_NONE, ZT_FILL_ZEROS, ZT_ALWAYS},
    {"attn.c_proj.weight", ZT_DIM_QUERY, ZT_DIM_MODEL, ZT_FILL_RESIDUAL,
     ZT_ALWAYS},
    {"attn.c_proj.bias", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ZEROS, ZT_ALWAYS},
    {0}};

static const zt_param_row feed_forward[] = {
    {"ln_2.weight", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ONES, ZT_ALWAYS},
    {"ln_2.bias", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ZEROS, ZT_ALWAYS},
    {"mlp.c_fc.weight", ZT_DIM_MODEL, ZT_DIM_FF, ZT_FILL_NORMAL, ZT_ALWAYS},
    {"mlp.c_fc.bias", ZT_DIM_FF, ZT_DIM_NONE, ZT_FILL_ZEROS, ZT_ALWAYS},
    {"mlp.c_proj.weight", ZT_DIM_FF, ZT_DIM_MODEL, ZT_FILL_RESIDUAL, ZT_ALWAYS},
    {"mlp.c_proj.bias", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ZEROS, ZT_ALWAYS},
    {0}};

static const zt_param_row norm[] = {
    {"ln_f.weight", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ONES, ZT_ALWAYS},
    {"ln_f.bias", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ZEROS, ZT_ALWAYS},
    {0}};

static const zt_decoder decoder = {.prefix = "transformer.",
                                   .layers = "h",
                                   .attention_name = "attn",
                                   .feed_forward_name = "mlp",
                                   .norm_name = "ln_f",
                                   .embedding = embedding,
                                   .attention = attention,
                                   .feed_forward = feed_forward,
                                   .norm = norm};

static zt_status gpt2_build(zt_model *model) {
  return zt_decoder_build(model, &decoder);
}

/* ---- Configuration ---- */

static zt_status read_attention(zt_model_shape *s, json_t *config,
                                const char *path) {
  bool scaled = true;
  ZT_TRY(zt_config_refuse(config, path, "add_cross_attention"));
  ZT_TRY(zt_json_bool(config, path, "scale_attn_weights", false, &scaled));
  if (s->d_model % s->heads != 0)
    return zt_fail(ZT_ERR_DATA,
                   "%s: n_embd %" PRId64
                   " is not a multiple of n_head %" PRId64,
                   path, s->d_model, s->heads);
  s->head_dim = s->d_model / s->heads;
  s->attention_scale = scaled ? 1 / sqrt((double) s->head_dim) : 1;
  return zt_json_bool(config, path, "scale_attn_by_inverse_layer_idx", false,
                      &s->scale_by_layer);
}

static zt_status gpt2_configure(zt_model *model, json_t *config,
                                const char *path) {
  zt_model_shape *s = &model->shape;
  const char *activation = "gelu_new";
  *s = (zt_model_shape){.norm = ZT_LAYER_NORM,
                        .norm_eps = 1e-5,
                        .init_factor = 0.02,
                        .dropout = 0.1,
                        .in_out = true,
                        .qkv_parts = 1,
                        .qkv_bias = true,
                        .out_bias = true,
                        .ff_bias = true,
                        .drop_all = true,
                        .embedding_frozen = -1};
  const zt_config_int integers[] = {
      {"vocab_size", true, 1, ZT_MOST_SIZE, &s->vocabulary},
      {"n_positions", true, 1, ZT_MOST_SIZE, &s->positions},
      {"n_embd", true, 1, ZT_MOST_SIZE / 4, &s->d_model},
      {"n_inner", false, 1, ZT_MOST_SIZE, &s->d_ff},
      {"n_layer", true, 1, 100000, &s->layers},
      {"n_head", true, 1, ZT_MOST_SIZE, &s->heads}};
  const zt_config_real reals[] = {{"layer_norm_epsilon", 1, &s->norm_eps},
                                  {"resid_pdrop", 1, &s->dropout},
                                  {"initializer_range", 1e6, &s->init_factor}};
  ZT_TRY(zt_config_ints(config, path, integers,
                        sizeof integers / sizeof *integers));
  ZT_TRY(zt_config_reals(config, path, reals, sizeof reals / sizeof *reals));
  ZT_TRY(
      zt_json_string(config, path, "activation_function", false, &activation));
  ZT_TRY(zt_config_activation(path, "activation_function", activation,
                              activation, &s->activation));
  s->kv_heads = s->heads;
  if (s->d_ff == 0)
    s->d_ff = 4 * s->d_model;
  ZT_TRY(read_attention(s, config, path));
  return zt_config_special_ids(s, config, path);
}

const zt_family zt_family_gpt2 = {
    .name = "gpt2",
    .model_types = (const char *const[]){"gpt2", NULL},
    .embedding = "transformer.wte.weight",
    .embedding_aliases = (const char *const[]){"wte.weight", NULL},
    .head = "lm_head.weight",
    .tied_by_default = true,
    /* Masks that old files keep. */
    .ignored = (const char *const[]){".attn.bias", ".attn.masked_bias", NULL},
    .configure = gpt2_configure,
    .build = gpt2_build,
    .prepare = zt_decoder_prepare,
    .forward = zt_decoder_forward,
};
