/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  One trainer to a run directory.
 *
 *  RUN/lock is locked for as long as the process lives: however it ends, the
 *  system frees the lock.  Where the file system
 *  has no locks, RUN/lease takes its place: its holder renews it, and one that
 *  was not renewed for a minute, or whose holder is a dead process of this
 *  machine, is taken over.  Rank 0 alone holds it.  All Local. */
#ifndef ZT_TRAIN_WATCH_LOCK_H
#define ZT_TRAIN_WATCH_LOCK_H

#include "base/status.h"

#include <stdbool.h>

typedef struct zt_run_lock zt_run_lock;

/** How a lease is kept. */
typedef struct zt_lease_times {
  double renew; /* seconds between renewals */
  double stale; /* seconds without one after which it may be taken over */
} zt_lease_times;

/** Take the lock of a run.
 *  \param[in]  run_dir  exists
 *  \param[in]  times    NULL: 10 and 60 seconds
 *  \param[out] lock     zt_run_unlock() it
 *  \return ZT_ERR_CREATE with who holds it, or if it cannot be made;
 *          ZT_STOPPED while waiting for a lease to prove stale. */
zt_status zt_run_lock_take(const char *run_dir, const zt_lease_times *times,
                           zt_run_lock **lock);
/** Whether it is a lease. */
bool zt_run_lock_is_lease(const zt_run_lock *lock);
/** Sets *lock to NULL; NULL is allowed. */
void zt_run_unlock(zt_run_lock **lock);

#endif
