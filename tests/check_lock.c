/* SPDX-License-Identifier: BSD-3-Clause */
/* The lock of a run, and the lease where the file system has no locks. */
#include "base/clock.h"
#include "base/json.h"
#include "base/text.h"
#include "base/ticker.h"
#include "child.h"
#include "scratch.h"
#include "train/watch.h"
#include "train/watch_lease.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* What the file system answers who asks for a lock, 0: gives it. */
static int lock_error;

/* Stands before libc's. */
int fcntl(int fd, int command, ...) {
  va_list args;
  va_start(args, command);
  void *argument = va_arg(args, void *);
  va_end(args);
  if (command == F_OFD_SETLK && lock_error) {
    errno = lock_error;
    return -1;
  }
  return (int) syscall(SYS_fcntl, fd, command, argument);
}

static const zt_lease_times quick = {.renew = 0.2, .stale = 1};
static char run[PATH_MAX];

static void set_up(void) {
  snprintf(run, sizeof run, "%s", scratch_path("run"));
  scratch_remove(run);
  ck_assert_int_eq(mkdir(run, 0777), 0);
  lock_error = 0;
  ck_assert(freopen("/dev/null", "w", stderr));
}

static bool exists(const char *name) {
  char path[PATH_MAX];
  ck_zt_ok(zt_path(path, "%s/%s", run, name));
  return access(path, F_OK) == 0;
}

static void put(const char *name, const char *text) {
  char path[PATH_MAX];
  if (zt_path(path, "%s/%s", run, name) != ZT_OK)
    return;
  FILE *f = fopen(path, "w");
  fputs(text, f);
  fclose(f);
}

/* ---- The lock ---- */

static void hold_for_ever(void) {
  zt_run_lock *lock;
  expect(zt_run_lock_take(run, &quick, &lock) == ZT_OK);
  put("held", "");
  for (;;)
    pause();
}

static pid_t start_holder(void) {
  pid_t pid = child_start(hold_for_ever);
  while (!exists("held"))
    zt_sleep(0.01);
  return pid;
}

static void check_refusal(pid_t holder) {
  char who[64];
  zt_run_lock *lock = NULL;
  ck_zt_fails(zt_run_lock_take(run, &quick, &lock), ZT_ERR_CREATE);
  ck_assert_ptr_null(lock);
  snprintf(who, sizeof who, "/run: pid %ld on ", (long) holder);
  ck_assert_msg(strstr(zt_last_error(), who), "%s", zt_last_error());
  ck_assert_uint_le(strlen(zt_last_error()), 200);
}

START_TEST(one_at_a_time) {
  zt_run_lock *lock = NULL;
  setenv("SLURM_JOB_ID", "47\x1b[31m", 1);
  ck_zt_ok(zt_run_lock_take(run, NULL, &lock));
  ck_assert(!zt_run_lock_is_lease(lock) && !exists("lease"));
  check_refusal(getpid());
  ck_assert(strstr(zt_last_error(), ", job 47?[31m, since 20"));
  zt_run_unlock(&lock);
  ck_assert_ptr_null(lock);
  zt_run_unlock(&lock);
  ck_zt_ok(zt_run_lock_take(run, NULL, &lock));
  zt_run_unlock(&lock);
  unsetenv("SLURM_JOB_ID");
}
END_TEST

START_TEST(a_killed_holder_frees_it) {
  zt_run_lock *lock;
  pid_t holder = start_holder();
  check_refusal(holder);
  kill(holder, SIGKILL);
  child_end(holder);
  ck_zt_ok(zt_run_lock_take(run, NULL, &lock));
  zt_run_unlock(&lock);
}
END_TEST

/* The file may hold anything. */
START_TEST(odd_lock_files) {
  static const char *const texts[] = {"", "nonsense", "{\"pid\": \"x\"}",
                                      "{\"pid\": 1e400}", "[1]"};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
    zt_run_lock *lock, *second;
    put("lock", texts[i]);
    ck_zt_ok(zt_run_lock_take(run, NULL, &lock));
    put("lock", texts[i]);
    ck_zt_fails(zt_run_lock_take(run, NULL, &second), ZT_ERR_CREATE);
    zt_run_unlock(&lock);
  }
}
END_TEST

START_TEST(places_without_a_lock) {
  zt_run_lock *lock;
  char path[PATH_MAX];
  ck_zt_fails(zt_run_lock_take(scratch_path("nowhere"), NULL, &lock),
              ZT_ERR_CREATE);
  lock_error = EIO;
  ck_zt_fails(zt_run_lock_take(run, NULL, &lock), ZT_ERR_IO);
  lock_error = 0;
  /* No way to make a file elsewhere. */
  ck_zt_ok(zt_path(path, "%s/lock", run));
  unlink(path);
  ck_assert_int_eq(symlink("../target", path), 0);
  ck_zt_fails(zt_run_lock_take(run, NULL, &lock), ZT_ERR_CREATE);
}
END_TEST

/* ---- The lease ---- */

