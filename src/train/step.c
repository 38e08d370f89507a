/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/step.h"

#include "base/beat.h"
#include "base/memory.h"
#include "comm/agree.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct zt_step_inside {
  int32_t *ids; /* all inputs of this rank's micro-batches */
  size_t ids_bytes;
  zt_micro_batch *micro; /* [rounds] */
  int64_t *losses; /* [2, micro_batches] bits of fp64: cross-entropy, terms */
  int *visits;     /* stages, all rounds */
} zt_step_inside;

/* ---- Creation ---- */

static int64_t micro_batch_of(const zt_step *step, int64_t round) {
  return round * step->zero3->comm->size + step->zero3->comm->rank;
}

/* Ranks that have one of `count` micro-batches in this round: the first ones.
 */
static int sharers(const zt_step *step, int64_t count, int64_t round) {
  int64_t left = count - round * step->zero3->comm->size;
  int size = step->zero3->comm->size;
  return left < size ? (int) left : size;
}

static int contributors(const zt_step *step, int64_t round) {
  return sharers(step, step->micro_batches, round);
}

static int64_t rounds_of(const zt_step *step, int64_t count) {
  int size = step->zero3->comm->size;
  return (count + size - 1) / size;
}

static zt_status make_inputs(zt_step *step) {
  zt_step_inside *in = step->inside;
  const zt_pass_shape *p = &step->options.pass;
  size_t source = (size_t) (p->samples * p->source_length);
  size_t target = (size_t) (p->samples * p->target_length);
  size_t ints = source + (size_t) p->samples + (p->documents ? 3 : 2) * target;
  size_t rounds = (size_t) step->rounds;
  in->ids_bytes = rounds * ints * sizeof *in->ids;
  in->ids = zt_calloc(rounds * ints, sizeof *in->ids);
  in->micro = zt_calloc(rounds, sizeof *in->micro);
  in->losses = zt_calloc(2 * (size_t) step->micro_batches, sizeof *in->losses);
  if (!in->ids || !in->micro || !in->losses)
    return ZT_ERR_MEMORY;
  for (size_t i = 0; i < rounds; i++) {
    int32_t *at = in->ids + i * ints;
    in->micro[i] =
        (zt_micro_batch){.source = at,
                         .source_valid = at + source,
                         .target = at + source + p->samples,
                         .labels = at + source + p->samples + target};
    if (p->documents)
      in->micro[i].first = in->micro[i].labels + target;
  }
  return ZT_OK;
}

/* Forward through all stages and back again; the last one is visited once. */
static zt_status make_visits(zt_step *step) {
  int stages = step->zero3->model->n_stages, n = 2 * stages - 1;
  int *v = zt_calloc((size_t) (n * step->rounds), sizeof *v);
  if (!v)
    return ZT_ERR_MEMORY;
  for (int64_t i = 0; i < n * step->rounds; i++) {
    int place = (int) (i % n);
    v[i] = place < stages ? place : n - 1 - place;
  }
  step->inside->visits = v;
  return ZT_OK;
}

static zt_status make(zt_step *step, const zt_model *model, zt_device *dev,
                      zt_comm *comm, const zt_step_sizes *sizes) {
  const zt_step_options *o = &step->options;
  const bool adafactor = o->optim.kind == ZT_ADAFACTOR && o->pass.training;
  zt_zero3_options zero3 = {
      .training = o->pass.training,
      .moments = o->optim.kind == ZT_ADAMW,
      .statistics = adafactor ? zt_adafactor_statistics(&model->params) : 0,
      .prefetch = o->prefetch,
      .dtype = o->pass.dtype};
  ZT_TRY(zt_zero3_create(model, dev, comm, &zero3, sizes ? &sizes->zero3 : NULL,
                         &step->zero3));
  ZT_TRY(zt_pass_create(model, dev, &o->pass, sizes ? &sizes->pass : NULL,
                        &step->pass));
  step->pass->tape.vectors = step->zero3->vectors;
  if (o->pass.training)
    ZT_TRY(zt_optim_create(step->zero3, &o->optim, &step->optim));
  step->micro_batches = o->batch / o->microbatch;
  step->rounds = rounds_of(step, step->micro_batches);
  ZT_TRY(make_inputs(step));
  return make_visits(step);
}

zt_status zt_step_create(const zt_model *model, zt_device *dev, zt_comm *comm,
                         const zt_step_options *options,
                         const zt_step_sizes *sizes, zt_phases *phases,
                         zt_step **step) {
  zt_step *s = zt_calloc(1, sizeof *s);
  zt_step_inside *in = zt_calloc(1, sizeof *in);
  if (!s || !in) {
    free(s);
    free(in);
    return ZT_ERR_MEMORY;
  }
  *s = (zt_step){.options = *options, .phases = phases, .inside = in};
  zt_status status = make(s, model, dev, comm, sizes);
  if (status != ZT_OK) {
    zt_step_destroy(&s);
    return status;
  }
  *step = s;
  return ZT_OK;
}

