/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/planning.h"

#include "base/json.h"
#include "base/log.h"
#include "comm/agree.h"
#include "io/checkpoint.h"
#include "prog/backends.h"
#include "train/answers.h"
#include "train/data.h"
#include "train/plan.h"
#include "train/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Without weights the model is what config.json says alone. */
static zt_status model_of_config(const zt_settings *settings,
                                 zt_model **model) {
  enum { MOST = 1 << 20 };
  const char *path = settings->model.config;
  char *bytes;
  size_t size;
  json_t *config;
  bool tied;
  ZT_TRY(zt_read_file(path, MOST, &bytes, &size));
  zt_status status = zt_json_parse(bytes, size, path, &config);
  if (status == ZT_OK) {
    status = zt_config_tied(config, path, &tied);
    json_decref(config);
  }
  if (status == ZT_OK)
    status = zt_model_create(bytes, size, path, tied, settings->zero.unit_limit,
                             model);
  free(bytes);
  return status;
}

/* The files beside the weights are known where weights are. */
static zt_status open_model(zt_comm *comm, const zt_settings *settings,
                            zt_model **model, int64_t *config_bytes) {
  zt_source *source;
  *config_bytes = 0;
  if (!settings->model.weights[0])
    return zt_agree(comm, model_of_config(settings, model));
  ZT_TRY(zt_checkpoint_open(settings->model.weights, comm, &source));
  zt_status status = zt_agree(
      comm, zt_weights_model(source, settings->zero.unit_limit, model, NULL));
  *config_bytes = zt_source_config_bytes(source);
  zt_source_close(&source);
  return status;
}

static zt_status make_plan(zt_comm *comm, const zt_settings *settings,
                           const zt_model *model, int64_t config_bytes,
                           int ranks, zt_plan *plan) {
  zt_device *dev = NULL;
  zt_step_options options = zt_step_options_of(settings, model);
  ZT_TRY(zt_agree(comm, zt_plan_check_task(settings, model)));
  ZT_TRY(zt_open_device_to_plan(settings->runtime.device,
                                settings->runtime.threads, comm, &dev));
  zt_status status = zt_plan_make(model, &options, dev, ranks, plan);
  if (status == ZT_OK && settings->train.eval_every > 0)
    status = zt_plan_add_answers(plan, model, settings, dev);
  if (status == ZT_OK)
    status = zt_plan_add_saves(plan, model, settings, config_bytes);
  zt_device_destroy(&dev);
  return zt_agree(comm, status);
}

zt_status zt_print_plan(zt_program *program, const zt_settings *settings,
                        int ranks, bool json) {
  zt_model *model = NULL;
  int64_t config_bytes;
  zt_plan plan;
  zt_text text = {0};
  ZT_TRY(open_model(program->comm, settings, &model, &config_bytes));
  zt_status status =
      make_plan(program->comm, settings, model, config_bytes, ranks, &plan);
  zt_model_destroy(&model);
  ZT_TRY(status);
  zt_plan_format(&plan, json, &text);
  if (program->comm->rank == 0 && !text.failed)
    fputs(text.data, stdout);
  zt_text_free(&text);
  return ZT_OK;
}

static zt_status check_valid(const zt_settings *s, const zt_model *model,
                             const zt_batch_spec *spec) {
  zt_data valid;
  ZT_TRY(zt_data_open_valid(s, spec, &valid));
  zt_info("evaluation: %" PRId64 " samples", zt_batch_samples(valid.batch));
  zt_answers *answers = NULL;
  zt_status status = ZT_OK;
  if (s->train.eval_generate > 0)
    status = zt_answers_create(s, model, &valid, &answers);
  if (answers)
    zt_info("evaluation: %" PRId64 " questions", answers->questions.count);
  zt_answers_destroy(&answers);
  zt_data_close(&valid);
  return status;
}

static zt_status check_data(const zt_settings *s, const zt_model *model) {
  zt_data data;
  ZT_TRY(zt_plan_check_task(s, model));
  zt_batch_spec spec = zt_batch_spec_of(s, model);
  ZT_TRY(zt_data_open_train(s, &spec, &data));
  for (int i = 0; i < data.n; i++) {
    zt_batch_share share = zt_batch_share_of(data.batch, i);
    zt_info("%s: %" PRId64 " samples", share.path, share.samples);
  }
  zt_data_close(&data);
  return zt_data_has_valid(s) ? check_valid(s, model, &spec) : ZT_OK;
}

zt_status zt_check_inputs(zt_program *program, const zt_settings *settings) {
  zt_model *model = NULL;
  int64_t config_bytes;
  zt_plan plan;
  int count;
  zt_comm *comm = program->comm;
  ZT_TRY(open_model(comm, settings, &model, &config_bytes));
  zt_status status = zt_agree(comm, check_data(settings, model));
  if (status == ZT_OK)
    status = make_plan(comm, settings, model, config_bytes, comm->size, &plan);
  zt_comm_local_rank(comm, &count);
  if (status == ZT_OK)
    status = zt_agree(comm, zt_plan_check_memory(&plan, NULL, count));
  zt_model_destroy(&model);
  if (status == ZT_OK)
    zt_info("all inputs are fine");
  return status;
}
