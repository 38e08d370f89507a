/* SPDX-License-Identifier: BSD-3-Clause */
/* Families without an encoder: configurations, parameters, angles, documents in
 * one sample, and samples of the causal task. */
#include "base/json.h"
#include "device/device_check.h"
#include "device/device_cpu.h"
#include "model/pass.h"
#include "numbers.h"
#include "train/plan.h"
#include "train_unit.h"
#include "unit.h"

#include <stdio.h>

/* ---- Configurations ---- */

#define LLAMA                                                                  \
  "\"model_type\": \"llama\", \"vocab_size\": 32, \"hidden_size\": 8, "        \
  "\"intermediate_size\": 12, \"num_hidden_layers\": 3, "                      \
  "\"num_attention_heads\": 2"
#define MISTRAL                                                                \
  "\"model_type\": \"mistral\", \"vocab_size\": 32, \"hidden_size\": 8, "      \
  "\"intermediate_size\": 12, \"num_hidden_layers\": 3, "                      \
  "\"num_attention_heads\": 2, \"num_key_value_heads\": 1"
#define QWEN2                                                                  \
  "\"model_type\": \"qwen2\", \"vocab_size\": 32, \"hidden_size\": 8, "        \
  "\"intermediate_size\": 12, \"num_hidden_layers\": 3, "                      \
  "\"num_attention_heads\": 2, \"num_key_value_heads\": null"
#define GPT2                                                                   \
  "\"model_type\": \"gpt2\", \"vocab_size\": 32, \"n_positions\": 16, "        \
  "\"n_embd\": 8, \"n_layer\": 3, \"n_head\": 2"

static zt_status create(const char *config, zt_model **model) {
  return zt_model_create(config, strlen(config), "DIR/config.json", true, 0,
                         model);
}

static zt_model_shape shape_of(const char *config) {
  zt_model *model;
  ck_zt_ok(create(config, &model));
  zt_model_shape shape = model->shape;
  zt_model_destroy(&model);
  return shape;
}

START_TEST(defaults_are_transformers_own) {
  zt_model_shape s = shape_of("{" LLAMA "}");
  ck_assert_int_eq(s.kv_heads, 2);
  ck_assert_int_eq(s.head_dim, 4);
  ck_assert_int_eq(s.window, 0);
  ck_assert_int_eq(s.rotary.kind, ZT_ROTARY_DEFAULT);
  ck_assert_double_eq(s.rotary.theta, 10000);
  ck_assert_double_eq(s.norm_eps, 1e-6);
  ck_assert(!s.qkv_bias && !s.out_bias && !s.ff_bias);
  ck_assert_int_eq(s.embedding_frozen, -1);
  s = shape_of("{" MISTRAL "}");
  ck_assert_int_eq(s.window, 4096);
  ck_assert_int_eq(s.window_from, 0);
  ck_assert_int_eq(shape_of("{" MISTRAL ", \"sliding_window\": null}").window,
                   0);
  s = shape_of("{" QWEN2 "}");
  ck_assert(s.qkv_bias && !s.out_bias && !s.ff_bias);
  ck_assert_int_eq(s.window, 0);
  ck_assert_int_eq(s.kv_heads, 2);
  s = shape_of("{" GPT2 "}");
  ck_assert_int_eq(s.d_ff, 32);
  ck_assert_int_eq(s.positions, 16);
  ck_assert_int_eq(s.activation, ZT_GELU_NEW);
  ck_assert_double_eq(s.attention_scale, 0.5);
}
END_TEST

