/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The device on one NVIDIA GPU: cuBLASLt for matrix products, kernels of our
 *  own for everything else, one stream. */
#ifndef ZT_CUDA_DEVICE_CUDA_H
#define ZT_CUDA_DEVICE_CUDA_H

#include "comm/comm.h"
#include "device/device.h"

/** Whether this process sees a GPU that a driver can use.  Local. */
bool zt_device_cuda_is_there(void);

/** The GPU of this rank: by its number among the ranks of its node, or the only
 *  one it sees.  No two ranks share one.
 *  Collective.
 *  \param[in] comm  over host memory
 *  \return agreed status: ZT_ERR_UNAVAILABLE without driver, device or
 *          library, or when ranks would share a GPU; ZT_ERR_MEMORY. */
zt_status zt_device_cuda_create(zt_comm *comm, zt_device **dev);

/** One that only says what workspace operations need; no GPU has to be there.
 *  Local.  \return ZT_ERR_MEMORY. */
zt_status zt_device_cuda_create_to_plan(zt_device **dev);

/** Version that this is built with, "13000". */
const char *zt_device_cuda_version(void);

#endif