void zt_step_destroy(zt_step **step) {
  if (!*step)
    return;
  zt_step_inside *in = (*step)->inside;
  zt_optim_destroy(&(*step)->optim);
  zt_pass_destroy(&(*step)->pass);
  zt_zero3_destroy(&(*step)->zero3);
  free(in->ids);
  free(in->micro);
  free(in->losses);
  free(in->visits);
  free(in);
  free(*step);
  *step = NULL;
}

zt_step_sizes zt_step_peak(const zt_step *step) {
  return (zt_step_sizes){.zero3 = zt_zero3_peak(step->zero3),
                         .pass = zt_pass_peak(step->pass),
                         .inputs = step->inside->ids_bytes,
                         .optim = zt_optim_bytes(step->optim)};
}

double zt_step_idle_share(const zt_step *step) {
  double places = (double) (step->rounds * step->zero3->comm->size);
  return 1 - (double) step->micro_batches / places;
}

/* ---- Data ---- */

/* All inputs of the step at once: the last thing that can fail for reasons of
 * one rank alone before the collectives begin. */
static zt_status read_inputs(zt_step *step, zt_batch *batch, int64_t number) {
  zt_comm *comm = step->zero3->comm;
  int64_t mb = step->options.microbatch;
  for (int64_t r = 0; r < step->rounds; r++)
    if (comm->rank < contributors(step, r))
      ZT_TRY(zt_batch_fill(batch, number, micro_batch_of(step, r) * mb, mb,
                           &step->inside->micro[r]));
  return ZT_OK;
}

static zt_status count_inputs(zt_step *step, zt_step_result *result) {
  int64_t counts[2] = {0, 0};
  for (int64_t r = 0; r < step->rounds; r++)
    if (step->zero3->comm->rank < contributors(step, r)) {
      counts[0] += step->inside->micro[r].tokens;
      counts[1] += step->inside->micro[r].targets;
    }
  ZT_TRY(zt_comm_all_reduce(step->zero3->comm, counts, 2, ZT_SUM));
  result->tokens = counts[0];
  result->targets = counts[1];
  return ZT_OK;
}

/* ---- Forward and backward ---- */

static zt_status visit(zt_step *step, const void **params) {
  zt_phase_start(step->phases, ZT_PHASE_GATHER);
  zt_status status = zt_zero3_visit(step->zero3, params);
  zt_phase_stop(step->phases, ZT_PHASE_GATHER);
  return status;
}

static zt_status reduce(zt_step *step, int stage, int64_t round) {
  zt_phase_start(step->phases, ZT_PHASE_REDUCE);
  zt_status status =
      zt_zero3_reduce(step->zero3, stage, contributors(step, round));
  zt_phase_stop(step->phases, ZT_PHASE_REDUCE);
  return status;
}

/* One stage of this rank's micro-batch; without one there is nothing to do. */
static zt_status compute(zt_step *step, bool active, int stage, bool backward,
                         const void *params) {
  bool turn = !backward && stage == step->zero3->model->n_stages - 1;
  zt_phase phase = backward ? ZT_PHASE_BACKWARD : ZT_PHASE_FORWARD;
  float *gradient = NULL;
  if (!active)
    return ZT_OK;
  zt_phase_start(step->phases, phase);
  if (turn || backward)
    ZT_TRY(zt_zero3_gradient(step->zero3, stage, &gradient));
  zt_status status = backward
                         ? zt_pass_backward(step->pass, stage, params, gradient)
                         : zt_pass_forward(step->pass, stage, params, gradient);
  zt_phase_stop(step->phases, phase);
  return status;
}

static zt_status begin_micro_batch(zt_step *step, bool real, int64_t number,
                                   int64_t round) {
  const zt_micro_batch *m = &step->inside->micro[round];
  if (!real)
    return zt_pass_begin(step->pass, NULL);
  int64_t first = micro_batch_of(step, round) * step->options.microbatch;
  return zt_pass_begin(step->pass,
                       &(zt_pass_input){.source = m->source,
                                        .source_valid = m->source_valid,
                                        .target = m->target,
                                        .labels = m->labels,
                                        .first = m->first,
                                        .seed = step->options.seed,
                                        .step = (uint32_t) number,
                                        .first_sample = (uint32_t) first});
}

/* For the report of a hang; planning has no part in that. */
static void place(const zt_step *step, bool real, int64_t number, int64_t round,
                  int stage) {
  int64_t micro = micro_batch_of(step, round);
  if (real)
    zt_beat_place(number, micro < step->micro_batches ? micro : -1,
                  step->zero3->model->stages[stage].unit);
}