START_TEST(options_are_read) {
  zt_model_shape s = shape_of(
      "{" LLAMA ", \"eos_token_id\": [5, 7, 9], \"pad_token_id\": 7, "
      "\"head_dim\": 6, \"rope_theta\": 500000.0, \"rope_scaling\": {\"type\": "
      "\"linear\", \"factor\": 2.0}}");
  ck_assert_int_eq(s.n_stop_ids, 3);
  ck_assert_int_eq(s.stop_ids[2], 9);
  ck_assert_int_eq(s.eos_id, 5);
  ck_assert_int_eq(s.embedding_frozen, 7);
  ck_assert_int_eq(s.head_dim, 6);
  ck_assert_int_eq(s.rotary.kind, ZT_ROTARY_LINEAR);
  ck_assert_double_eq(s.rotary.theta, 500000);
  s = shape_of("{" QWEN2 ", \"use_sliding_window\": true, \"sliding_window\": "
               "9, \"max_window_layers\": 1, \"layer_types\": "
               "[\"full_attention\", \"sliding_attention\", "
               "\"sliding_attention\"]}");
  ck_assert_int_eq(s.window, 9);
  ck_assert_int_eq(s.window_from, 1);
  s = shape_of(
      "{" LLAMA ", \"max_position_embeddings\": 64, "
      "\"rope_parameters\": {\"rope_type\": \"llama3\", \"factor\": 8, "
      "\"low_freq_factor\": 1, \"high_freq_factor\": 4}}");
  ck_assert_double_eq(s.rotary.original, 64);
  s = shape_of("{" GPT2 ", \"n_inner\": null, \"scale_attn_weights\": false}");
  ck_assert_double_eq(s.attention_scale, 1);
}
END_TEST

/* Each with what its message must name. */
static const struct {
  const char *config, *names;
} wrong[] = {
    {"{\"model_type\": \"qwen3\"}", "qwen3"},
    {"{\"model_type\": \"gpt_neox\"}", "gpt_neox"},
    {"{" LLAMA ", \"quantization_config\": {\"bits\": 4}}", "quantization"},
    {"{" LLAMA ", \"hidden_act\": \"mish\"}", "mish"},
    {"{" LLAMA ", \"hidden_size\": 9}", "JSON"},
    {"{" LLAMA ", \"num_key_value_heads\": 3}", "num_key_value_heads"},
    {"{" LLAMA ", \"head_dim\": 3}", "head_dim"},
    {"{" LLAMA ", \"rope_scaling\": {\"rope_type\": \"yarn\"}}", "yarn"},
    {"{" LLAMA ", \"rope_scaling\": {\"type\": \"dynamic\"}}", "dynamic"},
    {"{" LLAMA ", \"rope_scaling\": 8}", "rope_scaling"},
    {"{" LLAMA ", \"rope_scaling\": {\"type\": \"linear\"}}", "factor"},
    {"{" LLAMA ", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 0}}",
     "factor"},
    {"{" LLAMA ", \"rope_parameters\": {\"full_attention\": {}}}", "by layer"},
    {"{" LLAMA ", \"rope_parameters\": {\"rope_type\": \"llama3\", "
     "\"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4}}",
     "high_freq_factor"},
    {"{" LLAMA ", \"rope_parameters\": {\"rope_type\": \"llama3\", "
     "\"factor\": 8, \"low_freq_factor\": 1, \"high_freq_factor\": 4}}",
     "max_position_embeddings"},
    {"{" LLAMA ", \"rope_theta\": 0}", "rope_theta"},
    {"{" LLAMA ", \"partial_rotary_factor\": 0.5}", "partial_rotary_factor"},
    {"{" LLAMA ", \"layer_types\": [\"sliding_attention\"]}", "layer_types"},
    {"{" LLAMA ", \"eos_token_id\": 32}", "eos_token_id"},
    {"{" LLAMA ", \"eos_token_id\": [1, 2, 3, 4, 5, 6, 7, 8, 9]}",
     "eos_token_id"},
    {"{" LLAMA ", \"eos_token_id\": \"2\"}", "eos_token_id"},
    {"{" LLAMA ", \"pad_token_id\": 32}", "pad_token_id"},
    {"{" LLAMA ", \"attention_bias\": 1}", "attention_bias"},
    {"{" LLAMA ", \"rms_norm_eps\": -1}", "rms_norm_eps"},
    {"{" MISTRAL ", \"sliding_window\": 0}", "sliding_window"},
    {"{" MISTRAL ", \"layer_types\": [\"sliding_attention\", "
     "\"full_attention\", \"sliding_attention\"]}",
     "layer_types"},
    {"{" QWEN2 ", \"use_sliding_window\": true, \"max_window_layers\": 0, "
     "\"layer_types\": [\"full_attention\", \"full_attention\", "
     "\"full_attention\"]}",
     "layer_types"},
    {"{\"model_type\": \"mistral\", \"vocab_size\": 32, \"hidden_size\": 8, "
     "\"intermediate_size\": 12, \"num_hidden_layers\": 3, "
     "\"num_attention_heads\": 2}",
     "num_key_value_heads"},
    {"{\"model_type\": \"llama\", \"vocab_size\": 32, \"hidden_size\": 9, "
     "\"intermediate_size\": 12, \"num_hidden_layers\": 3, "
     "\"num_attention_heads\": 2}",
     "hidden_size"},
    {"{\"model_type\": \"llama\"}", "vocab_size"},
    {"{\"model_type\": \"gpt2\", \"vocab_size\": 32}", "n_positions"},
    {"{" GPT2 ", \"n_inner\": 0}", "n_inner"},
    {"{" GPT2 ", \"activation_function\": \"tanh\"}", "tanh"},
    {"{" GPT2 ", \"add_cross_attention\": true}", "add_cross_attention"},
    {"{\"model_type\": \"gpt2\", \"vocab_size\": 32, \"n_positions\": 16, "
     "\"n_embd\": 9, \"n_layer\": 3, \"n_head\": 2}",
     "n_head"},
};

