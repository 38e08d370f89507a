/* SPDX-License-Identifier: BSD-3-Clause */
/* Llama and its kin: Llama 1 to 3, SmolLM, Mistral, Qwen2.
 * Source: Touvron et al. 2023; arithmetic as in Transformers. */
#include "base/json.h"
#include "model/blocks.h"
#include "model/family_config.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const zt_param_row embedding[] = {{"embed_tokens.weight",
                                          ZT_DIM_VOCABULARY, ZT_DIM_MODEL,
                                          ZT_FILL_NORMAL, ZT_ALWAYS},
                                         {0}};

static const zt_param_row attention[] = {
    {"input_layernorm.weight", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ONES,
     ZT_ALWAYS},
    {"self_attn.q_proj.weight", ZT_DIM_QUERY, ZT_DIM_MODEL, ZT_FILL_NORMAL,
     ZT_ALWAYS},
    {"self_attn.k_proj.weight", ZT_DIM_KEY, ZT_DIM_MODEL, ZT_FILL_NORMAL,
     ZT_ALWAYS},
    {"self_attn.v_proj.weight", ZT_DIM_KEY, ZT_DIM_MODEL, ZT_FILL_NORMAL,
     ZT_ALWAYS},
    {"self_attn.q_proj.bias", ZT_DIM_QUERY, ZT_DIM_NONE, ZT_FILL_ZEROS,
     ZT_WHEN_QKV_BIAS},
    {"self_attn.k_proj.bias", ZT_DIM_KEY, ZT_DIM_NONE, ZT_FILL_ZEROS,
     ZT_WHEN_QKV_BIAS},
    {"self_attn.v_proj.bias", ZT_DIM_KEY, ZT_DIM_NONE, ZT_FILL_ZEROS,
     ZT_WHEN_QKV_BIAS},
    {"self_attn.o_proj.weight", ZT_DIM_MODEL, ZT_DIM_QUERY, ZT_FILL_NORMAL,
     ZT_ALWAYS},
    {"self_attn.o_proj.bias", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ZEROS,
     ZT_WHEN_OUT_BIAS},
    {0}};

static const zt_param_row feed_forward[] = {
    {"post_attention_layernorm.weight", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ONES,
     ZT_ALWAYS},
    {"mlp.gate_proj.weight", ZT_DIM_FF, ZT_DIM_MODEL, ZT_FILL_NORMAL,
     ZT_ALWAYS},
    {"mlp.up_proj.weight", ZT_DIM_FF, ZT_DIM_MODEL, ZT_FILL_NORMAL, ZT_ALWAYS},
    {"mlp.gate_proj.bias", ZT_DIM_FF, ZT_DIM_NONE, ZT_FILL_ZEROS,
     ZT_WHEN_FF_BIAS},
    {"mlp.up_proj.bias", ZT_DIM_FF, ZT_DIM_NONE, ZT_FILL_ZEROS,
     ZT_WHEN_FF_BIAS},
    {"mlp.down_proj.weight", ZT_DIM_MODEL, ZT_DIM_FF, ZT_FILL_NORMAL,
     ZT_ALWAYS},
    {"mlp.down_proj.bias", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ZEROS,
     ZT_WHEN_FF_BIAS},
    {0}};

static const zt_param_row norm[] = {
    {"norm.weight", ZT_DIM_MODEL, ZT_DIM_NONE, ZT_FILL_ONES, ZT_ALWAYS}, {0}};

static const zt_decoder decoder = {.prefix = "model.",
                                   .layers = "layers",
                                   .attention_name = "self_attn",
                                   .feed_forward_name = "mlp",
                                   .norm_name = "norm",
                                   .embedding = embedding,
                                   .attention = attention,
                                   .feed_forward = feed_forward,
                                   .norm = norm};

static zt_status llama_build(zt_model *model) {
  return zt_decoder_build(model, &decoder);
}

/* ---- Configuration ---- */

enum { LLAMA, MISTRAL, QWEN2 };
static const char *const model_types[] = {"llama", "mistral", "qwen2", NULL};

static int type_of(const zt_model *model) {
  int type = 0;
  while (strcmp(model_types[type], model->model_type) != 0)
    type++;
  return type;
}

/* Heads and their sizes.  A missing number of key heads has another meaning in
 * each type; null means as many as there are heads. */
static zt_status read_heads(zt_model_shape *s, json_t *config, const char *path,
                            int type) {
  json_t *given = json_object_get(config, "num_key_value_heads");
  bool required = type != LLAMA && !json_is_null(given);
  const zt_config_int integers[] = {
      {"num_attention_heads", true, 1, ZT_MOST_SIZE, &s->heads},
      {"num_key_value_heads", required, 1, ZT_MOST_SIZE, &s->kv_heads},
      {"head_dim", false, 1, ZT_MOST_SIZE, &s->head_dim}};
  ZT_TRY(zt_config_ints(config, path, integers,
                        sizeof integers / sizeof *integers));
  if (s->kv_heads == 0)
    s->kv_heads = s->heads;
  if (s->heads % s->kv_heads != 0)
    return zt_fail(ZT_ERR_DATA,
                   "%s: num_attention_heads %" PRId64
                   " is not a multiple of num_key_value_heads %" PRId64,
                   path, s->heads, s->kv_heads);
  if (s->head_dim == 0 && s->d_model % s->heads != 0)
    return zt_fail(ZT_ERR_DATA,
                   "%s: hidden_size %" PRId64
                   " is not a multiple of num_attention_heads %" PRId64
                   ", and there is no head_dim",
                   path, s->d_model, s->heads);
  if (s->head_dim == 0)
    s->head_dim = s->d_model / s->heads;
  if (s->head_dim % 2 != 0)
    return zt_fail(ZT_ERR_DATA, "%s: head_dim %" PRId64 " is odd", path,
                   s->head_dim);
  if (s->heads * s->head_dim > ZT_MOST_SIZE / 4)
    return zt_fail(ZT_ERR_DATA,
                   "%s: num_attention_heads x head_dim is beyond "
                   "%d",
                   path, ZT_MOST_SIZE / 4);
  s->attention_scale = 1 / sqrt((double) s->head_dim);
  return zt_rotary_read(config, path, &s->rotary);
}

