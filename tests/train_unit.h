/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the tests of training share: small models with weights that do not
 *  depend on ranks, a token file, and the options of a step. */
#ifndef ZT_TESTS_TRAIN_UNIT_H
#define ZT_TESTS_TRAIN_UNIT_H

#include "train/batch.h"
#include "train/plan.h"
#include "train/step.h"

enum { TRAIN_SOURCE = 24, TRAIN_TARGET = 12, TRAIN_PAIRS = 64 };

/** The model of tests/golden/NAME: t5v10tiny and gpt2tiny are tied, t5v11tiny
 *  and llamatiny are not. */
zt_model *train_model(const char *name, int64_t unit_limit);

/** Give all parameters their initial values: the element of a parameter has the
 *  same value on any number of ranks. */
void train_fill(zt_zero3 *zero3);

/** A file of pairs of all lengths, longer than the step takes them and shorter.
 *  The path may exist. */
void train_write_tokens(const char *path);
/** A file of texts, for models without an encoder. */
void train_write_texts(const char *path);
/** Write and open what the model is trained on; the path may exist. */
void train_open_tokens(const zt_model *model, const char *path,
                       zt_tokens **tokens);

/** Samples of that file as a step takes them, in shuffled order. */
zt_batch *train_batch(zt_tokens *tokens, const zt_model *model,
                      const zt_step_options *options);

/** AdamW with clipping and decay, recompute on, no dropout. */
zt_step_options train_options(int64_t batch, int64_t microbatch);
/** The same, with the lengths that the model takes: without an encoder all
 *  tokens are target. */
zt_step_options train_options_of(const zt_model *model, int64_t batch,
                                 int64_t microbatch);

/** A step with as much memory as its plan asks for, weights filled in. */
zt_step *train_step(const zt_model *model, zt_device *dev, zt_comm *comm,
                    const zt_step_options *options);

#endif