START_TEST(wrong_configurations) {
  zt_model *model = NULL;
  ck_zt_fails(create(wrong[_i].config, &model), ZT_ERR_DATA);
  const char *message = zt_last_error();
  ck_assert_ptr_null(model);
  ck_assert_msg(strstr(message, "DIR/config.json") != NULL &&
                    strstr(message, wrong[_i].names) != NULL &&
                    !strchr(message, '\n') && strlen(message) <= 200,
                "%s", message);
}
END_TEST

/* What a configuration without weights says about the head. */
START_TEST(heads_that_are_tied) {
  static const struct {
    const char *config;
    bool tied;
  } cases[] = {{"{" LLAMA "}", false},
               {"{" LLAMA ", \"tie_word_embeddings\": true}", true},
               {"{" GPT2 "}", true},
               {"{" GPT2 ", \"tie_word_embeddings\": false}", false},
               {"{\"model_type\": \"t5\"}", true}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    json_t *config;
    bool tied;
    ck_zt_ok(
        zt_json_parse(cases[i].config, strlen(cases[i].config), "c", &config));
    ck_zt_ok(zt_config_tied(config, "c", &tied));
    ck_assert_int_eq(tied, cases[i].tied);
    json_decref(config);
  }
}
END_TEST

/* ---- Parameters ---- */

START_TEST(parameters_have_two_names) {
  static const struct {
    const char *model, *name, *alias;
    double std;
    bool decay;
  } rows[] = {{"gpt2tiny", "transformer.wpe.weight", "wpe.weight", 0.02, true},
              {"gpt2tiny", "transformer.h.1.attn.c_attn.weight",
               "h.1.attn.c_attn.weight", 0.02, true},
              {"gpt2tiny", "transformer.h.1.mlp.c_proj.weight",
               "h.1.mlp.c_proj.weight", 0.01, true}, /* 0.02 / sqrt(2 * 2) */
              {"gpt2tiny", "transformer.ln_f.bias", "ln_f.bias", 0, false},
              {"llamatiny", "model.layers.0.self_attn.k_proj.weight",
               "layers.0.self_attn.k_proj.weight", 0.02, true},
              {"llamatiny", "model.norm.weight", "norm.weight", 0, false}};
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    zt_model *model = train_model(rows[i].model, 0);
    int p = zt_params_find(&model->params, rows[i].name);
    ck_assert_int_ge(p, 0);
    ck_assert_int_eq(zt_params_find_any(&model->params, rows[i].alias), p);
    ck_assert_double_eq_tol(model->params.list[p].init.std, rows[i].std, 1e-15);
    ck_assert_int_eq(model->params.list[p].decay, rows[i].decay);
    zt_model_destroy(&model);
  }
}
END_TEST

/* The order of parameters is the same however they are cut. */
START_TEST(units_under_a_limit) {
  zt_model *whole = train_model("gpt2tiny", 0);
  zt_model *cut = train_model("gpt2tiny", 37000);
  ck_assert_int_eq(whole->params.n_units, 1 + 2 + 1);
  ck_assert_int_eq(cut->params.n_units, 1 + 4 + 1);
  ck_assert_str_eq(cut->params.units[1].name, "transformer.h.0.attn");
  ck_assert_str_eq(cut->params.units[2].name, "transformer.h.0.mlp");
  ck_assert_int_eq(cut->params.numel, whole->params.numel);
  for (int p = 0; p < whole->params.count; p++)
    ck_assert_str_eq(cut->params.list[p].name, whole->params.list[p].name);
  zt_model_destroy(&cut);
  zt_model_destroy(&whole);
}
END_TEST