static zt_status read_biases(zt_model_shape *s, json_t *config,
                             const char *path, int type) {
  s->qkv_bias = type == QWEN2;
  if (type != LLAMA)
    return ZT_OK;
  ZT_TRY(zt_json_bool(config, path, "attention_bias", false, &s->qkv_bias));
  s->out_bias = s->qkv_bias;
  return zt_json_bool(config, path, "mlp_bias", false, &s->ff_bias);
}

/* A list of what each layer attends to has to be what the other keys say. */
static zt_status check_layers(const zt_model_shape *s, json_t *config,
                              const char *path) {
  json_t *list = json_object_get(config, "layer_types"), *entry;
  size_t i;
  if (!list || json_is_null(list))
    return ZT_OK;
  bool fits = json_array_size(list) == (size_t) s->layers;
  json_array_foreach(list, i, entry) {
    const char *kind = json_string_value(entry);
    bool sliding = s->window > 0 && (int64_t) i >= s->window_from;
    fits = fits && kind &&
           !strcmp(kind, sliding ? "sliding_attention" : "full_attention");
  }
  if (fits)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%s: a pattern of layer_types is not supported: only "
                 "full_attention before sliding_attention, as the other keys "
                 "say",
                 path);
}

/* Mistral: all layers, 4096 unless the key says otherwise.  Qwen2: from one
 * layer on, if at all. */
static zt_status read_window(zt_model_shape *s, json_t *config,
                             const char *path, int type) {
  bool uses = type == MISTRAL;
  int64_t window = 4096;
  s->window_from = type == QWEN2 ? 28 : 0;
  if (type == QWEN2) {
    ZT_TRY(zt_json_bool(config, path, "use_sliding_window", false, &uses));
    ZT_TRY(zt_json_int(config, path, "max_window_layers", false, 0,
                       ZT_MOST_SIZE, &s->window_from));
  }
  if (uses && json_is_null(json_object_get(config, "sliding_window")))
    uses = false;
  if (uses)
    ZT_TRY(zt_json_int(config, path, "sliding_window", false, 1, ZT_MOST_SIZE,
                       &window));
  s->window = uses ? window : 0;
  return check_layers(s, config, path);
}

static zt_status llama_configure(zt_model *model, json_t *config,
                                 const char *path) {
  zt_model_shape *s = &model->shape;
  int type = type_of(model);
  const char *activation = "silu";
  *s = (zt_model_shape){.norm = ZT_RMS_NORM,
                        .norm_eps = 1e-6,
                        .init_factor = 0.02,
                        .gated = true,
                        .qkv_parts = 3};
  const zt_config_int integers[] = {
      {"vocab_size", true, 1, ZT_MOST_SIZE, &s->vocabulary},
      {"hidden_size", true, 1, ZT_MOST_SIZE, &s->d_model},
      {"intermediate_size", true, 1, ZT_MOST_SIZE / 2, &s->d_ff},
      {"num_hidden_layers", true, 1, 100000, &s->layers}};
  const zt_config_real reals[] = {{"rms_norm_eps", 1, &s->norm_eps},
                                  {"attention_dropout", 1, &s->dropout},
                                  {"initializer_range", 1e6, &s->init_factor}};
  ZT_TRY(zt_config_ints(config, path, integers,
                        sizeof integers / sizeof *integers));
  ZT_TRY(zt_config_reals(config, path, reals, sizeof reals / sizeof *reals));
  ZT_TRY(zt_json_string(config, path, "hidden_act", false, &activation));
  ZT_TRY(zt_config_activation(path, "hidden_act", activation, activation,
                              &s->activation));
  ZT_TRY(read_heads(s, config, path, type));
  ZT_TRY(read_biases(s, config, path, type));
  ZT_TRY(read_window(s, config, path, type));
  ZT_TRY(zt_config_special_ids(s, config, path));
  /* The padding_idx of its embedding. */
  s->embedding_frozen = (int32_t) s->pad_id;
  return ZT_OK;
}

const zt_family zt_family_llama = {
    .name = "llama",
    .model_types = model_types,
    .embedding = "model.embed_tokens.weight",
    .embedding_aliases = (const char *const[]){"embed_tokens.weight", NULL},
    .head = "lm_head.weight",
    .ignored = (const char *const[]){".rotary_emb.inv_freq", NULL},
    .configure = llama_configure,
    .build = llama_build,
    .prepare = zt_decoder_prepare,
    .forward = zt_decoder_forward,
};
