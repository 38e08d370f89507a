/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/evaluating.h"

#include "base/log.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/restart.h"
#include "prog/backends.h"
#include "prog/launcher.h"
#include "prog/model_files.h"
#include "prog/open_source.h"
#include "train/evaluate.h"
#include "train/plan.h"
#include "train/state.h"
#include "train/watch.h"
#include "train/weights.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

typedef struct evaluator {
  const zt_settings *settings;
  zt_comm *host, *comm; /* over host memory; over the device's */
  zt_device *dev;
  zt_source *source;
  zt_model *model;
  zt_data valid;
  zt_answers *answers; /* NULL: none */
  zt_step *step;
  zt_phases phases;
  int64_t number; /* steps done */
} evaluator;

/* ---- What is evaluated ---- */

static zt_status find_run(const evaluator *e, bool *there) {
  char dir[PATH_MAX];
  zt_restart_list list;
  *there = false;
  if (!*e->settings->run.dir)
    return ZT_OK;
  ZT_TRY(zt_path(dir, "%s/restart", e->settings->run.dir));
  ZT_TRY(zt_restart_find(dir, e->host, &list));
  *there = list.count > 0;
  zt_restart_list_free(&list);
  return ZT_OK;
}

static zt_status open_source(evaluator *e, const char *wish) {
  const zt_settings *s = e->settings;
  bool none = !strcmp(wish, "none"), require = !strcmp(wish, "require");
  bool there = require;
  if (!none && !require && strcmp(wish, "auto") != 0)
    return zt_open_source(wish, e->host, &e->source);
  if (!none && !require)
    ZT_TRY(find_run(e, &there));
  if (there)
    return zt_open_source(s->run.dir, e->host, &e->source);
  if (!*s->model.weights)
    return zt_fail(ZT_ERR_CONFIG,
                   "model.weights is missing, and there is no restart: set it "
                   "or give --restart PATH");
  return zt_open_source(s->model.weights, e->host, &e->source);
}

static zt_status open_data(evaluator *e) {
  zt_batch_spec spec = zt_batch_spec_of(e->settings, e->model);
  ZT_TRY(zt_plan_check_task(e->settings, e->model));
  ZT_TRY(zt_data_open_valid(e->settings, &spec, &e->valid));
  if (e->settings->train.eval_generate == 0)
    return ZT_OK;
  ZT_TRY(zt_model_stop_ids(e->source, e->model));
  return zt_answers_create(e->settings, e->model, &e->valid, &e->answers);
}

/* ---- With what ---- */

static zt_status open_backends(evaluator *e) {
  const zt_settings *s = e->settings;
  ZT_TRY(zt_agree(e->host, zt_check_launcher(e->host->size)));
  ZT_TRY(
      zt_open_device(s->runtime.device, s->runtime.threads, e->host, &e->dev));
  return zt_open_comm(s->runtime.comm, s->run.watchdog_seconds, e->host, e->dev,
                      &e->comm);
}

/* Parameters alone, and a pass that only goes forward. */
static zt_status make_step(evaluator *e) {
  zt_step_options options = zt_step_options_of(e->settings, e->model);
  zt_plan plan;
  int count;
  options.pass.training = false;
  options.evaluates = true;
  zt_status status =
      zt_plan_make(e->model, &options, e->dev, e->comm->size, &plan);
  if (status == ZT_OK)
    status = zt_plan_add_answers(&plan, e->model, e->settings, e->dev);
  zt_comm_local_rank(e->comm, &count);
  if (status == ZT_OK)
    status = zt_plan_check_memory(&plan, e->dev, count);
  ZT_TRY(zt_agree(e->comm, status));
  return zt_agree(e->comm, zt_step_create(e->model, e->dev, e->comm, &options,
                                          &plan.sizes, &e->phases, &e->step));
}

/* ---- All of it ---- */

static zt_status print(const evaluator *e, const zt_evaluation *r) {
  zt_field fields[ZT_EVALUATION_FIELDS + 1];
  zt_text line = {0};
  int n = zt_evaluation_fields(r, e->number, fields);
  fields[n++] = zt_field_real("seconds", r->seconds);
  zt_metrics_format(&line, "eval", fields, n);
  zt_status status =
      line.failed ? zt_fail(ZT_ERR_MEMORY, "out of memory") : ZT_OK;
  if (status == ZT_OK && (fputs(line.data, stdout) < 0 || fflush(stdout) != 0))
    status = zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
  zt_text_free(&line);
  ZT_TRY(status);
  zt_info("%s: loss %.4f, perplexity %.4g over %" PRId64 " targets in %.2f s",
          e->source->path, r->loss, r->perplexity, r->targets, r->seconds);
  return ZT_OK;
}

static zt_status run(evaluator *e, const char *wish) {
  zt_evaluation evaluation;
  ZT_TRY(zt_agree(e->host, zt_watch_pause()));
  ZT_TRY(open_source(e, wish));
  const zt_restart *restart = zt_restart_of(e->source);
  e->number = restart ? restart->step : 0;
  ZT_TRY(zt_agree(e->host,
                  zt_weights_model(e->source, e->settings->zero.unit_limit,
                                   &e->model, NULL)));
  ZT_TRY(zt_agree(e->host, open_data(e)));
  ZT_TRY(open_backends(e));
  ZT_TRY(make_step(e));
  ZT_TRY(zt_state_load(e->step->zero3, e->source));
  ZT_TRY(
      zt_evaluate(e->step, &e->valid, e->answers, e->number, 0, &evaluation));
  return zt_agree(e->host, e->host->rank == 0 ? print(e, &evaluation) : ZT_OK);
}

zt_status zt_evaluate_only(zt_program *program, const zt_settings *settings,
                           const char *restart) {
  evaluator e = {.settings = settings, .host = program->comm};
  zt_phases_init(&e.phases);
  zt_status status = run(&e, restart);
  zt_step_destroy(&e.step);
  zt_close_comm(e.host, &e.comm);
  zt_device_destroy(&e.dev);
  zt_answers_destroy(&e.answers);
  zt_data_close(&e.valid);
  zt_model_destroy(&e.model);
  zt_source_close(&e.source);
  return status;
}
