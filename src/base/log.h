/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What a program says on stderr and in the log file of its run.
 *
 *  Results go to stdout and not through here.  Rank 0 speaks for all; a warning
 *  of another rank names it. */
#ifndef ZT_BASE_LOG_H
#define ZT_BASE_LOG_H

#include "base/status.h"

/** Who is speaking.  Before this call, rank 0 of 1. */
void zt_log_start(const char *program, int rank, int size);
/** Copy all that follows into a file too, appending.  Rank 0 only. */
zt_status zt_log_open(const char *path);
void zt_log_close(void);

/** A line from rank 0; other ranks are silent. */
void zt_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** The same, into the log file alone. */
void zt_note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** "PROGRAM: warning: [rank N: ]..." from any rank. */
void zt_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** "PROGRAM: MESSAGE", the last thing a failing program says. */
void zt_error(const char *message);

#endif
