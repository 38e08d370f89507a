/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/watch.h"

#include "base/beat.h"
#include "base/clock.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const int numbers[] = {SIGTERM, SIGUSR1, SIGINT};
static const char *const names[] = {"SIGTERM", "SIGUSR1", "SIGINT"};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static volatile sig_atomic_t wanted;
static volatile int64_t noted[NUMBERS]; /* ns: when each came first */

static int64_t started, limit = INT64_MAX; /* ns */
static int limit_kind = ZT_STOP_NOT;

static int place_of(int64_t number) {
  int which = 0;
  while (which + 1 < NUMBERS && numbers[which] != number)
    which++;
  return which;
}

/* The first one is a wish, the same once more is an order.  Another kind is
 * not: after USR1 comes TERM when the time is up, and the save that USR1 began
 * may just make it.  Launchers pass on what the system has sent to all anyway:
 * what comes at nearly the same time is one. */
static void note(int number) {
  enum { ECHO_NS = 300 * 1000 * 1000 };
  int saved = errno, which = place_of(number);
  int64_t now = zt_clock_ns();
  if (noted[which] == 0) {
    noted[which] = now;
    wanted = number;
  } else if (now - noted[which] > ECHO_NS) {
    signal(number, SIG_DFL);
    raise(number);
  }
  errno = saved;
}

void zt_watch_signals(void) {
  struct sigaction action = {.sa_handler = note, .sa_flags = SA_RESTART};
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < NUMBERS; i++)
    sigaction(numbers[i], &action, NULL);
  /* A limit on file sizes shall be an error that can be reported. */
  signal(SIGXFSZ, SIG_IGN);
  started = zt_clock_ns();
}

static void set_limit(int64_t at, int kind) {
  if (at >= limit)
    return;
  limit = at;
  limit_kind = kind;
}

void zt_watch_limit(double max_hours) {
  enum { WAY_OUT = 10 };
  const char *end = getenv("SLURM_JOB_END_TIME");
  limit = INT64_MAX;
  limit_kind = ZT_STOP_NOT;
  if (max_hours > 0)
    set_limit(started + (int64_t) (3600e9 * max_hours), ZT_STOP_HOURS);
  char *rest;
  long long seconds = end ? strtoll(end, &rest, 10) : 0;
  /* "Unlimited" and the like are no numbers. */
  if (seconds > 0 && *rest == '\0' && seconds < INT64_MAX / 2000000000)
    set_limit(zt_clock_ns() +
                  (int64_t) (seconds - time(NULL) - WAY_OUT) * 1000000000,
              ZT_STOP_JOB_END);
}

int64_t zt_watch_wanted(int64_t needed) {
  if (wanted)
    return ZT_STOP_SIGNAL + wanted;
  if (limit != INT64_MAX && zt_clock_ns() >= limit - needed)
    return limit_kind;
  return ZT_STOP_NOT;
}

const char *zt_watch_reason(int64_t why, char buffer[64]) {
  if (why > ZT_STOP_SIGNAL)
    snprintf(buffer, 64, "asked to stop by %s",
             names[place_of(why - ZT_STOP_SIGNAL)]);
  else
    snprintf(buffer, 64, "%s",
             why == ZT_STOP_HOURS     ? "the time limit --max-hours is near"
             : why == ZT_STOP_JOB_END ? "the end of the job is near"
                                      : "nobody asked to stop");
  return buffer;
}

zt_status zt_watch_pause(void) {
  char buffer[64];
  zt_beat_alive();
  int64_t why = zt_watch_wanted(0);
  if (why == ZT_STOP_NOT)
    return ZT_OK;
  return zt_fail(ZT_STOPPED, "%s", zt_watch_reason(why, buffer));
}
