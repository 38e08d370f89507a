/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Wishes from outside that a program stops: signals and time limits.
 *
 *  SIGTERM, SIGUSR1 and SIGINT mean the same: finish the step, save, leave in
 *  good order.  The handler only sets a flag; one rank's flag is enough, since
 *  whoever looks at it agrees with the others.  A signal that comes again ends
 *  the process at once.  All Local. */
#ifndef ZT_TRAIN_WATCH_H
#define ZT_TRAIN_WATCH_H

#include "base/status.h"

#include <stdint.h>

/** To be called first in main(): a batch system may signal at any time, and
 *  what is not handled kills.  Hours are counted from here. */
void zt_watch_signals(void);

/** Limits of time.
 *  \param[in] max_hours  since the start, 0: none.  Where SLURM_JOB_END_TIME
 *             tells when the job ends, that counts too, less ten seconds for
 *             the way out. */
void zt_watch_limit(double max_hours);

/** Why to stop; larger ones win when ranks have several.  From ZT_STOP_SIGNAL
 *  on it is the number of the signal, added. */
enum { ZT_STOP_NOT, ZT_STOP_HOURS, ZT_STOP_JOB_END, ZT_STOP_SIGNAL };

/** Whether to stop now.
 *  \param[in] needed  ns that must be left: time for what comes before the end
 */
int64_t zt_watch_wanted(int64_t needed);
/** "asked to stop by SIGTERM", "the time limit --max-hours"; the buffer. */
const char *zt_watch_reason(int64_t why, char buffer[64]);

/** Between the parts of something long: a sign of life for the watchdog.
 *  \return ZT_STOPPED with the reason when it is time to stop */
zt_status zt_watch_pause(void);

#endif
