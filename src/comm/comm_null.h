/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A communicator that moves nothing and stands for one rank of many: planning
 *  runs the real step on it. */
#ifndef ZT_COMM_NULL_H
#define ZT_COMM_NULL_H

#include "comm/comm.h"

/** Local.  \return ZT_ERR_MEMORY. */
zt_status zt_comm_null_create(int rank, int size, zt_comm **comm);

#endif
