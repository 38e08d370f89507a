/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  RUN/attempts: deaths of the program itself before the first step of a life.
 *
 *  A restart that the program cannot bear would be taken up for ever by a job
 *  that requeues itself.  So crashes and internal errors between start and
 *  first step leave a line each; the first step removes the file, and where
 *  ZT_MOST_ATTEMPTS lines stand the next start refuses.  Nodes that are lost,
 *  signals from outside, bad input and bad disks leave no line. */
#ifndef ZT_TRAIN_ATTEMPTS_H
#define ZT_TRAIN_ATTEMPTS_H

#include "base/status.h"

enum { ZT_MOST_ATTEMPTS = 3 };

/** Whether this run may be started once more.  Local, one rank.
 *  \return ZT_ERR_INTERNAL with the last death and the ways out. */
zt_status zt_attempts_check(const char *dir);
/** From now on a crash of this process leaves a line.  Local, every rank. */
void zt_attempts_begin(const char *dir, int rank);
/** A failure of this process does, if the program itself is to blame.  Local,
 *  one rank; may be called when nothing was begun. */
void zt_attempts_note(int exit_code);
/** The first step is done, or there is none to do: what happens from here on is
 *  not counted.  Local.
 *  \param[in] forget  remove the file; one rank */
void zt_attempts_end(bool forget);

#endif