/* ---- Angles ---- */

/* Cosines at position 100,003 as Transformers 5.23 has them, for pairs 0, 1, 3,
 * a quarter of head_dim and the last. */
static const struct {
  zt_rotary rotary;
  int64_t head_dim;
  float cosines[5];
} angles[] = {{{.kind = ZT_ROTARY_DEFAULT, .theta = 10000},
               128,
               {0.9843148589134216f, -0.5150299072265625f, -0.968530535697937f,
                0.5373501181602478f, 0.5248944163322449f}},
              {{.kind = ZT_ROTARY_LINEAR, .theta = 10000, .factor = 4},
               16,
               {0.9990172386169434f, -0.11299772560596466f, 0.4641265869140625f,
                0.248252734541893f, -0.051926951855421066f}},
              {{.kind = ZT_ROTARY_LLAMA3,
                .theta = 500000,
                .factor = 8,
                .low = 1,
                .high = 4,
                .original = 8192},
               128,
               {0.9843148589134216f, -0.8892754912376404f, 0.691210925579071f,
                -0.6051042079925537f, 0.9995290637016296f}},
              {{.kind = ZT_ROTARY_LLAMA3,
                .theta = 500000,
                .factor = 8,
                .low = 1,
                .high = 4,
                .original = 8192},
               16,
               {0.9843148589134216f, -0.9812353849411011f, 0.9052215814590454f,
                -0.6051042079925537f, 0.9917011857032776f}}};

START_TEST(angles_are_transformers_own) {
  enum { POSITION = 100003 };
  int64_t d = angles[_i].head_dim;
  const int64_t pairs[] = {0, 1, 3, d / 4, d / 2 - 1};
  float *table = malloc((size_t) ((POSITION + 1) * d) * sizeof *table);
  zt_rotary_fill(&angles[_i].rotary, d, POSITION + 1, table);
  const float *row = table + POSITION * d;
  for (int i = 0; i < 5; i++)
    ck_assert_float_eq_tol(row[pairs[i]], angles[_i].cosines[i], 1e-7f);
  for (int64_t i = 0; i < d / 2; i++) {
    ck_assert_float_eq(table[i], 1);
    ck_assert_float_eq(table[d / 2 + i], 0);
    float c = row[i], s = row[d / 2 + i];
    ck_assert_float_eq_tol(c * c + s * s, 1, 1e-6f);
  }
  free(table);
}
END_TEST

/* ---- Several documents in a sample ---- */

enum { LENGTH = 24, DOCUMENTS = 3 };
static const int lengths[DOCUMENTS] = {10, 1, 13};

typedef struct texts {
  int32_t ids[DOCUMENTS * LENGTH], labels[DOCUMENTS * LENGTH], first[LENGTH];
} texts;

static double run_pass(const zt_model *model, zt_device *dev, bool documents,
                       const texts *t, float *grads) {
  zt_pass_shape shape = {.samples = documents ? 1 : DOCUMENTS,
                         .target_length = LENGTH,
                         .training = true,
                         .recompute = documents,
                         .documents = documents};
  zt_pass_sizes big = {1 << 20, 1 << 23, 1 << 23, 1 << 20};
  const zt_params *params = &model->params;
  float *values = malloc((size_t) params->numel * sizeof *values);
  int last = model->n_stages - 1;
  double loss;
  zt_pass *pass;
  numbers_fill(values, params->numel, 4, 0.3);
  memset(grads, 0, (size_t) params->numel * sizeof *grads);
  ck_zt_ok(zt_pass_create(model, dev, &shape, &big, &pass));
  ck_zt_ok(zt_pass_begin(pass, &(zt_pass_input){.target = t->ids,
                                                .labels = t->labels,
                                                .first = t->first}));
  for (int s = 0; s <= last; s++) {
    int64_t at = params->units[model->stages[s].unit].start;
    ck_zt_ok(
        zt_pass_forward(pass, s, values + at, s == last ? grads + at : NULL));
  }
  for (int s = last - 1; s >= 0; s--) {
    int64_t at = params->units[model->stages[s].unit].start;
    ck_zt_ok(zt_pass_backward(pass, s, values + at, grads + at));
  }
  ck_zt_ok(zt_pass_loss(pass, &loss));
  zt_pass_destroy(&pass);
  free(values);
  return loss;
}