static zt_status take_loss(zt_step *step, int64_t round) {
  int64_t *losses = step->inside->losses + micro_batch_of(step, round);
  double loss, terms;
  ZT_TRY(zt_pass_loss(step->pass, &loss));
  ZT_TRY(zt_pass_loss_terms(step->pass, &terms));
  memcpy(&losses[0], &loss, sizeof loss);
  memcpy(&losses[step->micro_batches], &terms, sizeof terms);
  return ZT_OK;
}

static void forget_losses(zt_step *step) {
  memset(step->inside->losses, 0,
         2 * (size_t) step->micro_batches * sizeof *step->inside->losses);
}

static zt_status run_round(zt_step *step, bool real, int64_t number,
                           int64_t round) {
  int last = step->zero3->model->n_stages - 1;
  bool active = step->zero3->comm->rank < contributors(step, round);
  const void *params;
  if (active)
    ZT_TRY(begin_micro_batch(step, real, number, round));
  for (int s = 0; s <= last; s++) {
    place(step, real, number, round, s);
    ZT_TRY(visit(step, &params));
    ZT_TRY(compute(step, active, s, false, params));
  }
  ZT_TRY(reduce(step, last, round));
  for (int s = last - 1; s >= 0; s--) {
    place(step, real, number, round, s);
    ZT_TRY(visit(step, &params));
    ZT_TRY(compute(step, active, s, true, params));
    ZT_TRY(reduce(step, s, round));
  }
  return active ? take_loss(step, round) : ZT_OK;
}

/* Each loss stands on one rank and is zero bits on the others, so the integer
 * sum brings all of them everywhere; the fold is in order of micro-batches. */
static zt_status fold_losses(zt_step *step, double sums[2]) {
  int64_t *losses = step->inside->losses, n = step->micro_batches;
  ZT_TRY(zt_comm_all_reduce(step->zero3->comm, losses, (int) (2 * n), ZT_SUM));
  for (int64_t k = 0; k < 2 * n; k++) {
    double loss;
    memcpy(&loss, &losses[k], sizeof loss);
    sums[k / n] += loss;
  }
  return ZT_OK;
}

static zt_status forward_and_backward(zt_step *step, bool real, int64_t number,
                                      zt_step_result *result) {
  int stages = step->zero3->model->n_stages;
  forget_losses(step);
  ZT_TRY(zt_zero3_begin_step(step->zero3));
  ZT_TRY(zt_zero3_plan_visits(step->zero3, step->inside->visits,
                              (int) step->rounds * (2 * stages - 1)));
  for (int64_t r = 0; r < step->rounds; r++)
    ZT_TRY(run_round(step, real, number, r));
  if (real)
    zt_beat_place(number, -1, -1);
  ZT_TRY(zt_zero3_finish(step->zero3));
  double sums[2] = {0, 0};
  ZT_TRY(fold_losses(step, sums));
  result->loss = sums[0] / (double) result->targets;
  result->objective = (sums[0] + sums[1]) / (double) result->targets;
  return ZT_OK;
}

static zt_status update(zt_step *step, double lr, int64_t t,
                        zt_step_result *result) {
  zt_phase_start(step->phases, ZT_PHASE_OPTIMIZER);
  ZT_TRY(zt_optim_norm(step->optim, result->targets, &result->grad_norm,
                       &result->bad));
  result->finite = isfinite(result->objective) && isfinite(result->grad_norm);
  if (result->finite)
    ZT_TRY(zt_optim_update(step->optim, result->grad_norm, result->targets, lr,
                           t));
  ZT_TRY(zt_device_wait(step->zero3->dev));
  zt_phase_stop(step->phases, ZT_PHASE_OPTIMIZER);
  return ZT_OK;
}

zt_status zt_step_run(zt_step *step, zt_batch *batch, int64_t number, double lr,
                      int64_t t, zt_step_result *result) {
  zt_comm *comm = step->zero3->comm;
  *result = (zt_step_result){.bad = -1};
  zt_pass_train(step->pass, true);
  if (batch)
    zt_beat_place(number, -1, -1);
  zt_phase_start(step->phases, ZT_PHASE_DATA);
  zt_status status = batch ? read_inputs(step, batch, number) : ZT_OK;
  status = zt_agree(comm, status);
  zt_phase_stop(step->phases, ZT_PHASE_DATA);
  ZT_TRY(status);
  status = count_inputs(step, result);
  if (status == ZT_OK && result->targets == 0 && batch)
    return zt_fail(ZT_ERR_DATA,
                   "step %ld: the batch has no target at all; drop empty "
                   "documents from data.train, or take a larger train.batch",
                   (long) number);
  if (!batch)
    result->targets = 1;
  if (status == ZT_OK)
    status = forward_and_backward(step, batch != NULL, number, result);
  if (status == ZT_OK)
    status = update(step, lr, t, result);
  /* A step that only counts has nobody to take along. */
  if (status != ZT_OK && batch)
    zt_fatal(comm, status);
  return status;
}

