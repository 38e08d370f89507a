/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/trainer.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "report/runstate.h"
#include "train/attempts.h"
#include "train/schedule.h"
#include "train/trainer_inside.h"
#include "train/watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- One step ---- */

static const char *bad_name(const zt_trainer *t, const zt_step_result *r) {
  if (r->finite)
    return NULL;
  return r->bad >= 0 ? t->model->params.list[r->bad].name : "loss";
}

/* A step that is not finite changes nothing; too many in a row end the run. */
static zt_status count_skips(zt_trainer *t, const zt_step_result *r) {
  if (r->finite) {
    t->updates++;
    t->skips = 0;
    return ZT_OK;
  }
  t->skips++;
  if (t->root)
    zt_warn("step %" PRId64 " is skipped: %s is not finite", t->done,
            bad_name(t, r));
  if (t->skips <= t->settings->train.max_skips)
    return ZT_OK;
  return zt_fail(ZT_ERR_DIVERGED,
                 "diverged: %" PRId64 " steps in a row were not finite, the "
                 "last in %.80s; lower train.optimizer.lr",
                 t->skips, bad_name(t, r));
}

static zt_status record_step(zt_trainer *t, const zt_step_result *r, double lr,
                             double seconds) {
  const zt_pass_shape *shape = &t->step->options.pass;
  zt_train_line line = {.step = t->done,
                        .loss = r->loss,
                        .grad_norm = r->grad_norm,
                        .lr = lr,
                        .tokens = r->tokens,
                        .targets = r->targets,
                        .bad = bad_name(t, r),
                        .seconds = seconds,
                        .has_terms =
                            shape->label_smoothing > 0 || shape->z_loss > 0,
                        .objective = r->objective};
  ZT_TRY(zt_metrics_train(t->metrics, &line));
  if (t->tensorboard)
    zt_tensorboard_write(t->tensorboard, t->done,
                         (zt_scalar[]){{"train/loss", r->loss},
                                       {"train/grad_norm", r->grad_norm},
                                       {"train/lr", lr},
                                       {"train/objective", r->objective}},
                         line.has_terms ? 4 : 3);
  return ZT_OK;
}

/* Share of the time since the last line that all ranks spent in collectives. */
static zt_status take_wait(zt_trainer *t, double *share) {
  int64_t now = zt_clock_ns();
  int64_t spent[] = {t->comm->inside_ns - t->inside_ns, now - t->line_at};
  t->inside_ns = t->comm->inside_ns;
  t->line_at = now;
  ZT_TRY(zt_comm_all_reduce(t->comm, spent, 2, ZT_SUM));
  *share = spent[1] > 0 ? (double) spent[0] / (double) spent[1] : 0;
  return ZT_OK;
}

static zt_status say_progress(zt_trainer *t, const zt_step_result *r,
                              double lr) {
  int64_t memory = (int64_t) zt_private_bytes();
  double wait;
  char line[ZT_PROGRESS_SIZE];
  if (t->done % t->settings->log.every_steps != 0 && t->done != t->first + 1 &&
      t->done != t->settings->train.steps)
    return ZT_OK;
  ZT_TRY(zt_comm_all_reduce(t->comm, &memory, 1, ZT_MAX));
  ZT_TRY(take_wait(t, &wait));
  zt_progress_line p = {.step = t->done,
                        .steps = t->settings->train.steps,
                        .loss = r->loss,
                        .grad_norm = r->grad_norm,
                        .lr = lr,
                        .memory = (size_t) memory,
                        .wait_share = t->comm->size > 1 ? wait : 0,
                        .bad = bad_name(t, r),
                        .failed_saves = t->failures};
  zt_progress_take(&t->progress, zt_clock_ns(), &p);
  zt_info("%s", zt_progress_format(&p, line));
  return ZT_OK;
}

