/* SPDX-License-Identifier: BSD-3-Clause */
/* Learning rates against the formulas of transformers.optimization:
 * get_linear_schedule_with_warmup and get_constant_schedule_with_warmup. */
#include "train/schedule.h"
#include "unit.h"

#include <math.h>

/* Factor of the learning rate that LambdaLR has for its step `now`, from 0. */
static double linear(int64_t now, int64_t warmup, int64_t steps) {
  if (now < warmup)
    return (double) now / fmax(1, (double) warmup);
  return fmax(0, (double) (steps - now) / fmax(1, (double) (steps - warmup)));
}

static double constant(int64_t now, int64_t warmup) {
  return now < warmup ? (double) now / fmax(1, (double) warmup) : 1;
}

static zt_settings settings_of(zt_schedule_kind kind, int64_t warmup,
                               int64_t steps) {
  zt_settings s = {0};
  s.train.steps = steps;
  s.train.optimizer.lr = 3e-4;
  s.train.schedule.name = kind;
  s.train.schedule.warmup = warmup;
  return s;
}

static const int64_t runs[][2] = {/* warm-up, steps */
                                  {0, 1},  {0, 10},  {1, 10},  {3, 10},
                                  {9, 10}, {10, 10}, {20, 10}, {100, 1000}};

START_TEST(schedules_are_transformers_own) {
  for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
    int64_t warmup = runs[i][0], steps = runs[i][1];
    zt_settings l = settings_of(ZT_SCHEDULE_LINEAR, warmup, steps);
    zt_settings c = settings_of(ZT_SCHEDULE_CONSTANT, warmup, steps);
    for (int64_t step = 1; step <= steps; step++) {
      ck_assert_double_eq_tol(zt_learning_rate(&l, step),
                              3e-4 * linear(step - 1, warmup, steps), 1e-18);
      ck_assert_double_eq_tol(zt_learning_rate(&c, step),
                              3e-4 * constant(step - 1, warmup), 1e-18);
    }
  }
}
END_TEST

/* A few by hand. */
START_TEST(known_rates) {
  zt_settings s = settings_of(ZT_SCHEDULE_LINEAR, 2, 6);
  const double wanted[] = {0, 1.5e-4, 3e-4, 2.25e-4, 1.5e-4, 0.75e-4};
  for (int step = 1; step <= 6; step++)
    ck_assert_double_eq_tol(zt_learning_rate(&s, step), wanted[step - 1],
                            1e-18);
  ck_assert_double_eq(zt_learning_rate(&s, 100), 0); /* beyond the last */
}
END_TEST

START_TEST(least_rate) {
  zt_settings s = settings_of(ZT_SCHEDULE_LINEAR, 2, 6);
  s.train.schedule.min_lr = 1e-4;
  const double wanted[] = {0, 1.5e-4, 3e-4, 2.5e-4, 2e-4, 1.5e-4, 1e-4, 1e-4};
  for (int step = 1; step <= 8; step++)
    ck_assert_double_eq_tol(zt_learning_rate(&s, step), wanted[step - 1],
                            1e-18);
  s.train.schedule.name = ZT_SCHEDULE_CONSTANT;
  ck_assert_double_eq(zt_learning_rate(&s, 6), 3e-4);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("schedule");
  TCase *all = tcase_create("all");
  tcase_add_test(all, schedules_are_transformers_own);
  tcase_add_test(all, known_rates);
  tcase_add_test(all, least_rate);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
