/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Wishes from outside: signals that ask a run to stop.
 *
 *  SIGTERM, SIGUSR1 and SIGINT mean the same: finish the step, save, leave in
 *  good order.  The handler only sets a flag; one rank's flag is enough, since
 *  the trainer all-reduces it.  A second signal ends the process at once. */
#ifndef ZT_TRAIN_WATCH_H
#define ZT_TRAIN_WATCH_H

/** To be called first in main(): a batch system may signal at any time, and
 *  what is not handled kills.  Local. */
void zt_watch_signals(void);
/** Number of the signal that asked to stop, 0: none.  Local. */
int zt_watch_wanted(void);

#endif
