/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/watch_dog.h"

#include "base/beat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/ticker.h"
#include "report/hang.h"
#include "report/runstate.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct zt_watchdog {
  zt_watchdog_options options;
  char folder[PATH_MAX]; /* of the reports: there as soon as one is written */
  int64_t limit, patience, period; /* ns */
  zt_ticker *ticker;
  /* Of its thread alone. */
  uint64_t beats;
  int64_t looked, stood; /* ns */
  bool reported;
};

/* ---- A standstill ---- */

static void report(zt_watchdog *w, bool moving) {
  zt_hang_rank self = {.rank = w->options.rank,
                       .size = w->options.size,
                       .moving = moving,
                       .stood = 1e-9 * (double) w->stood};
  w->reported = true;
  if (zt_hang_write(w->options.run_dir, &self) != ZT_OK)
    zt_warn("%s", zt_last_error());
}

/* Waits for the reports of the others, which stand still as well or look
 * whether somebody has reported. */
static void collect(const zt_watchdog *w, zt_hang *hang) {
  int64_t end = zt_clock_ns() + w->patience;
  for (;;) {
    if (zt_hang_read(w->options.run_dir, hang) != ZT_OK)
      *hang = (zt_hang){0};
    if (zt_clock_ns() >= end || (hang->size && hang->count == hang->size))
      return;
    zt_hang_free(hang);
    zt_sleep(1e-9 * (double) w->patience / 20);
  }
}

static bool is_said(const zt_watchdog *w) {
  zt_runstate state;
  bool said = zt_runstate_read(w->options.run_dir, &state) == ZT_OK &&
              state.state == ZT_RUN_FAILED;
  if (said)
    zt_runstate_free(&state);
  return said;
}

/* The lowest rank that stands still speaks for all.  The others give it time;
 * the launcher may end it as soon as one of them leaves. */
static void say(const zt_watchdog *w, const zt_hang *hang) {
  int first = 0;
  while (first < hang->size &&
         (!hang->ranks[first].there || hang->ranks[first].moving))
    first++;
  if (first != w->options.rank && first < hang->size)
    zt_sleep(1e-9 * (double) w->patience / 2);
  if (is_said(w))
    return;
  char message[ZT_MESSAGE_SIZE];
  zt_text text = {0};
  int rank = -1;
  if (hang->size)
    rank = zt_hang_explain(hang, &text);
  snprintf(message, sizeof message,
           "no progress for %.0f s: %.300s (ztinfo hang %.100s)",
           1e-9 * (double) w->stood,
           text.data ? text.data : "and no rank could report",
           w->options.run_dir);
  zt_text_free(&text);
  zt_error(message);
  w->options.say(w->options.context, rank, message);
}

/* A disk that does not answer must not keep this rank here. */
static void leave(zt_watchdog *w) {
  int code = zt_status_exit_code(ZT_ERR_HANG);
  zt_hang hang;
  zt_clock_exit_within((unsigned) (4 * w->patience / 1000000000) + 2, code);
  report(w, false);
  collect(w, &hang);
  say(w, &hang);
  _exit(code);
}

/* ---- Looking ---- */

/* Time between two looks counts only as far as this thread was awake: a stopped
 * process makes no progress and is no hang. */
static void look(void *argument) {
  zt_watchdog *w = argument;
  int64_t now = zt_clock_ns(), passed = now - w->looked;
  uint64_t beats = zt_beat_count();
  w->looked = now;
  if (beats != w->beats)
    w->stood = 0;
  else
    w->stood += passed < 2 * w->period ? passed : w->period;
  w->beats = beats;
  if (w->stood >= w->limit + zt_beat_allowed())
    leave(w);
  if (!w->reported && access(w->folder, F_OK) == 0)
    report(w, true);
}

static int64_t clamp(double seconds, double least, double most) {
  double s = seconds < least ? least : seconds > most ? most : seconds;
  return (int64_t) (1e9 * s);
}

/* The reports of the last hang stay for whoever wants to look. */
void zt_watchdog_clean(const char *run_dir) {
  char folder[PATH_MAX], old[PATH_MAX], path[PATH_MAX];
  if (zt_hang_folder(run_dir, folder) != ZT_OK ||
      zt_path(old, "%s.old", folder) != ZT_OK || access(folder, F_OK) != 0)
    return;
  DIR *d = opendir(old);
  for (struct dirent *e; d && (e = readdir(d));)
    if (e->d_name[0] != '.' && zt_path(path, "%s/%s", old, e->d_name) == ZT_OK)
      unlink(path);
  if (d)
    closedir(d);
  rmdir(old);
  if (rename(folder, old) != 0)
    zt_warn("%s: cannot be renamed: %s", folder, strerror(errno));
}

zt_status zt_watchdog_start(const zt_watchdog_options *options,
                            zt_watchdog **watchdog) {
  zt_watchdog *w = zt_calloc(1, sizeof *w);
  if (!w)
    return ZT_ERR_MEMORY;
  w->options = *options;
  w->limit = (int64_t) (1e9 * options->seconds);
  w->patience = clamp(options->seconds / 3, 1, 30);
  w->period = w->patience / 4;
  w->looked = zt_clock_ns();
  zt_status status = zt_hang_folder(options->run_dir, w->folder);
  if (status == ZT_OK)
    status = zt_ticker_start(1e-9 * (double) w->period, look, w, &w->ticker);
  if (status != ZT_OK) {
    free(w);
    return status;
  }
  *watchdog = w;
  return ZT_OK;
}

void zt_watchdog_stop(zt_watchdog **watchdog) {
  if (!*watchdog)
    return;
  zt_ticker_stop(&(*watchdog)->ticker);
  free(*watchdog);
  *watchdog = NULL;
}
