/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A communicator for the memory of a device, made of one for host memory: all
 *  data goes through buffers of fixed size.  For where there is no NCCL. */
#ifndef ZT_CUDA_COMM_STAGED_H
#define ZT_CUDA_COMM_STAGED_H

#include "comm/comm.h"
#include "device/device.h"

/** Collective.
 *  \param[in] host  over host memory; kept by the caller, and longer than the
 *                   new one
 *  \return agreed status: ZT_ERR_MEMORY. */
zt_status zt_comm_staged_create(zt_comm *host, zt_device *dev, zt_comm **comm);

#endif