static zt_status run_step(zt_trainer *t) {
  zt_step_result result;
  double lr = zt_learning_rate(t->settings, t->done + 1);
  int64_t began = zt_clock_ns();
  ZT_TRY(zt_step_run(t->step, t->data.batch, t->done + 1, lr, t->updates + 1,
                     &result));
  int64_t took = zt_clock_ns() - began;
  t->done++;
  t->train_ns += took;
  if (took > t->longest_step)
    t->longest_step = took;
  t->tokens_done += result.tokens;
  zt_progress_step(&t->progress, result.tokens, 0);
  ZT_TRY(zt_agree(t->comm, record_step(t, &result, lr, 1e-9 * (double) took)));
  ZT_TRY(count_skips(t, &result));
  return say_progress(t, &result, lr);
}

/* ---- Saving and stopping ---- */

/* Asked for after a step, by rank 0's clock or on any rank. */
enum { ASK_SAVE, ASK_STOP, ASK_BUSY, ASKED };

static bool save_is_due(const zt_trainer *t, int64_t now) {
  const zt_settings *s = t->settings;
  if (s->restart.every_steps > 0 && t->done % s->restart.every_steps == 0)
    return true;
  return t->root && s->restart.every_minutes > 0 &&
         (double) (now - t->saved_at) >= 60e9 * s->restart.every_minutes;
}

/* Time is kept for one more step and a save, which may take twice what the
 * longest took; one under way comes first. */
static int64_t time_to_end(const zt_trainer *t) {
  int saves = zt_restart_running(t->writer) ? 3 : 2;
  return t->longest_step + saves * t->longest_save;
}

/* One all-reduce brings all wishes to all, and the state of a save. */
static zt_status ask(zt_trainer *t, int64_t asked[ASKED]) {
  int64_t now = zt_clock_ns();
  asked[ASK_SAVE] = save_is_due(t, now);
  asked[ASK_STOP] = zt_watch_wanted(time_to_end(t));
  asked[ASK_BUSY] = zt_restart_busy(t->writer);
  return zt_comm_all_reduce(t->comm, asked, ASKED, ZT_MAX);
}

/* What the steps done are of, added to what is to be said. */
static zt_status write_run(const zt_trainer *t, zt_runstate what) {
  char best[32];
  what.step = t->done;
  what.steps = t->settings->train.steps;
  what.restart = t->newest[0] ? t->newest : NULL;
  what.best = zt_trainer_best(t, best);
  return zt_runstate_write(t->settings->run.dir, &what);
}

static zt_status write_state(const zt_trainer *t, zt_run state,
                             const char *message) {
  if (!t->root)
    return ZT_OK;
  return write_run(
      t, (zt_runstate){.state = state, .rank = -1, .message = message});
}

/* Whoever is killed from here on leaves word of the newest restart. */
static void keep_state(zt_trainer *t) {
  if (!strcmp(t->told, t->newest))
    return;
  snprintf(t->told, sizeof t->told, "%s", t->newest);
  if (write_state(t, ZT_RUN_MORE, NULL) != ZT_OK)
    zt_warn("%s", zt_last_error());
}

static bool is_last(const zt_trainer *t) {
  return t->stopped || t->done == t->settings->train.steps;
}

/* The last step is no reason to stop, unless its evaluation is. */
static void note_stop(zt_trainer *t, int64_t why) {
  char reason[64];
  if (!why || (is_last(t) && !zt_trainer_eval_is_due(t)))
    return;
  t->stopped = why;
  zt_info("%s: stopping after step %" PRId64, zt_watch_reason(why, reason),
          t->done);
}

/* What the last life left out.  The restart it began with stands, and may prove
 * the best; of the last step the restart is written again, so that the next
 * start knows it is evaluated. */
static zt_status catch_up(zt_trainer *t) {
  bool better;
  if (!zt_trainer_eval_is_due(t))
    return ZT_OK;
  ZT_TRY(zt_trainer_evaluate(t, t->longest_save, &better));
  if (better)
    t->best = t->fresh;
  if (t->done < t->settings->train.steps || t->stopped)
    return ZT_OK;
  zt_attempts_end(t->root);
  return zt_trainer_save(t, true);
}

