/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Evaluation by generation: what a model answers to the questions of a
 *  validation set.
 *
 *  With an encoder a question is the source of a sample, the answer expected
 *  its labels. Without one a question is all of a document before tokens that
 *  are learnt (the source of a pair, a conversation so far), the answer
 *  expected these tokens. Answers are generated greedily, all ranks in step.
 *
 *  Exact match: the share of answers that equal what was expected.  F1: their
 *  mean 2 c / (a + b), with a and b the numbers of tokens and c of those in
 *  common, wherever they stand (each as often as it is in both), as SQuAD
 *  counts words.  Both compare ids, without the one that ends a text. */
#ifndef ZT_TRAIN_ANSWERS_H
#define ZT_TRAIN_ANSWERS_H

#include "train/data.h"
#include "train/generate.h"
#include "train/step.h"

typedef struct zt_answers {
  zt_generate_spec spec;
  zt_sequences questions, expected;
  zt_sequences given; /* the last answers */
  double exact, f1;   /* of these */
} zt_answers;

/** How answers are generated under a configuration.  Local.
 *  \return ZT_ERR_CONFIG if there is no room for any question. */
zt_status zt_answers_spec(const zt_settings *settings, const zt_model *model,
                          zt_generate_spec *spec);
/** Take the first train.eval_generate questions.
 *  Local.
 *  \param[out] answers  zt_answers_destroy() it
 *  \return ZT_ERR_CONFIG, ZT_ERR_DATA for files without questions, ZT_ERR_IO,
 *          ZT_ERR_MEMORY. */
zt_status zt_answers_create(const zt_settings *settings, const zt_model *model,
                            const zt_data *valid, zt_answers **answers);
/** Sets *answers to NULL; NULL is allowed. */
void zt_answers_destroy(zt_answers **answers);

/** Answer all questions with the parameters of a step, and compare.
 *  Collective.
 *  \param[in]  needed   ns to keep for what comes after it
 *  \param[out] stopped  with ZT_STOPPED: why (train/watch.h)
 *  \return agreed, as zt_generate(). */
zt_status zt_answers_generate(zt_answers *answers, const zt_step *step,
                              int64_t needed, int64_t *stopped);

/** Compare two lists of texts.  Local.
 *  \return ZT_ERR_MEMORY. */
zt_status zt_answers_compare(const zt_model *model,
                             const zt_sequences *expected,
                             const zt_sequences *given, double *exact,
                             double *f1);

#endif
