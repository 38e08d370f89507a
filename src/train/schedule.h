/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The learning rate as a function of the step: nothing to store or restore. */
#ifndef ZT_TRAIN_SCHEDULE_H
#define ZT_TRAIN_SCHEDULE_H

#include "base/settings.h"

/** Learning rate of a step, from 1: Hugging Face's schedule at step - 1.
 *  Warm-up from 0 to lr, then by the schedule's name:
 *    linear, cosine  to min_lr at the last step, in a line or half a wave
 *    constant        stays
 *    inverse-sqrt    falls with the square root of the step
 *    wsd             stays, and falls to min_lr over the last `decay` steps in
 *                    half a wave; its warm-up begins at min_lr
 *  Local. */
double zt_learning_rate(const zt_settings *settings, int64_t step);

#endif
