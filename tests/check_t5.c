/* SPDX-License-Identifier: BSD-3-Clause */
/* T5 before any memory is spent on it: position buckets, the table of
 * parameters, units and stages, and configurations we cannot honour. */
#include "model/t5.h"

#include "base/json.h"
#include "golden.h"
#include "model/model.h"
#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- Position buckets ---- */

/* First distance of each run of one bucket; measured on Hugging Face
 * Transformers with 32 buckets and max_distance 128. */
static const struct {
  int64_t from, bucket;
} both_ways[] = {{0, 0},   {1, 1},   {2, 2},   {3, 3},  {4, 4},   {5, 5},
                 {6, 6},   {7, 7},   {8, 8},   {12, 9}, {16, 10}, {23, 11},
                 {32, 12}, {46, 13}, {64, 14}, {91, 15}},
  causal[] = {{16, 16}, {19, 17}, {21, 18}, {24, 19}, {27, 20}, {31, 21},
              {35, 22}, {40, 23}, {46, 24}, {52, 25}, {59, 26}, {67, 27},
              {77, 28}, {87, 29}, {99, 30}, {113, 31}};

START_TEST(buckets_are_transformers_own) {
  int run = 0;
  for (int64_t d = 0; d < 3000; d++) {
    if (run + 1 < 16 && both_ways[run + 1].from == d)
      run++;
    int64_t past = both_ways[run].bucket;
    ck_assert_int_eq(zt_t5_bucket(-d, true, 32, 128), past);
    ck_assert_int_eq(zt_t5_bucket(d, true, 32, 128), d ? 16 + past : 0);
  }
  run = -1;
  for (int64_t d = 0; d < 3000; d++) {
    if (run + 1 < 16 && causal[run + 1].from == d)
      run++;
    ck_assert_int_eq(zt_t5_bucket(-d, false, 32, 128),
                     run < 0 ? d : causal[run].bucket);
    ck_assert_int_eq(zt_t5_bucket(d, false, 32, 128), 0);
  }
}
END_TEST

/* Whatever the numbers are: in range, and never falling with the distance. */
START_TEST(buckets_of_any_size) {
  for (int64_t buckets = 4; buckets < 70; buckets += 3)
    for (int64_t most = buckets / 2 + 1; most < 900; most += 101)
      for (int both = 0; both < 2; both++) {
        int64_t last = 0;
        for (int64_t d = 0; d < 1000; d += 1 + d / 50) {
          int64_t b = zt_t5_bucket(-d, both, buckets, most);
          if (b < last || b >= (both ? buckets / 2 : buckets))
            ck_abort_msg("%ld buckets, at most %ld: bucket %ld at %ld",
                         (long) buckets, (long) most, (long) b, (long) d);
          last = b;
        }
      }
}
END_TEST

/* ---- Parameters ---- */

static char *read_config(const char *name, size_t *size) {
  char *config;
  ck_zt_ok(
      zt_read_file(golden_path(name, "config.json"), 1 << 20, &config, size));
  return config;
}

static zt_model *make_model(const char *name, bool tied, int64_t unit_limit) {
  size_t size;
  zt_model *model;
  char *config = read_config(name, &size);
  ck_zt_ok(zt_model_create(config, size, name, tied, unit_limit, &model));
  free(config);
  return model;
}

/* Names and shapes are those of the file that Transformers wrote. */
static void compare_with_file(const zt_model *model, const char *name) {
  golden_file file = golden_open(name, "model");
  for (int p = 0; p < model->params.count; p++) {
    const zt_param *param = &model->params.list[p];
    json_t *tensor = json_object_get(file.header, param->name);
    json_t *shape = json_object_get(tensor, "shape");
    ck_assert_msg(tensor != NULL, "%s is not in the file", param->name);
    ck_assert_int_eq((int) json_array_size(shape), param->ndim);
    for (int d = 0; d < param->ndim; d++)
      ck_assert_int_eq(json_integer_value(json_array_get(shape, (size_t) d)),
                       param->dims[d]);
  }
  json_object_del(file.header, "__metadata__");
  ck_assert_uint_eq(json_object_size(file.header),
                    (size_t) model->params.count);
  golden_close(&file);
}

/* Every element of the flat space belongs to one parameter, in order. */
static void check_layout(const zt_model *model) {
  const zt_params *params = &model->params;
  int64_t at = 0;
  for (int u = 0, p = 0; u < params->n_units; u++) {
    const zt_unit *unit = &params->units[u];
    ck_assert_int_eq(unit->start, at);
    ck_assert_int_eq(unit->first, p);
    int64_t inside = 0;
    for (; p < unit->first + unit->count; p++) {
      ck_assert_int_eq(params->list[p].unit, u);
      ck_assert_int_eq(params->list[p].at, inside);
      ck_assert_int_eq(zt_params_find(params, params->list[p].name), p);
      inside += params->list[p].numel;
    }
    ck_assert_int_eq(unit->numel, inside);
    at += inside;
  }
  ck_assert_int_eq(params->numel, at);
}