/* ---- Evaluation ---- */

/* Samples of a micro-batch of `n` samples in all. */
static int64_t samples_of(const zt_step *step, int64_t n, int64_t micro) {
  int64_t left = n - micro * step->options.microbatch;
  return left < step->options.microbatch ? left : step->options.microbatch;
}

/* The last micro-batch may have fewer samples than places: the first sample
 * once more fills them, without labels. */
static void fill_up(const zt_step *step, int64_t samples, zt_micro_batch *m) {
  const zt_pass_shape *p = &step->options.pass;
  const size_t source = (size_t) p->source_length;
  const size_t target = (size_t) p->target_length;
  for (size_t i = (size_t) samples; i < (size_t) p->samples; i++) {
    memcpy(m->source + i * source, m->source, source * sizeof *m->source);
    memcpy(m->target + i * target, m->target, target * sizeof *m->target);
    m->source_valid[i] = m->source_valid[0];
    if (m->first)
      memcpy(m->first + i * target, m->first, target * sizeof *m->first);
    for (size_t k = 0; k < target; k++)
      m->labels[i * target + k] = ZT_NO_LABEL;
  }
}

/* Inputs of this rank's micro-batches, and what the ranks have together. */
static zt_status read_samples(zt_step *step, zt_batch *batch, int64_t first,
                              int64_t n, int64_t counts[2]) {
  const int64_t mb = step->options.microbatch, all = (n + mb - 1) / mb;
  for (int64_t r = 0; r < rounds_of(step, all); r++) {
    int64_t micro = micro_batch_of(step, r);
    zt_micro_batch *m = &step->inside->micro[r];
    if (micro >= all)
      break;
    int64_t samples = samples_of(step, n, micro);
    ZT_TRY(zt_batch_fill(batch, 1, first + micro * mb, samples, m));
    fill_up(step, samples, m);
    counts[0] += m->tokens;
    counts[1] += m->targets;
  }
  return ZT_OK;
}

/* All stages forward; who has no micro-batch only gathers. */
static zt_status evaluate_round(zt_step *step, bool real, int64_t number,
                                int64_t round, bool active) {
  const void *params;
  if (active)
    ZT_TRY(begin_micro_batch(step, real, number, round));
  for (int s = 0; s < step->zero3->model->n_stages; s++) {
    place(step, real, number, round, s);
    ZT_TRY(zt_zero3_visit(step->zero3, &params));
    if (active)
      ZT_TRY(zt_pass_forward(step->pass, s, params, NULL));
  }
  ZT_TRY(zt_fault_check(ZT_FAULT_EVALUATE));
  return active ? take_loss(step, round) : ZT_OK;
}

static zt_status evaluate(zt_step *step, bool real, int64_t number,
                          int64_t count, double *loss) {
  const int stages = step->zero3->model->n_stages;
  forget_losses(step);
  zt_zero3_forget_units(step->zero3);
  zt_pass_train(step->pass, false);
  for (int64_t r = 0; r < rounds_of(step, count); r++) {
    bool active = step->zero3->comm->rank < sharers(step, count, r);
    /* The first visits of a round are those of a step: once forward. */
    ZT_TRY(zt_zero3_plan_visits(step->zero3, step->inside->visits, stages));
    ZT_TRY(evaluate_round(step, real, number, r, active));
  }
  double sums[2] = {*loss, 0};
  ZT_TRY(fold_losses(step, sums));
  *loss = sums[0]; /* the plain cross-entropy, whatever else is learnt */
  return ZT_OK;
}

zt_status zt_step_evaluate(zt_step *step, zt_batch *batch, int64_t number,
                           int64_t first, int64_t n, zt_step_sums *sums) {
  zt_comm *comm = step->zero3->comm;
  int64_t counts[2] = {0, 0}, mb = step->options.microbatch;
  if (batch) {
    zt_beat_place(number, -1, -1);
    ZT_TRY(zt_agree(comm, read_samples(step, batch, first, n, counts)));
  }
  zt_status status = zt_comm_all_reduce(comm, counts, 2, ZT_SUM);
  if (status == ZT_OK)
    status =
        evaluate(step, batch != NULL, number, (n + mb - 1) / mb, &sums->loss);
  if (status != ZT_OK && batch)
    zt_fatal(comm, status);
  sums->samples += n;
  sums->tokens += counts[0];
  sums->targets += counts[1];
  return status;
}
