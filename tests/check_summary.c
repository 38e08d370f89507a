/* SPDX-License-Identifier: BSD-3-Clause */
/* The progress line and the table at the end, against written-down text. */
#include "report/progress.h"
#include "report/summary.h"
#include "tests/unit.h"

#include <float.h>
#include <math.h>
#include <signal.h>
#include <string.h>

static const zt_progress_line usual = {.step = 1200,
                                       .steps = 20000,
                                       .loss = 3.21844,
                                       .grad_norm = 0.812,
                                       .lr = 9.41e-4,
                                       .memory = 1288490189,
                                       .token_rate = 412345,
                                       .peak_share = 0.381,
                                       .seconds_left = 11549};

START_TEST(golden_line) {
  char line[ZT_PROGRESS_SIZE];
  ck_assert_str_eq(zt_progress_format(&usual, line),
                   "step   1200/20000  loss  3.2184  norm   0.812  lr 9.41e-04 "
                   " 412.3k tok/s  38.1% peak  mem   1.20 GiB  left  3h12m");
  zt_progress_line l = usual;
  l.peak_share = -1;
  l.memory = 0;
  l.seconds_left = -1;
  l.step = 1;
  l.loss = 10.8;
  l.grad_norm = 123.4567;
  l.lr = 0;
  l.token_rate = 9.5;
  ck_assert_str_eq(zt_progress_format(&l, line),
                   "step      1/20000  loss 10.8000  norm 123.457  lr 0.00e+00 "
                   "    9.5 tok/s  left      ?");
  l.failed_saves = 2;
  ck_assert(strstr(zt_progress_format(&l, line), "?  SAVES FAILED 2"));
  l.bad = "encoder.final_layer_norm.weight";
  l.wait_share = 0.042;
  ck_assert_str_eq(
      zt_progress_format(&l, line),
      "step      1/20000  loss 10.8000  norm 123.457  lr 0.00e+00     9.5 "
      "tok/s  wait  4.2%  left      ?  SKIPPED for "
      "encoder.final_layer_norm.weight  SAVES FAILED 2");
}
END_TEST

START_TEST(columns_stay_in_place) {
  static const double values[] = {
      0.0,  1.0,  9.99999,   10.0, 99.99994, 99.999999, 100.0,    999.9999, 1e5,
      1e-2, 1e-3, 9.9999e-4, 1e-9, 1e30,     NAN,       INFINITY, 1e99};
  char line[ZT_PROGRESS_SIZE];
  size_t length = strlen(zt_progress_format(&usual, line));
  for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
    zt_progress_line l = usual;
    l.loss = l.grad_norm = values[i];
    l.token_rate = isfinite(values[i]) && values[i] < 9e17 ? values[i] : 0;
    l.seconds_left = values[i];
    l.step = (int64_t) i * 1000;
    ck_assert_msg(strlen(zt_progress_format(&l, line)) == length, "%g: %s",
                  values[i], line);
  }
}
END_TEST

START_TEST(times_and_counts) {
  static const struct {
    double seconds;
    const char *text;
  } times[] = {{0, "    0s"},      {59.4, "   59s"},  {59.6, " 1m00s"},
               {3599.6, " 1h00m"}, {86399, "23h59m"}, {86400, " 1d00h"},
               {8e6, "92d14h"},    {1e300, "     ?"}};
  char line[ZT_PROGRESS_SIZE], count[32];
  for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
    zt_progress_line l = usual;
    l.seconds_left = times[i].seconds;
    ck_assert_str_eq(strstr(zt_progress_format(&l, line), "left ") + 5,
                     times[i].text);
  }
  ck_assert_str_eq(zt_short_count(0, count), "0.0");
  ck_assert_str_eq(zt_short_count(999.94, count), "999.9");
  ck_assert_str_eq(zt_short_count(999.96, count), "1.0k");
  ck_assert_str_eq(zt_short_count(24.56e6, count), "24.6M");
  ck_assert_str_eq(zt_short_count(1.5e12, count), "1.5T");
}
END_TEST