/* Rows of the table as Hugging Face initialises them; 0: no spread. */
typedef struct row {
  const char *name;
  double std;
  bool decay;
} row;

static void check_rows(const zt_model *model, const row *rows, int count,
                       int first) {
  for (int i = 0; i < count; i++) {
    const zt_param *p = &model->params.list[first + i];
    ck_assert_str_eq(p->name, rows[i].name);
    ck_assert_double_eq_tol(p->init.std, rows[i].std, 1e-15);
    ck_assert_double_eq(p->init.value, rows[i].std > 0 ? 0 : 1);
    ck_assert_int_eq(p->decay, rows[i].decay);
  }
}

#define ENC0 "encoder.block.0.layer."
#define DEC0 "decoder.block.0.layer."

START_TEST(v10_table) {
  const double q = 1 / sqrt(56 * 10), kv = 1 / sqrt(56), o = 1 / sqrt(40);
  const row rows[] = {
      {"shared.weight", 1, true},
      {ENC0 "0.SelfAttention.q.weight", q, true},
      {ENC0 "0.SelfAttention.k.weight", kv, true},
      {ENC0 "0.SelfAttention.v.weight", kv, true},
      {ENC0 "0.SelfAttention.o.weight", o, true},
      {ENC0 "0.SelfAttention.relative_attention_bias.weight", kv, false},
      {ENC0 "0.layer_norm.weight", 0, false},
      {ENC0 "1.DenseReluDense.wi.weight", kv, true},
      {ENC0 "1.DenseReluDense.wo.weight", 1 / sqrt(96), true},
      {ENC0 "1.layer_norm.weight", 0, false},
      {"encoder.block.1.layer.0.SelfAttention.q.weight", q, true}};
  zt_model *model = make_model("t5v10tiny", true, 0);
  compare_with_file(model, "t5v10tiny");
  check_layout(model);
  check_rows(model, rows, sizeof rows / sizeof *rows, 0);
  /* Unequal stacks: three blocks and two, two norms, one embedding. */
  ck_assert_int_eq(model->params.n_units, 1 + 3 + 1 + 2 + 1);
  ck_assert_int_eq(model->n_stages, model->params.n_units + 1);
  ck_assert_int_eq(model->stages[model->n_stages - 1].unit, 0); /* tied */
  ck_assert_int_eq(zt_params_find_any(&model->params, "lm_head.weight"), 0);
  ck_assert(model->shape.scale_logits);
  zt_model_destroy(&model);
  zt_model_destroy(&model);
}
END_TEST

START_TEST(v11_table) {
  const double kv = 1 / sqrt(64), o = 1 / sqrt(64);
  const row rows[] = {
      {DEC0 "0.SelfAttention.q.weight", 1. / 32, true},
      {DEC0 "0.SelfAttention.k.weight", kv, true},
      {DEC0 "0.SelfAttention.v.weight", kv, true},
      {DEC0 "0.SelfAttention.o.weight", o, true},
      {DEC0 "0.SelfAttention.relative_attention_bias.weight", kv, false},
      {DEC0 "0.layer_norm.weight", 0, false},
      {DEC0 "1.EncDecAttention.q.weight", 1. / 32, true},
      {DEC0 "1.EncDecAttention.k.weight", kv, true},
      {DEC0 "1.EncDecAttention.v.weight", kv, true},
      {DEC0 "1.EncDecAttention.o.weight", o, true},
      {DEC0 "1.layer_norm.weight", 0, false},
      {DEC0 "2.DenseReluDense.wi_0.weight", kv, true},
      {DEC0 "2.DenseReluDense.wi_1.weight", kv, true},
      {DEC0 "2.DenseReluDense.wo.weight", 1 / sqrt(128), true},
      {DEC0 "2.layer_norm.weight", 0, false}};
  zt_model *model = make_model("t5v11tiny", false, 0);
  compare_with_file(model, "t5v11tiny");
  check_layout(model);
  check_rows(model, rows, sizeof rows / sizeof *rows,
             zt_params_find(&model->params, rows[0].name));
  const zt_param *last = &model->params.list[model->params.count - 1];
  ck_assert_str_eq(last->name, "lm_head.weight");
  ck_assert_double_eq(last->init.std, 1);
  ck_assert_int_eq(model->stages[model->n_stages - 1].unit,
                   model->params.n_units - 1);
  ck_assert(!model->shape.scale_logits);
  ck_assert_int_eq(model->shape.activation, ZT_GELU_NEW);
  zt_model_destroy(&model);
}
END_TEST

