/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Who holds a run, and the lease that stands in for a lock; for watch_lock.
 *  All Local. */
#ifndef ZT_TRAIN_WATCH_LEASE_H
#define ZT_TRAIN_WATCH_LEASE_H

#include "train/watch_lock.h"

#include <stdbool.h>
#include <stddef.h>

enum { ZT_HOLDER_SIZE = 1024 };

/** This process, as the line of JSON that lock and lease hold: host, pid, job,
 *  since, machine, beat.
 *  \param[in] since  as zt_utc_now() gives it
 *  \param[in] beat   number of the renewal */
void zt_holder_write(char text[ZT_HOLDER_SIZE], const char *since, long beat);
/** "pid 123 on n0, job 7, since ...", fit for a terminal. */
void zt_holder_say(const char *text, char *who, size_t size);
/** Whether it was a process of this machine that is gone.  False also when that
 *  cannot be seen from here. */
bool zt_holder_is_dead(const char *text);

typedef struct zt_lease zt_lease;

/** Take RUN/lease and keep it by a thread of its own, which ends the process
 *  should somebody take it over.
 *  \param[out] holder  its text, if somebody has it; else ""
 *  \return ZT_ERR_CREATE if somebody has it or it cannot be made, ZT_ERR_IO,
 *          ZT_STOPPED while watching whether its holder lives. */
zt_status zt_lease_take(const char *run_dir, const zt_lease_times *times,
                        char holder[ZT_HOLDER_SIZE], zt_lease **lease);
/** Sets *lease to NULL; NULL is allowed. */
void zt_lease_release(zt_lease **lease);

#endif
