/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"
#include "base/memory.h"
#include "base/settings_json.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "train/attempts.h"
#include "train/trainer_inside.h"
#include "train/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- The run's directory ---- */

/* With all that leads to it. */
static zt_status make_directories(const char *dir) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s", dir));
  for (char *c = path + 1; *c; c++)
    if (*c == '/') {
      *c = '\0';
      mkdir(path, 0777); /* the last one tells */
      *c = '/';
    }
  if (mkdir(path, 0777) != 0 && errno != EEXIST)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot make the run's directory",
                         dir);
  return ZT_OK;
}

/* Nothing is written there before the lock is held. */
static zt_status open_directory(zt_trainer *t) {
  char path[PATH_MAX];
  const char *dir = t->settings->run.dir;
  if (!t->root)
    return ZT_OK;
  ZT_TRY(make_directories(dir));
  ZT_TRY(zt_run_lock_take(dir, NULL, &t->lock));
  zt_watchdog_clean(dir);
  ZT_TRY(zt_path(path, "%s/log.txt", dir));
  ZT_TRY(zt_log_open(path));
  if (zt_run_lock_is_lease(t->lock))
    zt_info("%s: no locks there; RUN/lease keeps other trainers out", dir);
  return ZT_OK;
}

static zt_status start_watchdog(zt_trainer *t) {
  const zt_settings *s = t->settings;
  if (s->run.watchdog_seconds <= 0)
    return ZT_OK;
  return zt_watchdog_start(
      &(zt_watchdog_options){.run_dir = s->run.dir,
                             .rank = t->comm->rank,
                             .size = t->comm->size,
                             .seconds = s->run.watchdog_seconds,
                             .say = zt_trainer_say_hang,
                             .context = t},
      &t->watchdog);
}

/* From here on the run is ours, and watched. */
static zt_status open_run(zt_trainer *t) {
  ZT_TRY(zt_agree(t->comm, open_directory(t)));
  t->ours = true;
  return zt_agree(t->comm, start_watchdog(t));
}

/* ---- Model and data ---- */

static zt_status open_data(zt_trainer *t) {
  zt_batch_spec spec = zt_batch_spec_of(t->settings, t->model);
  ZT_TRY(zt_plan_check_task(t->settings, t->model));
  ZT_TRY(zt_data_open_train(t->settings, &spec, &t->data));
  if (t->settings->train.eval_every == 0)
    return ZT_OK;
  ZT_TRY(zt_data_open_valid(t->settings, &spec, &t->valid));
  if (t->settings->train.eval_generate == 0)
    return ZT_OK;
  ZT_TRY(t->request->take_texts(t->source, t->model, &t->tokenizer));
  return zt_answers_create(t->settings, t->model, &t->valid, &t->answers);
}

/* The plan is made before anything is allocated; arenas take what it says. */
static zt_status allocate(zt_trainer *t) {
  zt_step_options options = zt_step_options_of(t->settings, t->model);
  int count;
  zt_status status =
      zt_plan_make(t->model, &options, t->dev, t->comm->size, &t->plan);
  if (status == ZT_OK && t->answers)
    status = zt_plan_add_answers(&t->plan, t->model, t->settings, t->dev);
  if (status == ZT_OK)
    status = zt_plan_add_saves(&t->plan, t->model, t->settings,
                               zt_source_config_bytes(t->source));
  zt_comm_local_rank(t->comm, &count);
  if (status == ZT_OK)
    status = zt_plan_check_memory(&t->plan, t->dev, count);
  ZT_TRY(zt_agree(t->comm, status));
  return zt_agree(t->comm,
                  zt_step_create(t->model, t->dev, t->comm, &options,
                                 &t->plan.sizes, &t->phases, &t->step));
}

/* ---- Records ---- */

static json_t *hex(uint64_t digest) {
  char text[17];
  snprintf(text, sizeof text, "%016" PRIx64, digest);
  return json_string(text);
}

