/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Evaluation: the loss of all samples of a validation set under the parameters
 *  as they are.  It is the sum of all token losses, in order of the
 *  micro-batches, by the number of targets, and has the same bits on every
 *  number of ranks. */
#ifndef ZT_TRAIN_EVALUATE_H
#define ZT_TRAIN_EVALUATE_H

#include "report/metrics.h"
#include "train/answers.h"
#include "train/data.h"
#include "train/step.h"

typedef struct zt_evaluation {
  double loss, perplexity; /* mean over the targets; its exponential */
  int64_t samples, tokens, targets;
  int64_t questions; /* 0: none were asked */
  double exact, f1;  /* of their answers (train/answers.h) */
  double seconds;
  int64_t stopped; /* why it was left (train/watch.h) */
} zt_evaluation;

/** Evaluate.
 *  Collective.  A failure while computing ends all ranks.
 *  \param[in]  answers     by generation; NULL: none
 *  \param[in]  number      of the step done
 *  \param[in]  needed      ns to keep for what comes after it
 *  \param[out] evaluation  the same on every rank but for the seconds
 *  \return agreed: ZT_STOPPED if one rank was asked to stop, ZT_ERR_DATA,
 *          ZT_ERR_IO. */
zt_status zt_evaluate(zt_step *step, const zt_data *valid, zt_answers *answers,
                      int64_t number, int64_t needed,
                      zt_evaluation *evaluation);

enum { ZT_EVALUATION_FIELDS = 8 };
/** What it found, as a line of metrics has it, without the time it took.
 *  Local.
 *  \param[in] number  of the step done
 *  \return how many fields there are */
int zt_evaluation_fields(const zt_evaluation *evaluation, int64_t number,
                         zt_field fields[ZT_EVALUATION_FIELDS]);

#endif