/* A block that is too large is cut at its sublayers, and no further. */
START_TEST(units_under_a_limit) {
  zt_model *whole = make_model("t5v11tiny", false, 0);
  /* Block 1: without the bias it is the smaller one. */
  const int64_t encoder = whole->params.units[2].numel;
  const int64_t decoder = whole->params.units[4].numel;
  ck_assert_int_gt(decoder, encoder);
  zt_model *cut = make_model("t5v11tiny", false, decoder - 1);
  ck_assert_int_eq(cut->params.n_units, whole->params.n_units + 2);
  check_layout(cut);
  /* The order of parameters is the same however they are cut. */
  for (int p = 0; p < whole->params.count; p++)
    ck_assert_str_eq(cut->params.list[p].name, whole->params.list[p].name);
  zt_model_destroy(&cut);
  cut = make_model("t5v11tiny", false, encoder - 1);
  ck_assert_int_eq(cut->params.n_units, 4 + 2 * 2 + 2 * 3);
  ck_assert_str_eq(cut->params.units[1].name, "encoder.block.0.layer.0");
  int64_t least = zt_params_largest_unit(&cut->params);
  zt_model_destroy(&cut);
  size_t size;
  char *config = read_config("t5v11tiny", &size), wanted[40];
  cut = make_model("t5v11tiny", false, least);
  zt_model_destroy(&cut);
  ck_zt_fails(zt_model_create(config, size, "x", false, least - 1, &cut),
              ZT_ERR_CONFIG);
  snprintf(wanted, sizeof wanted, "least limit is %ld", (long) least);
  ck_assert_msg(strstr(zt_last_error(), wanted) != NULL, "%s", zt_last_error());
  ck_assert_uint_le(strlen(zt_last_error()), 200);
  free(config);
  zt_model_destroy(&whole);
}
END_TEST

/* ---- Configurations ---- */

#define REQUIRED                                                               \
  "\"model_type\": \"t5\", \"vocab_size\": 32, \"d_model\": 8, "               \
  "\"d_kv\": 4, \"d_ff\": 16, \"num_heads\": 2, \"num_layers\": 2"

static zt_status create(const char *config, zt_model **model) {
  return zt_model_create(config, strlen(config), "DIR/config.json", true, 0,
                         model);
}

START_TEST(defaults) {
  zt_model *model;
  ck_zt_ok(create("{" REQUIRED "}", &model));
  const zt_model_shape *s = &model->shape;
  ck_assert_int_eq(s->buckets, 32);
  ck_assert_int_eq(s->max_distance, 128);
  ck_assert_int_eq(s->layers, 2);
  ck_assert_int_eq(s->pad_id, 0);
  ck_assert_int_eq(s->eos_id, 1);
  ck_assert_int_eq(s->start_id, 0);
  ck_assert_int_eq(s->activation, ZT_RELU);
  ck_assert(!s->gated && s->scale_logits);
  ck_assert_double_eq(s->norm_eps, 1e-6);
  zt_model_destroy(&model);
}
END_TEST

static const struct {
  const char *text;
  zt_activation_kind kind;
  bool gated;
} projections[] = {
    {"relu", ZT_RELU, false},          {"gelu", ZT_GELU, false},
    {"gelu_new", ZT_GELU_NEW, false},  {"silu", ZT_SILU, false},
    {"gated-gelu", ZT_GELU_NEW, true}, /* not the erf form */
    {"gated-relu", ZT_RELU, true},     {"gated-gelu_new", ZT_GELU_NEW, true},
    {"gated-silu", ZT_SILU, true},     {"gated-swish", ZT_SILU, true}};

START_TEST(kinds_of_feed_forward) {
  zt_model *model;
  char config[512];
  snprintf(config, sizeof config,
           "{" REQUIRED ", \"feed_forward_proj\": "
           "\"%s\", \"model_type\": \"mt5\"}",
           projections[_i].text);
  ck_zt_fails(create(config, &model), ZT_ERR_DATA); /* a key stands twice */
  snprintf(config, sizeof config,
           "{" REQUIRED ", \"feed_forward_proj\": "
           "\"%s\"}",
           projections[_i].text);
  ck_zt_ok(create(config, &model));
  ck_assert_int_eq(model->shape.activation, projections[_i].kind);
  ck_assert_int_eq(model->shape.gated, projections[_i].gated);
  zt_model_destroy(&model);
}
END_TEST

