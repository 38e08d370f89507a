/* SPDX-License-Identifier: BSD-3-Clause */
/* Wishes to stop, limits of time, the ring of beats, the watchdog and what its
 * reports say. */
#include "base/beat.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/ticker.h"
#include "child.h"
#include "report/hang.h"
#include "scratch.h"
#include "train/watch.h"
#include "train/watch_dog.h"
#include "unit.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Stopping ---- */

/* Signals are noted once for all: children do that. */
static void reset(void) {
  unsetenv("SLURM_JOB_END_TIME");
  zt_watch_limit(0);
}

START_TEST(limits_of_time) {
  char text[64];
  zt_watch_signals();
  reset();
  ck_assert_int_eq(zt_watch_wanted(INT64_MAX / 2), ZT_STOP_NOT);
  ck_zt_ok(zt_watch_pause());
  /* An hour is left; time is kept for what is to come. */
  zt_watch_limit(1);
  ck_assert_int_eq(zt_watch_wanted((int64_t) 3590e9), ZT_STOP_NOT);
  ck_assert_int_eq(zt_watch_wanted((int64_t) 3600e9), ZT_STOP_HOURS);
  ck_zt_ok(zt_watch_pause());
  ck_assert_str_eq(zt_watch_reason(ZT_STOP_HOURS, text),
                   "the time limit --max-hours is near");
  zt_watch_limit(1e-12);
  ck_zt_fails(zt_watch_pause(), ZT_STOPPED);
  reset();
}
END_TEST

START_TEST(the_end_of_the_job) {
  static const struct {
    long left; /* seconds; 0: the text */
    const char *text;
    int64_t wanted;
  } cases[] = {{60, NULL, ZT_STOP_NOT},
               {5, NULL, ZT_STOP_JOB_END},
               {-100, NULL, ZT_STOP_JOB_END},
               {0, "", ZT_STOP_NOT},
               {0, "Unknown", ZT_STOP_NOT},
               {0, "12x", ZT_STOP_NOT},
               {0, "-5", ZT_STOP_NOT},
               {0, "0", ZT_STOP_NOT},
               {0, "99999999999999999999999", ZT_STOP_NOT}};
  zt_watch_signals();
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    char text[64];
    snprintf(text, sizeof text, "%ld", (long) time(NULL) + cases[i].left);
    setenv("SLURM_JOB_END_TIME", cases[i].text ? cases[i].text : text, 1);
    zt_watch_limit(1000);
    ck_assert_int_eq(zt_watch_wanted(0), cases[i].wanted);
  }
  reset();
}
END_TEST

static void signal_and_echo(void) {
  char text[64];
  zt_watch_signals();
  raise(SIGUSR1);
  raise(SIGUSR1); /* passed on by a launcher as well */
  expect(zt_watch_wanted(0) == ZT_STOP_SIGNAL + SIGUSR1);
  expect(!strcmp(zt_watch_reason(zt_watch_wanted(0), text),
                 "asked to stop by SIGUSR1"));
  expect(zt_watch_pause() == ZT_STOPPED);
  zt_sleep(0.4);
  raise(SIGTERM); /* another kind is no order */
  raise(SIGINT);
}

static void signal_again(void) {
  zt_watch_signals();
  raise(SIGTERM);
  zt_sleep(0.4);
  raise(SIGTERM);
}

START_TEST(signals) {
  ck_assert_int_eq(in_child(signal_and_echo), 0);
  int status = in_child(signal_again);
  ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
}
END_TEST

static void be_late(void) {
  zt_clock_exit_within(1, 76);
  for (;;)
    pause();
}

START_TEST(exit_within_a_time) {
  int status = in_child(be_late);
  ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 76);
}
END_TEST

/* ---- Beats ---- */

START_TEST(ring_keeps_the_last) {
  static zt_beat_event events[ZT_BEATS];
  for (int total = 1; total <= 3 * ZT_BEATS; total++) {
    zt_beat_place(total, -1, total % 7);
    if (total % 2)
      zt_beat_call("all-reduce", total, 8, total % 4 == 1);
    else
      zt_beat("forward");
  }
  int n = zt_beat_read(events);
  ck_assert_int_eq(n, ZT_BEATS);
  for (int i = 0; i < n; i++) {
    int64_t number = 2 * ZT_BEATS + 1 + i;
    ck_assert_int_eq(events[i].step, number);
    ck_assert_int_eq(events[i].micro_batch, -1);
    ck_assert_int_eq(events[i].unit, number % 7);
    ck_assert_int_eq(events[i].call, number % 2 ? number : 0);
    ck_assert(events[i].done == (number % 4 == 1));
    ck_assert(i == 0 || events[i].at >= events[i - 1].at);
  }
}
END_TEST