/* The resolved settings as one number, to see that two runs had the same. */
static json_t *digest_settings(json_t *configuration) {
  char *text = json_dumps(configuration, JSON_COMPACT | JSON_SORT_KEYS |
                                             JSON_REAL_PRECISION(17));
  json_t *digest = text ? hex(zt_digest_text(text)) : NULL;
  free(text);
  return digest;
}

/* Who computes, from what.  The weights are those the run began with. */
static zt_status make_provenance(zt_trainer *t) {
  const zt_restart *restart = zt_restart_of(t->source);
  json_t *weights = NULL;
  ZT_TRY(zt_settings_to_json(t->settings, &t->configuration));
  if (restart)
    weights = json_incref(json_object_get(
        json_object_get(restart->manifest, "provenance"), "weights"));
  else if (t->source->has_digest)
    weights = hex(t->source->digest);
  t->provenance = json_pack(
      "{s:s, s:s, s:s, s:i, s:o*, s:o, s:o}", "build", t->request->build,
      "libraries", t->request->libraries, "kernels", t->dev->kernels, "ranks",
      t->comm->size, "weights", weights, "data", zt_data_digest(&t->data),
      "configuration", digest_settings(t->configuration));
  return t->provenance ? ZT_OK : zt_fail(ZT_ERR_MEMORY, "out of memory");
}

/* The same in a line of the metrics. */
static zt_field provenance_field(const zt_trainer *t, const char *key) {
  return zt_field_text(key,
                       json_string_value(json_object_get(t->provenance, key)));
}

static json_t *describe_model(const zt_trainer *t) {
  return json_pack("{s:s, s:s, s:b, s:I}", "family", t->model->family->name,
                   "model_type", t->model->model_type, "tied",
                   t->model->shape.tied, "unit_limit",
                   (json_int_t) t->model->unit_limit);
}

static zt_status create_writer(zt_trainer *t) {
  const zt_restart_options options = zt_restart_options_of(t->settings);
  const zt_params *params = &t->model->params;
  if (options.statistics) {
    ZT_TRY(zt_agree(t->comm, zt_adafactor_stored(params, &t->stored)));
    params = &t->stored;
  }
  json_t *model = describe_model(t);
  zt_status status = zt_restart_writer_create(
      t->restart_dir, params, model, t->source, &options, t->comm, &t->writer);
  json_decref(model);
  if (status == ZT_OK)
    zt_optim_guard(t->step->optim, zt_trainer_guard, t);
  return status;
}

static zt_status say_placement(zt_trainer *t) {
  zt_text text = {0};
  ZT_TRY(zt_placement_take(t->comm, &t->placement));
  zt_placement_format(&t->placement, t->comm->size, &text);
  if (!text.failed)
    zt_info("%s", text.data);
  zt_text_free(&text);
  return ZT_OK;
}

static zt_status open_metrics(zt_trainer *t) {
  char path[PATH_MAX];
  zt_restart *restart = zt_restart_of(t->source);
  const zt_placement *p = &t->placement;
  if (!t->root)
    return ZT_OK;
  ZT_TRY(zt_path(path, "%s/metrics.jsonl", t->settings->run.dir));
  ZT_TRY(zt_metrics_open(path, restart ? restart->metrics_bytes : -1,
                         &t->metrics));
  ZT_TRY(zt_path(path, "%s/tensorboard", t->settings->run.dir));
  if (t->settings->log.tensorboard)
    t->tensorboard = zt_tensorboard_open(path, t->first + 1);
  return zt_metrics_line(
      t->metrics, "run",
      ZT_FIELDS(
          provenance_field(t, "build"), provenance_field(t, "libraries"),
          provenance_field(t, "kernels"), provenance_field(t, "weights"),
          provenance_field(t, "data"), provenance_field(t, "configuration"),
          zt_field_text("from", restart ? restart->path : t->source->path),
          zt_field_int("step", t->first), zt_field_int("ranks", t->comm->size),
          zt_field_int("nodes", p->nodes), zt_field_text("host", p->host),
          zt_field_text("cores", p->cores),
          zt_field_text("job", p->job[0] ? p->job : NULL),
          zt_field_int("life", p->life),
          zt_field_int("parameters", t->model->params.numel),
          zt_field_int("plan_bytes", (int64_t) t->plan.total)));
}

