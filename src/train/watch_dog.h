/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The watchdog: a thread that ends a rank which makes no progress.
 *
 *  It never calls MPI.  Without a beat (base/beat.h) for the time given it
 *  writes what this rank did last (report/hang.h), waits a little so that the
 *  watchdogs of the other ranks can do the same, and leaves by _exit(76); the
 *  launcher ends the rest.  A rank that still moves when others report writes
 *  too, and goes on.  Time in which the whole process was stopped, as by a
 *  scheduler that suspends jobs, does not count. */
#ifndef ZT_TRAIN_WATCH_DOG_H
#define ZT_TRAIN_WATCH_DOG_H

#include "base/status.h"

typedef struct zt_watchdog zt_watchdog;

typedef struct zt_watchdog_options {
  const char *run_dir;
  int rank, size;
  double seconds; /* without a beat */
  /* Once, by one rank, on the watchdog's thread, before it leaves: the rank out
   * of step (-1: none) and a sentence about it. */
  void (*say)(void *context, int rank, const char *message);
  void *context;
} zt_watchdog_options;

/** Forget what an earlier process of the run reported.  Local, one rank, before
 *  any watchdog starts. */
void zt_watchdog_clean(const char *run_dir);
/** Local.
 *  \param[in]  options   copied; run_dir and context must stay
 *  \param[out] watchdog  zt_watchdog_stop() it
 *  \return ZT_ERR_MEMORY. */
zt_status zt_watchdog_start(const zt_watchdog_options *options,
                            zt_watchdog **watchdog);
/** Local.  Sets *watchdog to NULL; NULL is allowed. */
void zt_watchdog_stop(zt_watchdog **watchdog);

#endif
