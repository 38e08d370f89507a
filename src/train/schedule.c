/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/schedule.h"

#include <math.h>

enum { TIMESCALE = 10000 }; /* of inverse-sqrt without a warm-up */

static double share(int64_t part, int64_t whole) {
  return (double) part / (double) (whole > 1 ? whole : 1);
}

/* From 1 at share 0 to 0 at share 1. */
static double half_cosine(double x) {
  return x < 1 ? 0.5 * (1 + cos(M_PI * x)) : 0;
}

/* As Adafactor has it, whatever the schedule says. */
static double relative_step(bool warmup, int64_t step) {
  return fmin(warmup ? 1e-6 * (double) step : 1e-2, 1 / sqrt((double) step));
}

double zt_learning_rate(const zt_settings *settings, int64_t step) {
  if (settings->train.optimizer.relative_step)
    return relative_step(settings->train.optimizer.warmup_init, step);
  double lr = settings->train.optimizer.lr;
  double least = settings->train.schedule.min_lr;
  int64_t warmup = settings->train.schedule.warmup;
  int64_t steps = settings->train.steps, done = step - 1;
  int64_t stable = steps - settings->train.schedule.decay;
  zt_schedule_kind kind = settings->train.schedule.name;
  if (done < warmup) {
    double from = kind == ZT_SCHEDULE_WSD ? least : 0;
    return from + (lr - from) * ((double) done / (double) warmup);
  }
  switch (kind) {
  case ZT_SCHEDULE_CONSTANT:
    return lr;
  case ZT_SCHEDULE_COSINE:
    return least +
           (lr - least) * half_cosine(share(done - warmup, steps - warmup));
  case ZT_SCHEDULE_INVERSE_SQRT: {
    double timescale = warmup > 0 ? (double) warmup : TIMESCALE;
    return lr / sqrt(((double) (done - warmup) + timescale) / timescale);
  }
  case ZT_SCHEDULE_WSD:
    if (done < stable)
      return lr;
    return least +
           (lr - least) * half_cosine(share(done - stable, steps - stable));
  case ZT_SCHEDULE_LINEAR:
    break;
  }
  double left = share(steps - done, steps - warmup);
  return least + (lr - least) * (left > 0 ? left : 0);
}