static void say_data(const zt_data *data) {
  for (int i = 0; i < data->n; i++) {
    zt_batch_share s = zt_batch_share_of(data->batch, i);
    char share[32] = "";
    if (data->n > 1)
      snprintf(share, sizeof share, ", %.2f %% of all", 100 * s.share);
    zt_info("data: %s, %" PRId64 " samples%s", s.path, s.samples, share);
  }
}

/* Of several files, who gives how much. */
static zt_status record_data(const zt_trainer *t) {
  for (int i = 0; t->metrics && t->data.n > 1 && i < t->data.n; i++) {
    zt_batch_share s = zt_batch_share_of(t->data.batch, i);
    ZT_TRY(zt_metrics_line(t->metrics, "data",
                           ZT_FIELDS(zt_field_text("file", s.path),
                                     zt_field_int("samples", s.samples),
                                     zt_field_real("share", s.share))));
  }
  return ZT_OK;
}

/* Its names are compared as settings; this is its content. */
static zt_status compare_data(const zt_trainer *t) {
  zt_restart *restart = zt_restart_of(t->source);
  const char *was = json_string_value(json_object_get(
      restart ? json_object_get(restart->manifest, "provenance") : NULL,
      "data"));
  const char *is = json_string_value(json_object_get(t->provenance, "data"));
  for (int i = 0; i < t->request->n_allow; i++)
    if (!strncmp(t->request->allow[i], "data.", 5))
      return ZT_OK;
  if (!was || !strcmp(was, is))
    return ZT_OK;
  return zt_fail(ZT_ERR_CONFIG,
                 "data.train (digest %.33s) is not what the restart was made "
                 "with (%.33s); put it back or say --allow-change data.train",
                 is, was);
}

static void say_plan(const zt_trainer *t) {
  char total[32];
  const zt_plan *p = &t->plan;
  zt_info("model: %s, %" PRId64 " parameters in %d units; %s", t->source->path,
          t->model->params.numel, t->model->params.n_units,
          t->model->shape.tied ? "head tied" : "own head");
  say_data(&t->data);
  zt_info("work: %d rank%s, %" PRId64 " micro-batches a step in %" PRId64
          " round%s; %s a rank; %s",
          p->ranks, p->ranks > 1 ? "s" : "", p->micro_batches, p->rounds,
          p->rounds > 1 ? "s" : "", zt_human_bytes((double) p->total, total),
          t->dev->kernels);
  if (t->valid.batch)
    zt_info("evaluation: %" PRId64 " samples, every %" PRId64 " steps",
            zt_batch_samples(t->valid.batch), t->settings->train.eval_every);
  if (p->idle > 0)
    zt_info("note: %" PRId64 " micro-batches on %d ranks leave %.0f %% of "
            "their turns idle",
            p->micro_batches, p->ranks, 100 * p->idle);
}

/* A resumed run that computes with other kernels goes on, with other bits. */
static void compare_kernels(const zt_trainer *t) {
  zt_restart *restart = zt_restart_of(t->source);
  const char *was = json_string_value(json_object_get(
      restart ? json_object_get(restart->manifest, "provenance") : NULL,
      "kernels"));
  if (was && strcmp(was, t->dev->kernels) != 0 && t->root)
    zt_warn("the restart was made with kernels \"%s\", these are \"%s\": bits "
            "will differ",
            was, t->dev->kernels);
}

/* ---- Start ---- */

/* Who says what to begin from has looked at what went wrong. */
static zt_status check_attempts(const zt_trainer *t) {
  bool automatic = !strcmp(t->request->restart, "auto") ||
                   !strcmp(t->request->restart, "require");
  return t->root && automatic ? zt_attempts_check(t->settings->run.dir) : ZT_OK;
}

