/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/schedule.h"

double zt_learning_rate(const zt_settings *settings, int64_t step) {
  double lr = settings->train.optimizer.lr;
  double least = settings->train.schedule.min_lr;
  int64_t warmup = settings->train.schedule.warmup;
  int64_t steps = settings->train.steps, done = step - 1;
  if (done < warmup)
    return lr * ((double) done / (double) warmup);
  if (settings->train.schedule.name == ZT_SCHEDULE_CONSTANT)
    return lr;
  double left = (double) (steps - done) /
                (double) (steps - warmup > 1 ? steps - warmup : 1);
  return least + (lr - least) * (left > 0 ? left : 0);
}
