/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The communicator over NCCL, for the memory of CUDA devices.
 *
 *  Gathers and reductions are queued on one stream of their own, ordered
 *  against the device's stream by events: the host does not wait for them, and
 *  a unit that is gathered ahead arrives while another is computed with.
 *  Integers and bytes of the host go through the communicator below. */
#ifndef ZT_CUDA_COMM_NCCL_H
#define ZT_CUDA_COMM_NCCL_H

#include "comm/comm.h"
#include "device/device.h"

/** Collective.
 *  \param[in] host   over host memory, same ranks; kept by the caller, and
 *                    longer than the new one
 *  \param[in] dev    a CUDA device of this rank's own; from now on its waits
 *                    also look after the communicator
 *  \param[in] limit  seconds that others may take to answer; 0: for ever
 *  \return agreed status: ZT_ERR_UNAVAILABLE, ZT_ERR_HANG, ZT_ERR_MEMORY. */
zt_status zt_comm_nccl_create(zt_comm *host, zt_device *dev, double limit,
                              zt_comm **comm);
/** Version that this is built with, "2.28.9". */
const char *zt_comm_nccl_version(void);

#endif
