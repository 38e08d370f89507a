/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/evaluate.h"

#include "base/clock.h"
#include "train/watch.h"

#include <math.h>

/* One rank's wish is enough. */
static zt_status ask_to_stop(zt_comm *comm, int64_t needed, int64_t *why) {
  char reason[64];
  *why = zt_watch_wanted(needed);
  ZT_TRY(zt_comm_all_reduce(comm, why, 1, ZT_MAX));
  if (*why == ZT_STOP_NOT)
    return ZT_OK;
  return zt_fail(ZT_STOPPED, "%s", zt_watch_reason(*why, reason));
}

static zt_status evaluate_loss(zt_step *step, const zt_data *valid,
                               int64_t number, int64_t needed,
                               zt_evaluation *e) {
  const int64_t all = zt_batch_samples(valid->batch);
  const int64_t batch = step->options.batch;
  zt_step_sums sums = {0};
  for (int64_t first = 0; first < all; first += batch) {
    int64_t n = all - first < batch ? all - first : batch;
    ZT_TRY(ask_to_stop(step->zero3->comm, needed, &e->stopped));
    ZT_TRY(zt_step_evaluate(step, valid->batch, number, first, n, &sums));
  }
  if (sums.targets == 0)
    return zt_fail(ZT_ERR_DATA, "%s: its samples have no target at all",
                   zt_tokens_path(valid->tokens[0]));
  e->loss = sums.loss / (double) sums.targets;
  e->perplexity = exp(e->loss);
  e->samples = sums.samples;
  e->tokens = sums.tokens;
  e->targets = sums.targets;
  return ZT_OK;
}

zt_status zt_evaluate(zt_step *step, const zt_data *valid, zt_answers *answers,
                      int64_t number, int64_t needed,
                      zt_evaluation *evaluation) {
  zt_evaluation *e = evaluation;
  const int64_t began = zt_clock_ns();
  *e = (zt_evaluation){0};
  ZT_TRY(evaluate_loss(step, valid, number, needed, e));
  if (answers) {
    ZT_TRY(zt_answers_generate(answers, step, needed, &e->stopped));
    e->questions = answers->questions.count;
    e->exact = answers->exact;
    e->f1 = answers->f1;
  }
  e->seconds = 1e-9 * (double) (zt_clock_ns() - began);
  return ZT_OK;
}

int zt_evaluation_fields(const zt_evaluation *e, int64_t number,
                         zt_field fields[ZT_EVALUATION_FIELDS]) {
  int n = 0;
  fields[n++] = zt_field_int("step", number);
  fields[n++] = zt_field_real("loss", e->loss);
  fields[n++] = zt_field_real("perplexity", e->perplexity);
  fields[n++] = zt_field_int("samples", e->samples);
  fields[n++] = zt_field_int("tokens", e->tokens);
  fields[n++] = zt_field_int("targets", e->targets);
  if (e->questions > 0) {
    fields[n++] = zt_field_real("exact_match", e->exact);
    fields[n++] = zt_field_real("f1", e->f1);
  }
  return n;
}
