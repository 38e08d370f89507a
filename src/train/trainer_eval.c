/* SPDX-License-Identifier: BSD-3-Clause */
/* Evaluations in a run: when they are due, what is said of them, and which
 * restart is the best. */
#include "base/log.h"
#include "base/text.h"
#include "comm/agree.h"
#include "train/trainer_inside.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

bool zt_trainer_eval_is_due(const zt_trainer *t) {
  int64_t every = t->settings->train.eval_every;
  return every > 0 && t->done > 0 && t->done != t->evaluated &&
         (t->done % every == 0 || t->done == t->settings->train.steps);
}

/* A best one whose restart is under way counts: its save seldom fails. */
static bool is_better(const zt_trainer *t, double loss) {
  bool coming = t->fresh.step >= 0 && t->fresh.step == t->saving &&
                zt_restart_running(t->writer);
  const zt_best *best = coming ? &t->fresh : &t->best;
  return isfinite(loss) && (best->step < 0 || loss < best->loss);
}

/* What it took is no part of training: rates and waiting shares leave it out.
 */
static void leave_out(zt_trainer *t, int64_t began, int64_t inside) {
  int64_t took = zt_clock_ns() - began;
  t->eval_ns += took;
  t->line_at += took;
  t->inside_ns += t->comm->inside_ns - inside;
  zt_progress_pause(&t->progress, took);
}

enum { SHOWN = 64 }; /* tokens of a text in the log */

static zt_status add_words(const zt_trainer *t, const zt_sequences *s,
                           int64_t i, zt_text *line) {
  const int32_t *ids = s->ids + s->start[i];
  int64_t n = s->start[i + 1] - s->start[i];
  zt_text text = {0};
  zt_status status = ZT_OK;
  n = n < SHOWN ? n : SHOWN;
  if (t->tokenizer)
    status = zt_tokenizer_decode(t->tokenizer, ids, (size_t) n, &text);
  for (int64_t k = 0; k < n && !t->tokenizer; k++)
    zt_text_add(&text, "%s%" PRId32, k ? " " : "", ids[k]);
  zt_text_add_json(line, text.data ? text.data : "", text.size);
  zt_text_free(&text);
  return status;
}

/* Beginnings of the first questions and answers. */
static zt_status show_answers(const zt_trainer *t) {
  const zt_answers *a = t->answers;
  zt_status status = ZT_OK;
  for (int64_t i = 0;
       i < t->settings->log.samples && i < a->given.count && status == ZT_OK;
       i++) {
    zt_text line = {0};
    status = add_words(t, &a->questions, i, &line);
    zt_text_add(&line, " gives ");
    if (status == ZT_OK)
      status = add_words(t, &a->given, i, &line);
    zt_text_add(&line, ", expected ");
    if (status == ZT_OK)
      status = add_words(t, &a->expected, i, &line);
    if (status == ZT_OK && !line.failed)
      zt_info("answer %" PRId64 ": %s", i + 1, line.data);
    zt_text_free(&line);
  }
  return status;
}

static zt_status record_loss(const zt_trainer *t, const zt_evaluation *e,
                             bool better) {
  zt_field fields[ZT_EVALUATION_FIELDS + 2];
  int n = zt_evaluation_fields(e, t->done, fields);
  fields[n++] = zt_field_flag("best", better);
  fields[n++] = zt_field_real("seconds", e->seconds);
  return zt_metrics_line(t->metrics, "eval", fields, n);
}

static zt_status record(zt_trainer *t, const zt_evaluation *e, bool better) {
  if (!t->root)
    return ZT_OK;
  zt_info("evaluation after step %" PRId64 ": loss %.4f, perplexity %.4g over "
          "%" PRId64 " targets in %.2f s%s",
          t->done, e->loss, e->perplexity, e->targets, e->seconds,
          better ? ", the best" : "");
  if (e->questions > 0) {
    zt_info("answers after step %" PRId64 ": exact match %.4f, F1 %.4f of "
            "%" PRId64 " questions",
            t->done, e->exact, e->f1, e->questions);
    ZT_TRY(show_answers(t));
  }
  if (t->tensorboard)
    zt_tensorboard_write(t->tensorboard, t->done,
                         (zt_scalar[]){{"eval/loss", e->loss},
                                       {"eval/perplexity", e->perplexity},
                                       {"eval/exact_match", e->exact},
                                       {"eval/f1", e->f1}},
                         e->questions > 0 ? 4 : 2);
  return record_loss(t, e, better);
}

const char *zt_trainer_best(const zt_trainer *t, char name[32]) {
  if (t->best.step < 0 || !t->settings->restart.keep_best)
    return NULL;
  snprintf(name, 32, "step-%09" PRId64, t->best.step);
  return name;
}

/* It may have been removed, or belong to another run's directory. */
zt_status zt_trainer_recall(zt_trainer *t) {
  const zt_restart *restart = zt_restart_of(t->source);
  char name[32], path[PATH_MAX];
  if (!restart)
    return ZT_OK;
  t->evaluated = restart->evaluated;
  t->best = (zt_best){restart->best_step, restart->best_loss};
  if (!zt_trainer_best(t, name))
    return ZT_OK;
  ZT_TRY(zt_path(path, "%s/%s", t->restart_dir, name));
  int64_t there = t->root && access(path, F_OK) == 0;
  ZT_TRY(zt_comm_all_reduce(t->comm, &there, 1, ZT_MAX));
  if (there)
    return ZT_OK;
  zt_info("note: %s, the best by evaluation so far, is not there any more",
          path);
  t->best.step = -1;
  return ZT_OK;
}

zt_status zt_trainer_evaluate(zt_trainer *t, int64_t needed, bool *better) {
  zt_evaluation e;
  int64_t began = zt_clock_ns(), inside = t->comm->inside_ns;
  *better = false;
  zt_phase_start(&t->phases, ZT_PHASE_EVAL);
  zt_status status =
      zt_evaluate(t->step, &t->valid, t->answers, t->done, needed, &e);
  zt_phase_stop(&t->phases, ZT_PHASE_EVAL);
  leave_out(t, began, inside);
  if (status == ZT_STOPPED) {
    zt_info("%s: the evaluation after step %" PRId64 " is left to the next "
            "start",
            zt_last_error(), t->done);
    t->stopped = e.stopped;
    return ZT_OK;
  }
  ZT_TRY(status);
  *better = is_better(t, e.loss);
  t->evaluated = t->done;
  t->evaluations++;
  t->last_eval = e.loss;
  if (*better)
    t->fresh = (zt_best){.step = t->done, .loss = e.loss};
  return zt_agree(t->comm, record(t, &e, *better));
}
