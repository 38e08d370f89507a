/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  One optimizer step: the micro-batches of the global batch in rounds, one a
 *  rank, forward and backward under ZeRO-3, then the update.
 *
 *  The same code on a device and a communicator that only count is the plan. */
#ifndef ZT_TRAIN_STEP_H
#define ZT_TRAIN_STEP_H

#include "model/pass.h"
#include "report/summary.h"
#include "train/batch.h"
#include "train/optim.h"
#include "train/zero3.h"

typedef struct zt_step_options {
  int64_t batch, microbatch; /* samples */
  uint64_t seed;
  zt_pass_shape pass; /* samples = microbatch; without `training` a step can
                         only evaluate, and has parameters alone */
  int prefetch;
  bool evaluates; /* zt_step_evaluate() will be called: counted in plans */
  zt_optim_options optim;
} zt_step_options;

/** Arena sizes in bytes; made by planning. */
typedef struct zt_step_sizes {
  zt_zero3_sizes zero3;
  zt_pass_sizes pass;
  size_t inputs; /* host: token ids of one step */
  size_t optim;  /* what the optimizer works with */
} zt_step_sizes;

typedef struct zt_step_result {
  double loss;      /* mean over the targets of the global batch */
  double objective; /* what is learnt: that with label smoothing and z-loss */
  double grad_norm; /* of its gradient, before clipping */
  int64_t tokens, targets;
  bool finite; /* else nothing was updated */
  int bad;     /* first parameter with a gradient that is not finite, -1 */
} zt_step_result;

/** Sums over samples that were evaluated. */
typedef struct zt_step_sums {
  double loss; /* of the targets */
  int64_t samples, tokens, targets;
} zt_step_sums;

typedef struct zt_step {
  zt_step_options options;
  zt_zero3 *zero3;
  zt_pass *pass;
  zt_optim *optim;   /* NULL if it only evaluates */
  zt_phases *phases; /* the caller's */
  int64_t micro_batches, rounds;
  struct zt_step_inside *inside;
} zt_step;

/** Local.
 *  \param[in] sizes   what planning found; NULL on a device that only counts
 *  \param[in] phases  must stay
 *  \return ZT_ERR_MEMORY. */
zt_status zt_step_create(const zt_model *model, zt_device *dev, zt_comm *comm,
                         const zt_step_options *options,
                         const zt_step_sizes *sizes, zt_phases *phases,
                         zt_step **step);
/** Local.  Sets *step to NULL; NULL is allowed. */
void zt_step_destroy(zt_step **step);
/** Most memory used since creation.  Local. */
zt_step_sizes zt_step_peak(const zt_step *step);

/** Run one step.
 *  Collective.  A failure while computing ends all ranks (zt_fatal).
 *  \param[in]  batch   NULL on a device that only counts
 *  \param[in]  number  of the step, from 1
 *  \param[in]  update  number of the update it will be, from 1
 *  \return agreed: ZT_ERR_DATA, ZT_ERR_IO of the token file; without a batch,
 *          local: ZT_ERR_MEMORY, ZT_ERR_INTERNAL. */
zt_status zt_step_run(zt_step *step, zt_batch *batch, int64_t number, double lr,
                      int64_t update, zt_step_result *result);

/** Add the losses of samples first .. first + n - 1 under the parameters as
 *  they are: forward alone, nothing dropped.  The sum is in order of the
 *  micro-batches, on whatever ranks they are.
 *  Collective.  A failure while computing ends all ranks (zt_fatal).
 *  \param[in]     batch   in sequential order; NULL on a device that counts
 *  \param[in]     number  of the step done, for reports of a hang
 *  \param[in]     n       at most options.batch; whole micro-batches, but for
 *                         the last samples of all
 *  \param[in,out] sums    the same on every rank
 *  \return as zt_step_run(). */
zt_status zt_step_evaluate(zt_step *step, zt_batch *batch, int64_t number,
                           int64_t first, int64_t n, zt_step_sums *sums);

/** Share of ranks x rounds without a micro-batch, 0 .. 1.  Local. */
double zt_step_idle_share(const zt_step *step);

#endif
