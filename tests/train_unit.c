/* SPDX-License-Identifier: BSD-3-Clause */
#include "train_unit.h"

#include "base/json.h"
#include "base/random.h"
#include "golden.h"
#include "io/token_writer.h"
#include "numbers.h"
#include "unit.h"

enum { FIRST_ID = 3, IDS = 300 };

zt_model *train_model(const char *name, int64_t unit_limit) {
  char *config;
  size_t size;
  zt_model *model;
  ck_zt_ok(
      zt_read_file(golden_path(name, "config.json"), 1 << 20, &config, &size));
  bool tied = !strcmp(name, "t5v10tiny") || !strcmp(name, "gpt2tiny");
  ck_zt_ok(zt_model_create(config, size, name, tied, unit_limit, &model));
  free(config);
  return model;
}

void train_fill(zt_zero3 *zero3) {
  const zt_params *params = &zero3->model->params;
  for (int p = 0; p < params->count; p++) {
    const zt_param *param = &params->list[p];
    int64_t slice = zero3->shard.slice[param->unit];
    int64_t first = slice * zero3->shard.rank - param->at;
    float *to = zero3->master + zero3->shard.at[param->unit] - first;
    for (int64_t i = first < 0 ? 0 : first;
         i < param->numel && i < first + slice; i++)
      to[i] = (float) (param->init.std > 0
                           ? param->init.std *
                                 zt_normal(1, (uint64_t) p, (uint64_t) i)
                           : param->init.value);
  }
}

void train_write_tokens(const char *path) {
  const zt_tokens_info info = {.pairs = true,
                               .vocabulary = FIRST_ID + IDS,
                               .eos = 1,
                               .pad = 0,
                               .sentinel = -1,
                               .tokenizer = "none"};
  const int64_t longest[] = {TRAIN_SOURCE + 4, TRAIN_TARGET + 2};
  zt_token_writer *writer;
  ck_zt_ok(zt_token_writer_create(path, &info, true, &writer));
  for (int stream = 0; stream < 2; stream++)
    for (uint64_t pair = 0; pair < TRAIN_PAIRS; pair++) {
      uint64_t seed = 2 * pair + (uint64_t) stream;
      uint64_t n = 1 + numbers_bits(seed, 0) % (uint64_t) longest[stream];
      for (uint64_t i = 1; i <= n; i++) {
        int32_t id = (int32_t) (FIRST_ID + numbers_bits(seed, i) % IDS);
        ck_zt_ok(zt_token_writer_add(writer, stream, &id, 1));
      }
      ck_zt_ok(zt_token_writer_end(writer, stream));
    }
  ck_zt_ok(zt_token_writer_finish(writer));
  zt_token_writer_destroy(&writer);
}

void train_write_texts(const char *path) {
  const zt_tokens_info info = {.vocabulary = FIRST_ID + IDS,
                               .eos = 1,
                               .pad = 0,
                               .sentinel = -1,
                               .tokenizer = "none"};
  zt_token_writer *writer;
  ck_zt_ok(zt_token_writer_create(path, &info, true, &writer));
  for (uint64_t text = 0; text < TRAIN_PAIRS; text++) {
    uint64_t n = 1 + numbers_bits(text, 0) % (3 * TRAIN_SOURCE);
    for (uint64_t i = 1; i <= n; i++) {
      int32_t id = (int32_t) (FIRST_ID + numbers_bits(text, i) % IDS);
      ck_zt_ok(zt_token_writer_add(writer, ZT_STREAM_TEXT, &id, 1));
    }
    ck_zt_ok(zt_token_writer_end(writer, ZT_STREAM_TEXT));
  }
  ck_zt_ok(zt_token_writer_finish(writer));
  zt_token_writer_destroy(&writer);
}

void train_open_tokens(const zt_model *model, const char *path,
                       zt_tokens **tokens) {
  if (model->family->encoder)
    train_write_tokens(path);
  else
    train_write_texts(path);
  ck_zt_ok(zt_tokens_open(path, tokens));
}

zt_batch *train_batch(zt_tokens *tokens, const zt_model *model,
                      const zt_step_options *options) {
  zt_batch *batch;
  bool pairs = model->family->encoder;
  zt_batch_spec spec = {.task = pairs ? ZT_TASK_SEQ2SEQ : ZT_TASK_CAUSAL,
                        .packing = !pairs,
                        .source_length = options->pass.source_length,
                        .target_length = options->pass.target_length,
                        .shuffled = true,
                        .batch = options->batch,
                        .seed = options->seed,
                        .vocabulary = model->shape.vocabulary,
                        .pad_id = model->shape.pad_id,
                        .eos_id = model->shape.eos_id,
                        .start_id = model->shape.start_id};
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  return batch;
}

zt_step_options train_options(int64_t batch, int64_t microbatch) {
  return (zt_step_options){.batch = batch,
                           .microbatch = microbatch,
                           .seed = 5,
                           .prefetch = 1,
                           .pass = {.samples = microbatch,
                                    .source_length = TRAIN_SOURCE,
                                    .target_length = TRAIN_TARGET,
                                    .training = true,
                                    .recompute = true},
                           .optim = {.beta1 = 0.9,
                                     .beta2 = 0.999,
                                     .eps = 1e-8,
                                     .weight_decay = 0.01,
                                     .clip = 1}};
}

zt_step_options train_options_of(const zt_model *model, int64_t batch,
                                 int64_t microbatch) {
  zt_step_options options = train_options(batch, microbatch);
  if (!model->family->encoder) {
    options.pass.source_length = 0;
    options.pass.target_length = TRAIN_SOURCE;
  }
  return options;
}

zt_step *train_step(const zt_model *model, zt_device *dev, zt_comm *comm,
                    const zt_step_options *options) {
  static zt_phases phases; /* nobody looks at the times */
  zt_plan plan;
  zt_step *step;
  zt_phases_init(&phases);
  ck_zt_ok(zt_plan_make(model, options, dev, comm->size, &plan));
  ck_zt_ok(
      zt_step_create(model, dev, comm, options, &plan.sizes, &phases, &step));
  train_fill(step->zero3);
  return step;
}