START_TEST(held_calls_are_no_progress) {
  static zt_beat_event events[ZT_BEATS];
  uint64_t before = zt_beat_count();
  zt_beat_hold(true);
  zt_beat_call("all-reduce", 7, 8, false);
  zt_beat_call("all-reduce", 7, 8, true);
  ck_assert_uint_eq(zt_beat_count(), before);
  zt_beat_alive();
  ck_assert_uint_eq(zt_beat_count(), before + 1);
  zt_beat_hold(false);
  zt_beat_call("all-reduce", 8, 8, false);
  ck_assert_uint_eq(zt_beat_count(), before + 2);
  int n = zt_beat_read(events);
  ck_assert_int_eq(events[n - 1].call, 8);
}
END_TEST

static atomic_bool enough;

static void *keep_beating(void *unused) {
  (void) unused;
  for (int64_t i = 1; !enough; i++) {
    zt_beat_place(i, i, i);
    zt_beat_call("gather", i, 8, false);
  }
  return NULL;
}

/* What is read while the ring is written is whole and in order. */
START_TEST(reading_beside_the_writer) {
  static zt_beat_event events[ZT_BEATS];
  pthread_t thread;
  int64_t seen = 0;
  enough = false;
  ck_assert_int_eq(pthread_create(&thread, NULL, keep_beating, NULL), 0);
  while (seen < 20000) {
    int n = zt_beat_read(events);
    for (int i = 1; i < n; i++)
      if (!strcmp(events[i - 1].what, "gather")) {
        ck_assert_int_eq(events[i].step, events[i - 1].step + 1);
        ck_assert_int_eq(events[i].micro_batch, events[i].step);
        ck_assert_int_eq(events[i].unit, events[i].step);
        ck_assert_int_eq(events[i].call, events[i].step);
        seen++;
      }
  }
  enough = true;
  pthread_join(thread, NULL);
}
END_TEST

static void count(void *n) {
  atomic_fetch_add((atomic_int *) n, 1);
}

START_TEST(ticks_until_stopped) {
  atomic_int n = 0;
  zt_ticker *ticker = NULL;
  ck_zt_ok(zt_ticker_start(0.01, count, &n, &ticker));
  for (int i = 0; i < 1000 && n < 5; i++)
    zt_sleep(0.01);
  ck_assert_int_ge(n, 5);
  zt_ticker_stop(&ticker);
  ck_assert_ptr_null(ticker);
  zt_ticker_stop(&ticker);
  int at_end = n;
  zt_sleep(0.05);
  ck_assert_int_eq(n, at_end);
  /* The end does not wait for the next tick. */
  int64_t began = zt_clock_ns();
  ck_zt_ok(zt_ticker_start(3600, count, &n, &ticker));
  zt_ticker_stop(&ticker);
  ck_assert_int_lt(zt_clock_ns() - began, (int64_t) 30e9);
}
END_TEST

/* ---- Reports of a hang ---- */

enum { I = 1, O = 0, M = 2 }; /* inside, outside, outside and moving */

typedef struct position {
  int at; /* -1: no report */
  int64_t calls;
} position;

static int explain(const position *p, int n, zt_text *text) {
  zt_hang_rank ranks[8] = {{0}};
  zt_hang hang = {.size = n, .ranks = ranks};
  for (int i = 0; i < n; i++) {
    ranks[i] = (zt_hang_rank){.there = p[i].at >= 0,
                              .rank = i,
                              .size = n,
                              .inside = p[i].at == I,
                              .moving = p[i].at == M,
                              .stood = 12.5,
                              .calls = p[i].calls,
                              .step = 3,
                              .micro_batch = i,
                              .unit = 5};
    snprintf(ranks[i].what, sizeof ranks[i].what, "%s",
             p[i].at == I ? "gather" : "backward");
    hang.count += ranks[i].there;
  }
  text->size = 0;
  return zt_hang_explain(&hang, text);
}

