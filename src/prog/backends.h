/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Which device and communicator a program runs on.  The one place that knows
 *  what was built. */
#ifndef ZT_PROG_BACKENDS_H
#define ZT_PROG_BACKENDS_H

#include "base/settings.h"
#include "comm/comm.h"
#include "device/device.h"

/** The device that the settings ask for.
 *  Collective.
 *  \param[in] comm  over host memory
 *  \return agreed status: ZT_ERR_UNAVAILABLE if it is not to be had. */
zt_status zt_open_device(zt_device_choice choice, int64_t threads,
                         zt_comm *comm, zt_device **dev);
/** A device that stands for it in a plan, and does nothing else: there may be
 * no such device here.  As above. */
zt_status zt_open_device_to_plan(zt_device_choice choice, int64_t threads,
                                 zt_comm *comm, zt_device **dev);
/** The communicator for the memory of that device.
 *  Collective.
 *  \param[in]  host   over host memory; to be kept as long as the result
 *  \param[in]  limit  seconds that other ranks may take to answer; 0: for ever
 *  \param[out] comm   `host` itself where that serves
 *  \return agreed status: ZT_ERR_UNAVAILABLE, ZT_ERR_CONFIG. */
zt_status zt_open_comm(zt_comm_choice choice, double limit, zt_comm *host,
                       zt_device *dev, zt_comm **comm);
/** Sets *comm to NULL; does nothing to `host`. */
void zt_close_comm(zt_comm *host, zt_comm **comm);
/** What was built: "CUDA 13000, NCCL 2.28.9". */
void zt_backends_text(char text[64]);

#endif