/* Nothing that may come overflows the buffer. */
START_TEST(extreme_values) {
  char line[ZT_PROGRESS_SIZE];
  char name[1000] = "";
  memset(name, 'x', sizeof name - 1);
  zt_progress_line l = {INT64_MIN, INT64_MIN, -DBL_MAX,  -DBL_MAX,
                        -DBL_MAX,  SIZE_MAX,  INT64_MAX, DBL_MAX,
                        DBL_MAX,   DBL_MAX,   DBL_MAX,   name};
  ck_assert_uint_lt(strlen(zt_progress_format(&l, line)), ZT_PROGRESS_SIZE);
}
END_TEST

START_TEST(rates) {
  const int64_t s = 1000000000;
  zt_progress p;
  zt_progress_line l = {.step = 10, .steps = 110};
  zt_progress_start(&p, 5 * s, 2e12);
  for (int i = 0; i < 10; i++)
    zt_progress_step(&p, 1000, 4e11);
  zt_progress_take(&p, 9 * s, &l); /* 4 s */
  ck_assert_double_eq(l.token_rate, 2500);
  ck_assert_double_eq_tol(l.peak_share, 0.5, 1e-12);
  ck_assert_double_eq_tol(l.seconds_left, 40, 1e-9);
  /* The rate is that of the interval alone; the time left leans on both. */
  for (int i = 0; i < 10; i++)
    zt_progress_step(&p, 1000, 4e11);
  l.step = 20;
  zt_progress_take(&p, 10 * s, &l); /* 1 s */
  ck_assert_double_eq(l.token_rate, 10000);
  ck_assert_double_eq_tol(l.seconds_left, 90 * (0.7 * 0.4 + 0.3 * 0.1), 1e-9);
  /* No step, no time, no peak. */
  zt_progress_take(&p, 10 * s, &l);
  ck_assert(l.token_rate == 0 && l.peak_share == 0);
  zt_progress_start(&p, 0, 0);
  zt_progress_take(&p, s, &l);
  ck_assert(l.peak_share < 0 && l.seconds_left < 0);
}
END_TEST

START_TEST(stop_watch) {
  zt_phases p;
  zt_summary s = {.ranks = 1};
  zt_phases_init(&p);
  for (int i = 0; i < 3; i++) {
    zt_phase_start(&p, ZT_PHASE_FORWARD);
    for (int64_t from = zt_clock_ns(); zt_clock_ns() - from < 2000000;)
      ;
    zt_phase_stop(&p, ZT_PHASE_FORWARD);
  }
  zt_summary_take(&p, &s);
  int64_t forward = s.sum[ZT_PHASE_FORWARD];
  int64_t other = s.sum[ZT_PHASE_COUNT], total = s.sum[ZT_PHASE_COUNT + 1];
  ck_assert_int_ge(forward, 6000000);
  ck_assert_int_ge(other, 0);
  ck_assert_int_eq(forward + other, total);
  ck_assert_int_eq(s.max[ZT_PHASE_FORWARD], forward);
  ck_assert_int_eq(s.max[ZT_SUMMARY_ROWS + ZT_PHASE_FORWARD], -forward);
  ck_assert_int_eq(s.max[2 * ZT_SUMMARY_ROWS + ZT_PHASE_FORWARD], 3);
  ck_assert_int_gt(s.max[3 * ZT_SUMMARY_ROWS + ZT_PHASE_FORWARD], 0);
  ck_assert_int_eq(s.max[3 * ZT_SUMMARY_ROWS + ZT_PHASE_DATA], 0);
}
END_TEST

#ifndef NDEBUG
START_TEST(no_phase_in_a_phase) {
  zt_phases p;
  zt_phases_init(&p);
  zt_phase_start(&p, ZT_PHASE_DATA);
  zt_phase_start(&p, ZT_PHASE_GATHER);
}
END_TEST

START_TEST(no_stop_of_another) {
  zt_phases p;
  zt_phases_init(&p);
  zt_phase_start(&p, ZT_PHASE_DATA);
  zt_phase_stop(&p, ZT_PHASE_GATHER);
}
END_TEST
#endif