/* The switch for scaling, as files of different age have it. */
START_TEST(scaling_of_logits) {
  static const struct {
    const char *more;
    bool scaled;
  } files[] = {{"", true},
               {", \"tie_word_embeddings\": false", false},
               {", \"tie_word_embeddings\": true", true},
               {", \"tie_word_embeddings\": true, "
                "\"scale_decoder_outputs\": false",
                false},
               {", \"tie_word_embeddings\": false, "
                "\"scale_decoder_outputs\": true",
                true}};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    zt_model *model;
    char config[512];
    snprintf(config, sizeof config, "{" REQUIRED "%s}", files[i].more);
    ck_zt_ok(create(config, &model));
    ck_assert_int_eq(model->shape.scale_logits, files[i].scaled);
    zt_model_destroy(&model);
  }
}
END_TEST

/* Each with what its message must name. */
static const struct {
  const char *config, *names;
} wrong[] = {
    {"", "JSON"},
    {"{", "JSON"},
    {"[]", "object"},
    {"{\"model_type\": \"t5\"", "JSON"},
    {"{\"a\": 1, \"a\": 2}", "JSON"},
    {"{\"d\": \"\xff\"}", "JSON"},
    {"{}", "model_type"},
    {"{\"model_type\": 5}", "model_type"},
    {"{\"model_type\": \"bert\"}", "bert"},
    {"{\"model_type\": \"t5\"}", "vocab_size"},
    {"{\"model_type\": \"t5\", \"vocab_size\": null}", "vocab_size"},
    {"{\"model_type\": \"t5\", \"vocab_size\": \"32\"}", "vocab_size"},
    {"{\"model_type\": \"t5\", \"vocab_size\": 0}", "vocab_size"},
    {"{\"model_type\": \"t5\", \"vocab_size\": 1e3}", "vocab_size"},
    {"{\"model_type\": \"t5\", \"vocab_size\": 9000000000}", "vocab_size"},
    {"{" REQUIRED ", \"num_decoder_layers\": 0}", "num_decoder_layers"},
    {"{" REQUIRED ", \"num_decoder_layers\": -1}", "num_decoder_layers"},
    {"{" REQUIRED ", \"relative_attention_num_buckets\": 2}", "buckets"},
    {"{" REQUIRED ", \"relative_attention_max_distance\": 16}", "distance"},
    {"{" REQUIRED ", \"relative_attention_max_distance\": 0}", "distance"},
    {"{" REQUIRED ", \"pad_token_id\": 32}", "vocab_size"},
    {"{" REQUIRED ", \"eos_token_id\": 32}", "vocab_size"},
    {"{" REQUIRED ", \"eos_token_id\": [1, 2]}", "eos_token_id"},
    {"{" REQUIRED ", \"decoder_start_token_id\": 99}", "vocab_size"},
    {"{" REQUIRED ", \"feed_forward_proj\": \"gated-\"}", "gated-"},
    {"{" REQUIRED ", \"feed_forward_proj\": \"tanh\"}", "tanh"},
    {"{" REQUIRED ", \"feed_forward_proj\": true}", "feed_forward_proj"},
    {"{" REQUIRED ", \"layer_norm_epsilon\": -1e-6}", "layer_norm_epsilon"},
    {"{" REQUIRED ", \"layer_norm_epsilon\": \"1e-6\"}", "layer_norm_epsilon"},
    {"{" REQUIRED ", \"dropout_rate\": 1.5}", "dropout_rate"},
    {"{" REQUIRED ", \"initializer_factor\": -1}", "initializer_factor"},
    {"{" REQUIRED ", \"tie_word_embeddings\": 1}", "tie_word_embeddings"},
    {"{" REQUIRED ", \"scale_decoder_outputs\": 0}", "scale_decoder_outputs"},
    {"{\"model_type\": \"t5\", \"vocab_size\": 32, \"d_model\": 200000000, "
     "\"d_kv\": 200000000, \"d_ff\": 1, \"num_heads\": 200000000, "
     "\"num_layers\": 1}",
     "num_heads"},
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

int main(void) {
  Suite *suite = suite_create("t5");
  TCase *all = tcase_create("all");
  tcase_add_test(all, buckets_are_transformers_own);
  tcase_add_test(all, buckets_of_any_size);
  tcase_add_test(all, v10_table);
  tcase_add_test(all, v11_table);
  tcase_add_test(all, units_under_a_limit);
  tcase_add_test(all, defaults);
  tcase_add_loop_test(all, kinds_of_feed_forward, 0,
                      sizeof projections / sizeof *projections);
  tcase_add_test(all, scaling_of_logits);
  tcase_add_loop_test(all, wrong_configurations, 0,
                      sizeof wrong / sizeof *wrong);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