/* Packed into one sample or each for itself: the same loss and gradients. */
START_TEST(documents_do_not_see_each_other) {
  zt_model *model = train_model(_i ? "gpt2tiny" : "llamatiny", 0);
  size_t n = (size_t) model->params.numel;
  float *grads[2] = {malloc(n * sizeof(float)), malloc(n * sizeof(float))};
  double *wanted = malloc(n * sizeof *wanted);
  texts packed, apart;
  zt_device *dev;
  ck_zt_ok(zt_device_cpu_create(2, &dev));
  ck_zt_ok(zt_device_check(dev));
  memset(&apart, 0, sizeof apart);
  memset(apart.labels, 0xFF, sizeof apart.labels);
  for (int d = 0, at = 0; d < DOCUMENTS; at += lengths[d++])
    for (int i = 0; i < lengths[d]; i++) {
      int32_t id = (int32_t) (numbers_bits((uint64_t) d, (uint64_t) i) % 500);
      int32_t next =
          (int32_t) (numbers_bits((uint64_t) d, (uint64_t) i + 1) % 500);
      int32_t label = i + 1 < lengths[d] ? next : -100;
      packed.ids[at + i] = apart.ids[d * LENGTH + i] = id;
      packed.labels[at + i] = apart.labels[d * LENGTH + i] = label;
      packed.first[at + i] = at;
    }
  double loss = run_pass(model, dev, true, &packed, grads[0]);
  double sum = run_pass(model, dev, false, &apart, grads[1]);
  ck_assert_double_eq_tol(loss, sum, 1e-6 * sum);
  for (size_t i = 0; i < n; i++)
    wanted[i] = (double) grads[1][i];
  ck_assert_double_le(numbers_distance(grads[0], wanted, (int64_t) n), 1e-5);
  zt_device_destroy(&dev);
  zt_model_destroy(&model);
  free(wanted);
  free(grads[0]);
  free(grads[1]);
}
END_TEST

/* ---- Tasks ---- */

START_TEST(tasks_that_do_not_fit) {
  static const struct {
    const char *model;
    zt_task task;
    int64_t length;
    const char *names; /* NULL: it fits */
  } cases[] = {{"t5v10tiny", ZT_TASK_CAUSAL, 8, "data.task is \"causal\""},
               {"gpt2tiny", ZT_TASK_SEQ2SEQ, 8, "data.task needs an encoder"},
               {"gpt2tiny", ZT_TASK_CAUSAL, 65, "data.length = 65"},
               {"gpt2tiny", ZT_TASK_CAUSAL, 64, NULL},
               {"llamatiny", ZT_TASK_CAUSAL, 4096, NULL},
               {"t5v10tiny", ZT_TASK_SPAN_CORRUPTION, 8, NULL}};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    zt_settings s;
    zt_model *model = train_model(cases[i].model, 0);
    ck_zt_ok(zt_settings_init(&s));
    s.data.task = cases[i].task;
    s.data.length = cases[i].length;
    zt_status status = zt_plan_check_task(&s, model);
    ck_assert_int_eq(status, cases[i].names ? ZT_ERR_CONFIG : ZT_OK);
    if (cases[i].names)
      ck_assert_ptr_nonnull(strstr(zt_last_error(), cases[i].names));
    zt_settings_free(&s);
    zt_model_destroy(&model);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("decoder");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_test(all, defaults_are_transformers_own);
  tcase_add_test(all, options_are_read);
  tcase_add_loop_test(all, wrong_configurations, 0,
                      sizeof wrong / sizeof *wrong);
  tcase_add_test(all, heads_that_are_tied);
  tcase_add_test(all, parameters_have_two_names);
  tcase_add_test(all, units_under_a_limit);
  tcase_add_loop_test(all, angles_are_transformers_own, 0,
                      sizeof angles / sizeof *angles);
  tcase_add_loop_test(all, documents_do_not_see_each_other, 0, 2);
  tcase_add_test(all, tasks_that_do_not_fit);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