static zt_status do_step(zt_trainer *t) {
  int64_t asked[ASKED];
  bool better = false;
  ZT_TRY(run_step(t));
  if (t->done == t->first + 1)
    zt_attempts_end(t->root);
  ZT_TRY(ask(t, asked));
  ZT_TRY(zt_trainer_advance_save(t, asked[ASK_BUSY]));
  keep_state(t);
  note_stop(t, asked[ASK_STOP]);
  if (!t->stopped && zt_trainer_eval_is_due(t))
    ZT_TRY(zt_trainer_evaluate(t, time_to_end(t), &better));
  if (is_last(t) || asked[ASK_SAVE] ||
      (better && t->settings->restart.keep_best))
    ZT_TRY(zt_trainer_save(t, is_last(t)));
  return ZT_OK;
}

static zt_status loop(zt_trainer *t) {
  ZT_TRY(zt_agree(t->comm, zt_watch_pause()));
  ZT_TRY(catch_up(t));
  while (!is_last(t))
    ZT_TRY(do_step(t));
  if (t->failures > 0)
    return zt_fail(ZT_ERR_IO,
                   "%.150s (no restart of the last step %" PRId64 ")",
                   t->failure, t->done);
  return ZT_OK;
}

/* ---- The end ---- */

/* The plan is the run: what the arenas took, to the byte. */
static void check_plan(const zt_trainer *t) {
  zt_step_sizes used = zt_step_peak(t->step);
  const zt_step_sizes *planned = &t->plan.sizes;
  if (t->root)
    zt_info("memory: arenas took %s of the planned bytes",
            memcmp(&used, planned, sizeof used) ? "not all" : "exactly all");
}

static zt_status say_summary(zt_trainer *t) {
  zt_summary s;
  zt_text text = {0};
  char best[32];
  zt_summary_take(&t->phases, &s);
  ZT_TRY(zt_comm_all_reduce(t->comm, s.max, (int) (sizeof s.max / 8), ZT_MAX));
  ZT_TRY(zt_comm_all_reduce(t->comm, s.sum, (int) (sizeof s.sum / 8), ZT_SUM));
  s.inside = s.most_inside = t->comm->inside_ns;
  ZT_TRY(zt_comm_all_reduce(t->comm, &s.inside, 1, ZT_SUM));
  ZT_TRY(zt_comm_all_reduce(t->comm, &s.most_inside, 1, ZT_MAX));
  if (t->comm->size == 1)
    s.most_inside = 0;
  s.ranks = t->comm->size;
  s.step = t->done;
  s.steps = t->settings->train.steps;
  s.steps_here = t->done - t->first;
  s.train_seconds = 1e-9 * (double) t->train_ns;
  s.tokens = t->tokens_done;
  s.restarts = t->saves;
  s.restart_bytes = t->saved_bytes;
  s.restart_seconds = 1e-9 * (double) t->save_ns;
  s.restart = t->newest[0] ? t->newest : NULL;
  s.evaluations = t->evaluations;
  s.eval_seconds = 1e-9 * (double) t->eval_ns;
  s.eval_loss = t->last_eval;
  s.best = zt_trainer_best(t, best);
  s.best_loss = t->best.loss;
  s.resume = t->stopped ? t->request->resume_command : NULL;
  zt_summary_format(&s, &text);
  if (!text.failed)
    zt_info("%s", text.data);
  zt_text_free(&text);
  return ZT_OK;
}

/* What each file gave to the whole run. */
static void say_shares(zt_trainer *t) {
  for (int i = 0; i < t->data.n; i++) {
    zt_batch_share s = zt_batch_share_of(t->data.batch, i);
    int64_t places = zt_batch_places(t->data.batch, t->done, i);
    if (places >= 0)
      zt_info("data: %s gave %" PRId64 " samples (%.2f %%), %.2f epochs",
              s.path, places,
              100 * (double) places /
                  (double) (t->done * t->settings->train.batch),
              (double) places / (double) s.samples);
  }
}