/* Until a save is measured: it is taken to be four times slower than reading as
 * many bytes was. */
static void guess_save(zt_trainer *t) {
  enum { SLOWER = 4 };
  const bool all = t->step->zero3->options.moments && !zt_restart_of(t->source);
  int states = all ? ZT_STATES : 1;
  t->longest_save = SLOWER * states * t->phases.ns[ZT_PHASE_LOAD];
}

static zt_status prepare(zt_trainer *t) {
  ZT_TRY(zt_agree(t->comm, open_data(t)));
  ZT_TRY(allocate(t));
  zt_phase_start(&t->phases, ZT_PHASE_LOAD);
  zt_status status = zt_trainer_load(t);
  zt_phase_stop(&t->phases, ZT_PHASE_LOAD);
  ZT_TRY(status);
  guess_save(t);
  ZT_TRY(zt_agree(t->comm, make_provenance(t)));
  ZT_TRY(zt_agree(t->comm, compare_data(t)));
  ZT_TRY(create_writer(t));
  ZT_TRY(zt_agree(t->comm, open_metrics(t)));
  ZT_TRY(zt_agree(t->comm, record_data(t)));
  compare_kernels(t);
  say_plan(t);
  return ZT_OK;
}

zt_status zt_trainer_start(zt_trainer *t, bool *finished) {
  *finished = false;
  ZT_TRY(zt_path(t->restart_dir, "%s/restart", t->settings->run.dir));
  ZT_TRY(open_run(t));
  ZT_TRY(say_placement(t));
  ZT_TRY(zt_agree(t->comm, check_attempts(t)));
  zt_attempts_begin(t->settings->run.dir, t->comm->rank);
  ZT_TRY(zt_trainer_choose(t));
  zt_restart *restart = zt_restart_of(t->source);
  if (restart) {
    t->first = t->done = restart->step;
    snprintf(t->newest, sizeof t->newest, "%s", restart->name);
    zt_info("resuming from %s, made on %d rank%s", restart->path,
            restart->ranks, restart->ranks > 1 ? "s" : "");
  }
  ZT_TRY(zt_trainer_compare(t));
  if (restart)
    t->evaluated = restart->evaluated;
  if (restart && restart->step >= t->settings->train.steps &&
      !zt_trainer_eval_is_due(t)) {
    ZT_TRY(zt_trainer_recall(t));
    *finished = true;
    return ZT_OK;
  }
  ZT_TRY(zt_agree(t->comm,
                  zt_weights_model(t->source, t->settings->zero.unit_limit,
                                   &t->model, NULL)));
  ZT_TRY(prepare(t));
  if (zt_restart_of(t->source))
    ZT_TRY(zt_agree(t->comm, t->root ? zt_trainer_leave_branch(t) : ZT_OK));
  if (t->candidate >= 0) /* it may have fallen back */
    snprintf(t->newest, sizeof t->newest, "%s", t->list.names[t->candidate]);
  ZT_TRY(zt_trainer_recall(t));
  zt_source_close(&t->source);
  return ZT_OK;
}

void zt_trainer_free(zt_trainer *t) {
  zt_metrics_close(&t->metrics);
  zt_tensorboard_close(&t->tensorboard);
  zt_restart_writer_destroy(&t->writer);
  zt_params_free(&t->stored);
  zt_watchdog_stop(&t->watchdog);
  zt_step_destroy(&t->step);
  zt_answers_destroy(&t->answers);
  zt_tokenizer_close(&t->tokenizer);
  zt_data_close(&t->valid);
  zt_data_close(&t->data);
  zt_model_destroy(&t->model);
  zt_source_close(&t->source);
  zt_restart_list_free(&t->list);
  json_decref(t->configuration);
  json_decref(t->provenance);
  zt_run_unlock(&t->lock);
}