START_TEST(a_lease_where_there_are_no_locks) {
  static const int errors[] = {ENOLCK, EOPNOTSUPP, ENOSYS, EINVAL};
  lock_error = errors[_i];
  zt_run_lock *lock;
  ck_zt_ok(zt_run_lock_take(run, &quick, &lock));
  ck_assert(zt_run_lock_is_lease(lock) && exists("lease"));
  check_refusal(getpid());
  zt_run_unlock(&lock);
  ck_assert(!exists("lease"));
  ck_zt_ok(zt_run_lock_take(run, &quick, &lock));
  zt_run_unlock(&lock);
}
END_TEST

START_TEST(a_killed_holder_of_this_machine_is_seen) {
  zt_run_lock *lock;
  lock_error = ENOLCK;
  pid_t holder = start_holder();
  check_refusal(holder);
  kill(holder, SIGKILL);
  child_end(holder);
  int64_t began = zt_clock_ns();
  ck_zt_ok(zt_run_lock_take(run, &quick, &lock));
  ck_assert_int_lt(zt_clock_ns() - began, (int64_t) 1e9);
  zt_run_unlock(&lock);
}
END_TEST

static const char foreign[] =
    "{\"host\": \"n7\", \"pid\": 1, \"job\": \"\", \"since\": "
    "\"2026-01-31T23:59:59Z\", \"machine\": \"another\", \"beat\": "
    "\"%012d\"}\n";

/* Of another machine nothing is known but whether it renews. */
START_TEST(a_lease_of_another_machine_grows_stale) {
  char text[256];
  zt_run_lock *lock;
  lock_error = ENOLCK;
  snprintf(text, sizeof text, foreign, 5);
  const char *const texts[] = {text, "", "nonsense"};
  put("lease", texts[_i]);
  int64_t began = zt_clock_ns();
  ck_zt_ok(zt_run_lock_take(run, &quick, &lock));
  ck_assert_int_gt(zt_clock_ns() - began, (int64_t) 0.95e9);
  zt_run_unlock(&lock);
}
END_TEST

static void renew_from_afar(void) {
  for (int i = 0;; i++) {
    char text[256];
    snprintf(text, sizeof text, foreign, i);
    put("lease.new", text);
    rename(scratch_path("run/lease.new"), scratch_path("run/lease"));
    zt_sleep(0.2);
  }
}

START_TEST(a_lease_of_another_machine_that_renews) {
  zt_run_lock *lock;
  lock_error = ENOLCK;
  pid_t pid = child_start(renew_from_afar);
  while (!exists("lease"))
    zt_sleep(0.01);
  ck_zt_fails(zt_run_lock_take(run, &quick, &lock), ZT_ERR_CREATE);
  ck_assert(strstr(zt_last_error(), "pid 1 on n7, since 2026-01-31T23:59:59Z"));
  kill(pid, SIGKILL);
  child_end(pid);
}
END_TEST

/* A holder that slept too long finds somebody else's, and goes. */
START_TEST(whoever_loses_a_lease_gives_way) {
  char text[256];
  lock_error = ENOLCK;
  pid_t holder = start_holder();
  snprintf(text, sizeof text, foreign, 0);
  put("lease.new", text);
  ck_assert_int_eq(
      rename(scratch_path("run/lease.new"), scratch_path("run/lease")), 0);
  int status = child_end(holder);
  ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 73);
  ck_assert(exists("lease"));
}
END_TEST

static void stop_waiting(void) {
  zt_run_lock *lock;
  zt_watch_signals();
  raise(SIGTERM);
  expect(zt_run_lock_take(run, NULL, &lock) == ZT_STOPPED);
}

START_TEST(waiting_can_be_stopped) {
  char text[256];
  lock_error = ENOLCK;
  snprintf(text, sizeof text, foreign, 0);
  put("lease", text);
  ck_assert_int_eq(in_child(stop_waiting), 0);
  ck_assert(exists("lease"));
}
END_TEST

static Suite *make_suite(void) {
  Suite *s = suite_create("lock");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_checked_fixture(all, set_up, NULL);
  tcase_add_test(all, one_at_a_time);
  tcase_add_test(all, a_killed_holder_frees_it);
  tcase_add_test(all, odd_lock_files);
  tcase_add_test(all, places_without_a_lock);
  tcase_add_loop_test(all, a_lease_where_there_are_no_locks, 0, 4);
  tcase_add_test(all, a_killed_holder_of_this_machine_is_seen);
  tcase_add_loop_test(all, a_lease_of_another_machine_grows_stale, 0, 3);
  tcase_add_test(all, a_lease_of_another_machine_that_renews);
  tcase_add_test(all, whoever_loses_a_lease_gives_way);
  tcase_add_test(all, waiting_can_be_stopped);
  suite_add_tcase(s, all);
  return s;
}

int main(void) {
  scratch_begin("check_lock");
  int failed = unit_main(make_suite(), CK_FORK);
  scratch_end();
  return failed;
}