/* Two ranks, added up as the all-reduces would. */
static zt_summary two_ranks(void) {
  static const int64_t ns[2][ZT_SUMMARY_ROWS] = {
      {1500000000, 20000000, 3000000000, 10000000000, 20000000000, 4000000000,
       500000000, 0, 1000000000, 979999999, 40999999999},
      {1600000000, 60000000, 2000000000, 11000000000, 20500000000, 3000000000,
       500000000, 0, 1200000000, 1140000000, 41000000000}};
  static const int64_t calls[ZT_SUMMARY_ROWS] = {1,    50,   6000, 3000, 3000,
                                                 3000, 1000, 0,    2};
  zt_summary s = {.ranks = 2,
                  .step = 1200,
                  .steps = 20000,
                  .steps_here = 1000,
                  .train_seconds = 38.2,
                  .tokens = 24560000,
                  .restarts = 2,
                  .restart_bytes = (int64_t) 3 << 30,
                  .restart_seconds = 1.2,
                  .inside = 6150000000,
                  .most_inside = 4100000000,
                  .restart = "runs/t5/restart/step-000001200",
                  .resume = "ztrain t5.cfg"};
  for (int i = 0; i < ZT_SUMMARY_ROWS; i++) {
    int64_t a = ns[0][i], b = ns[1][i];
    s.sum[i] = a + b;
    s.max[i] = a > b ? a : b;
    s.max[ZT_SUMMARY_ROWS + i] = -a > -b ? -a : -b;
    s.max[2 * ZT_SUMMARY_ROWS + i] = calls[i];
    s.max[3 * ZT_SUMMARY_ROWS + i] = (int64_t) (i + 1) << 29;
  }
  return s;
}

START_TEST(golden_table) {
  /* clang-format off */
  static const char table[] =
      "phase          calls      min s      avg s      max s   share      memory\n"
      "load               1       1.50       1.55       1.60    3.8%  512.00 MiB\n"
      "data              50       0.02       0.04       0.06    0.1%    1.00 GiB\n"
      "gather          6000       2.00       2.50       3.00    6.1%    1.50 GiB\n"
      "forward         3000      10.00      10.50      11.00   25.6%    2.00 GiB\n"
      "backward        3000      20.00      20.25      20.50   49.4%    2.50 GiB\n"
      "reduce          3000       3.00       3.50       4.00    8.5%    3.00 GiB\n"
      "optimizer       1000       0.50       0.50       0.50    1.2%    3.50 GiB\n"
      "restart            2       1.00       1.10       1.20    2.7%    4.50 GiB\n"
      "other                      0.98       1.06       1.14    2.6%    5.00 GiB\n"
      "total                     41.00      41.00      41.00  100.0%    5.50 GiB\n";
  /* clang-format on */
  static const char more[] =
      "steps      1200 of 20000, 1000 of them in this part, 0.0382 s each\n"
      "tokens     24.6M, 642.9k a second\n"
      "waiting    7.5% of the time in collectives, 10.0% where it is most\n"
      "restarts   2, 3.00 GiB in 1.2 s, 2.68 GB/s\n"
      "newest     runs/t5/restart/step-000001200\n"
      "to continue: ztrain t5.cfg";
  zt_summary s = two_ranks();
  zt_text text = {0};
  zt_summary_format(&s, &text);
  ck_assert_uint_gt(text.size, sizeof table);
  ck_assert_str_eq(text.data + sizeof table - 1, more);
  text.data[sizeof table - 1] = '\0';
  ck_assert_str_eq(text.data, table);
  zt_text_free(&text);
}
END_TEST

START_TEST(a_run_without_anything) {
  zt_phases p;
  zt_summary s = {.ranks = 1, .step = 7, .steps = 7};
  zt_text text = {0};
  zt_phases_init(&p);
  zt_summary_take(&p, &s);
  zt_summary_format(&s, &text);
  ck_assert_ptr_nonnull(
      strstr(text.data, "\nsteps      7 of 7, 0 of them in this part\ndone"));
  zt_text_free(&text);
}
END_TEST

int main(void) {
  Suite *s = suite_create("summary");
  TCase *c = tcase_create("summary");
  tcase_add_test(c, golden_line);
  tcase_add_test(c, columns_stay_in_place);
  tcase_add_test(c, times_and_counts);
  tcase_add_test(c, extreme_values);
  tcase_add_test(c, rates);
  tcase_add_test(c, stop_watch);
#ifndef NDEBUG
  tcase_add_test_raise_signal(c, no_phase_in_a_phase, SIGABRT);
  tcase_add_test_raise_signal(c, no_stop_of_another, SIGABRT);
#endif
  tcase_add_test(c, golden_table);
  tcase_add_test(c, a_run_without_anything);
  suite_add_tcase(s, c);
  return unit_main(s, CK_FORK);
}
