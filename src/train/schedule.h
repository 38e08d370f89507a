/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The learning rate as a function of the step: nothing to store or restore. */
#ifndef ZT_TRAIN_SCHEDULE_H
#define ZT_TRAIN_SCHEDULE_H

#include "base/settings.h"

/** Learning rate of a step, from 1: Hugging Face's schedule at step - 1.
 *  Warm-up from 0 to lr, then constant, or linear to min_lr at the last step.
 *  Local. */
double zt_learning_rate(const zt_settings *settings, int64_t step);

#endif
