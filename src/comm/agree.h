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

#endif