START_TEST(who_is_out_of_step) {
  static const struct {
    int n;
    position ranks[4];
    int culprit;
    const char *text;
  } cases[] = {
      {3,
       {{I, 812}, {-1, 0}, {I, 812}},
       1,
       "rank 1 of 3 wrote nothing: it is stopped, dead or cut off; the others "
       "are in gather 812 (step 3, micro-batch 0, unit 5)"},
      {2,
       {{-1, 0}, {I, 812}},
       0,
       "rank 0 of 2 wrote nothing: it is stopped, dead or cut off; rank 1 is "
       "in gather 812 (step 3, micro-batch 1, unit 5)"},
      {4,
       {{-1, 0}, {I, 812}, {-1, 0}, {O, 811}},
       0,
       "ranks 0, 2 of 4 wrote nothing: they are stopped, dead or cut off; the "
       "others are in gather 812 (step 3, micro-batch 1, unit 5)"},
      {3,
       {{I, 812}, {I, 812}, {O, 811}},
       2,
       "rank 2 of 3 is out of step: at 'backward' after collective 811 (step "
       "3, micro-batch 2, unit 5) for 12.5 s; the others are in gather 812 "
       "(step 3, micro-batch 0, unit 5)"},
      /* Slow, and behind. */
      {2,
       {{M, 811}, {I, 812}},
       0,
       "rank 0 of 2 is out of step: at 'backward' after collective 811 (step "
       "3, micro-batch 0, unit 5), still moving; the others are in gather 812 "
       "(step 3, micro-batch 1, unit 5)"},
      /* Ahead, and standing: it does not pass on what the others wait for. */
      {2, {{O, 813}, {I, 812}}, 0, NULL},
      /* Ahead, and at work. */
      {3, {{M, 813}, {I, 812}, {I, 813}}, 1, NULL},
      /* Not in the same collective. */
      {3, {{I, 812}, {I, 810}, {I, 812}}, 1, NULL},
      {3,
       {{I, 812}, {I, 812}, {I, 812}},
       -1,
       "all 3 ranks are in gather 812 (step 3, micro-batch 0, unit 5): the "
       "network or MPI stands still"},
      {1,
       {{O, 5}},
       0,
       "rank 0 of 1 is out of step: at 'backward' after collective 5 (step 3, "
       "micro-batch 0, unit 5) for 12.5 s"},
      {1, {{I, 5}}, 0, NULL},
  };
  zt_text text = {0};
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    int culprit = explain(cases[i].ranks, cases[i].n, &text);
    ck_assert_msg(culprit == cases[i].culprit, "case %zu: rank %d: %s", i,
                  culprit, text.data);
    if (cases[i].text)
      ck_assert_str_eq(text.data, cases[i].text);
  }
  zt_text_free(&text);
}
END_TEST

static const char *fresh_dir(const char *name) {
  const char *dir = scratch_path(name);
  ck_assert(mkdir(dir, 0777) == 0);
  return dir;
}

START_TEST(reports_are_read_as_written) {
  char dir[PATH_MAX];
  zt_hang hang;
  snprintf(dir, sizeof dir, "%s", fresh_dir("reports"));
  ck_zt_fails(zt_hang_read(dir, &hang), ZT_ERR_NOINPUT);
  zt_beat_place(12, 3, 5);
  zt_beat_call("all-reduce", 4711, 8, false);
  ck_zt_ok(zt_hang_write(
      dir, &(zt_hang_rank){.rank = 2, .size = 4, .stood = 600.125}));
  zt_beat_call("all-reduce", 4711, 8, true);
  zt_beat_place(12, -1, -1);
  zt_beat("optimizer");
  ck_zt_ok(zt_hang_write(
      dir, &(zt_hang_rank){.rank = 0, .size = 4, .moving = true}));
  ck_zt_ok(zt_hang_read(dir, &hang));
  ck_assert_int_eq(hang.size, 4);
  ck_assert_int_eq(hang.count, 2);
  const zt_hang_rank *a = &hang.ranks[2], *b = &hang.ranks[0];
  ck_assert(a->there && a->inside && !a->moving && a->stood == 600.125);
  ck_assert_int_eq(a->calls, 4711);
  ck_assert(a->step == 12 && a->micro_batch == 3 && a->unit == 5);
  ck_assert_str_eq(a->what, "all-reduce");
  ck_assert(b->there && !b->inside && b->moving);
  ck_assert_int_eq(b->calls, 4711);
  ck_assert(b->step == 12 && b->micro_batch == -1 && b->unit == -1);
  ck_assert_str_eq(b->what, "optimizer");
  ck_assert(!hang.ranks[1].there && !hang.ranks[3].there);
  zt_hang_free(&hang);
}
END_TEST

static void write_report(const char *dir, int rank, const char *events) {
  char path[PATH_MAX + 32];
  snprintf(path, sizeof path, "%s/hang/rank-%05d.txt", dir, rank);
  FILE *f = fopen(path, "w");
  fprintf(f,
          "hang report 1 of a run that stood still\nrank %d of 3\n"
          "calls 12, outside\n\n     seconds     step  what\n%s",
          rank, events);
  ck_assert(fclose(f) == 0);
}

