/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Making a local result everybody's. */
#ifndef ZT_COMM_AGREE_H
#define ZT_COMM_AGREE_H

#include "comm/comm.h"

/** The status of the lowest failing rank, on every rank, with its message
 *  ("rank 3: ..." where there is more than one rank).
 *  Collective: one all-reduce, and one broadcast after a failure. */
zt_status zt_agree(zt_comm *comm, zt_status local);

/** For a failure inside a running collective, which cannot be agreed on: says
 *  the message, calls the last words and ends all ranks with the exit code of
 *  the status.  Local; does not return. */
void zt_fatal(zt_comm *comm, zt_status status) __attribute__((noreturn));
/** What zt_fatal() calls before it aborts, NULL: nothing.  It must not
 *  communicate. */
void zt_set_last_words(void (*words)(int exit_code, const char *message));

#endif
