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

/* What transformers 5.23.0 gives: get_cosine_schedule_with_warmup
 * (with_min_lr), get_inverse_sqrt_schedule, get_wsd_schedule. */
static const struct {
  zt_schedule_kind kind;
  int64_t warmup, steps, decay;
  double least;
  double factors[9];
} stored[] = {
    {ZT_SCHEDULE_COSINE,
     2,
     8,
     0,
     0.0,
     {0.0, 0.5, 1.0, 0.9330127018922194, 0.75, 0.5, 0.2500000000000001,
      0.06698729810778065}},
    {ZT_SCHEDULE_COSINE,
     0,
     5,
     0,
     0.1,
     {1.0, 0.9140576474687263, 0.6890576474687263, 0.41094235253127376,
      0.18594235253127372}},
    {ZT_SCHEDULE_INVERSE_SQRT,
     3,
     8,
     0,
     0.0,
     {0.0, 0.3333333333333333, 0.6666666666666666, 1.0, 0.8660254037844387,
      0.7745966692414834, 0.7071067811865475, 0.6546536707079771}},
    {ZT_SCHEDULE_INVERSE_SQRT,
     0,
     4,
     0,
     0.0,
     {1.0, 0.9999500037496877, 0.9999000149975006, 0.9998500337415648}},
    {ZT_SCHEDULE_WSD,
     2,
     9,
     4,
     0.0,
     {0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 0.8535533905932737, 0.5,
      0.14644660940672627}},
    {ZT_SCHEDULE_WSD,
     2,
     9,
     3,
     0.25,
     {0.25, 0.625, 1.0, 1.0, 1.0, 1.0, 1.0, 0.8125, 0.4375000000000001}},
};

START_TEST(stored_rates) {
  zt_settings s =
      settings_of(stored[_i].kind, stored[_i].warmup, stored[_i].steps);
  s.train.schedule.decay = stored[_i].decay;
  s.train.schedule.min_lr = stored[_i].least * s.train.optimizer.lr;
  for (int64_t step = 1; step <= stored[_i].steps; step++)
    ck_assert_double_eq_tol(zt_learning_rate(&s, step),
                            3e-4 * stored[_i].factors[step - 1], 1e-18);
  double beyond = zt_learning_rate(&s, 100 * stored[_i].steps);
  ck_assert_double_ge(beyond, s.train.schedule.min_lr);
  ck_assert_double_le(beyond, 3e-4 * stored[_i].factors[stored[_i].steps - 1]);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("schedule");
  TCase *all = tcase_create("all");
  tcase_add_test(all, schedules_are_transformers_own);
  tcase_add_test(all, known_rates);
  tcase_add_test(all, least_rate);
  tcase_add_loop_test(all, stored_rates, 0, sizeof stored / sizeof *stored);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