/* Whichever is read first. */
START_TEST(who_does_something_else) {
  static const char same[] =
      "   -1.000000        1      0      2       11           64  gather\n"
      "   -0.900000        1      0      2       11           64  gather, "
      "done\n"
      "   -0.800000        1      0      2        0            0  forward\n"
      "   -0.700000        1      0      2       12         8192  reduction\n";
  static const char other[] =
      "   -1.000000        1      0      2       11           64  gather\n"
      "   -0.700000        1      0      2       12         4096  reduction\n"
      "   -0.600000        1      0      2       13            8  gather\n";
  zt_hang hang;
  zt_text text = {0};
  const char *dir = fresh_dir("order");
  ck_zt_ok(zt_hang_write(dir, &(zt_hang_rank){.rank = 0, .size = 3}));
  for (int odd = 0; odd < 3; odd++) {
    char wanted[160];
    for (int r = 0; r < 3; r++)
      write_report(dir, r, r == odd ? other : same);
    ck_zt_ok(zt_hang_read(dir, &hang));
    text.size = 0;
    ck_assert_int_eq(zt_hang_explain(&hang, &text), odd);
    snprintf(wanted, sizeof wanted,
             "rank %d of 3 does not do what the others do: collective 12 is "
             "'reduction' of 4096 bytes there and 'reduction' of 8192 bytes on "
             "rank ",
             odd);
    ck_assert_msg(strstr(text.data, wanted) == text.data, "%s", text.data);
    zt_hang_free(&hang);
  }
  zt_text_free(&text);
}
END_TEST

/* Files that are no reports: refused, whatever they hold. */
START_TEST(wrong_reports) {
  static const char *const texts[] = {
      "",
      "\n",
      "hang report 1 of a run that stood still",
      "hang report 1 of a run that stood still\nrank 3 of 3\n",
      "hang report 1 of a run that stood still\nrank -1 of 3\n",
      "hang report 1 of a run that stood still\nrank 0 of 2000000000\n",
      "hang report 1 of a run that stood still\nrank 0 of 5\n",
      "hang report 2\nrank 0 of 3\n"};
  char dir[PATH_MAX], path[PATH_MAX + 32];
  zt_hang hang;
  snprintf(dir, sizeof dir, "%s", fresh_dir("wrong"));
  ck_zt_ok(zt_hang_write(dir, &(zt_hang_rank){.rank = 1, .size = 3}));
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    snprintf(path, sizeof path, "%s/hang/rank-00000.txt", dir);
    FILE *f = fopen(path, "w");
    fputs(texts[i], f);
    fclose(f);
    ck_zt_fails(zt_hang_read(dir, &hang), ZT_ERR_DATA);
    ck_assert_ptr_null(hang.ranks);
  }
}
END_TEST

/* ---- The watchdog ---- */

static const char *guarded;

static void say(void *context, int rank, const char *message) {
  (void) context;
  FILE *f = fopen(scratch_path("said"), "w");
  fprintf(f, "%d %s\n", rank, message);
  fclose(f);
}

static void stand_still(void) {
  zt_watchdog *dog;
  expect(freopen("/dev/null", "w", stderr));
  expect(zt_watchdog_start(&(zt_watchdog_options){.run_dir = guarded,
                                                  .rank = 1,
                                                  .size = 3,
                                                  .seconds = 0.5,
                                                  .say = say},
                           &dog) == ZT_OK);
  for (int i = 0; i < 20; i++) { /* longer than that, with beats */
    zt_beat_alive();
    zt_sleep(0.1);
  }
  zt_beat_allow((int64_t) 1e9); /* may take longer */
  zt_sleep(1);
  zt_beat_allow(0);
  zt_beat("forward");
  for (;;)
    zt_sleep(1);
}

START_TEST(standing_still_ends_with_76) {
  char *text;
  guarded = strdup(fresh_dir("guarded"));
  int64_t began = zt_clock_ns();
  int status = in_child(stand_still);
  ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 76);
  ck_assert_int_gt(zt_clock_ns() - began, (int64_t) 3.4e9);
  ck_zt_ok(zt_read_file(scratch_path("said"), 1 << 16, &text, NULL));
  ck_assert_msg(strstr(text, "0 no progress for ") == text &&
                    strstr(text, "ranks 0, 2 of 3 wrote nothing"),
                "%s", text);
  free(text);
  free((void *) guarded);
}
END_TEST

static Suite *make_suite(void) {
  Suite *s = suite_create("watch");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_test(all, limits_of_time);
  tcase_add_test(all, the_end_of_the_job);
  tcase_add_test(all, signals);
  tcase_add_test(all, exit_within_a_time);
  tcase_add_test(all, ring_keeps_the_last);
  tcase_add_test(all, held_calls_are_no_progress);
  tcase_add_test(all, reading_beside_the_writer);
  tcase_add_test(all, ticks_until_stopped);
  tcase_add_test(all, who_is_out_of_step);
  tcase_add_test(all, reports_are_read_as_written);
  tcase_add_test(all, who_does_something_else);
  tcase_add_test(all, wrong_reports);
  tcase_add_test(all, standing_still_ends_with_76);
  suite_add_tcase(s, all);
  return s;
}

int main(void) {
  scratch_begin("check_watch");
  int failed = unit_main(make_suite(), CK_FORK);
  scratch_end();
  return failed;
}