static zt_status finish(zt_trainer *t) {
  char why[64];
  ZT_TRY(say_summary(t));
  say_shares(t);
  check_plan(t);
  ZT_TRY(zt_agree(
      t->comm,
      zt_metrics_line(
          t->metrics, "end",
          ZT_FIELDS(zt_field_int("step", t->done),
                    zt_field_text("state", t->stopped ? "more" : "done")))));
  return zt_agree(t->comm, t->stopped
                               ? write_state(t, ZT_RUN_MORE,
                                             zt_watch_reason(t->stopped, why))
                               : write_state(t, ZT_RUN_DONE, NULL));
}

/* ---- Failure ---- */

/* For the last words of a rank that cannot wait for the others. */
static const zt_trainer *dying;

static void write_failure(const zt_trainer *t, int code, int rank,
                          const char *message) {
  zt_attempts_note(code);
  write_run(t, (zt_runstate){.state = ZT_RUN_FAILED,
                             .code = code,
                             .rank = rank,
                             .message = message});
}

static void last_words(int code, const char *message) {
  if (dying && dying->ours)
    write_failure(dying, code, dying->comm->rank, message);
}

/* The main thread stands still: what it has written may be read. */
void zt_trainer_say_hang(void *trainer, int rank, const char *message) {
  write_failure(trainer, zt_status_exit_code(ZT_ERR_HANG), rank, message);
}

/* After an agreed failure; the message names the rank if there are several.
 * Without the lock the run is somebody else's. */
static void fail(const zt_trainer *t, zt_status status) {
  int rank = -1;
  char message[ZT_MESSAGE_SIZE];
  if (!t->root || !t->ours)
    return;
  snprintf(message, sizeof message, "%s", zt_last_error());
  sscanf(message, "rank %d:", &rank);
  write_failure(t, zt_status_exit_code(status), rank, message);
  zt_fail(status, "%s", message);
}

/* Before the first step: nothing is lost, and nothing won. */
static zt_status stop_early(const zt_trainer *t) {
  char message[ZT_MESSAGE_SIZE];
  snprintf(message, sizeof message, "%s before the first step",
           zt_last_error());
  zt_info("%s", message);
  return t->ours ? write_state(t, ZT_RUN_MORE, message) : ZT_OK;
}

/* ---- All of it ---- */

static zt_status run(zt_trainer *t) {
  bool finished;
  ZT_TRY(zt_trainer_start(t, &finished));
  if (finished) {
    zt_attempts_end(t->root);
    zt_info("the run is finished: step %" PRId64 " of %" PRId64 " is in %s",
            t->done, t->settings->train.steps, t->newest);
    return zt_agree(t->comm, write_state(t, ZT_RUN_DONE, NULL));
  }
  ZT_TRY(zt_agree(t->comm, write_state(t, ZT_RUN_MORE, NULL)));
  snprintf(t->told, sizeof t->told, "%s", t->newest);
  t->saved_at = t->line_at = zt_clock_ns();
  t->inside_ns = t->comm->inside_ns;
  zt_progress_start(&t->progress, t->line_at, 0);
  ZT_TRY(loop(t));
  return finish(t);
}

zt_status zt_train(const zt_train_request *request, zt_device *dev,
                   zt_comm *comm) {
  zt_trainer t = {.request = request,
                  .settings = request->settings,
                  .dev = dev,
                  .comm = comm,
                  .root = comm->rank == 0,
                  .candidate = -1,
                  .evaluated = -1,
                  .best = {.step = -1},
                  .fresh = {.step = -1}};
  zt_phases_init(&t.phases);
  zt_watch_limit(request->max_hours);
  dying = &t;
  zt_set_last_words(last_words);
  zt_status status = run(&t);
  if (status == ZT_STOPPED)
    status = zt_agree(comm, stop_early(&t));
  if (status != ZT_OK)
    fail(&t, status);
  zt_set_last_words(NULL);
  dying = NULL;
  zt_trainer_free(&t);
  return status;
}
