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
 *  \return agreed status: ZT_ERR_UNAVAILABLE if it is not to be had. */
zt_status zt_open_device(zt_device_choice choice, int64_t threads,
                         zt_comm *comm, zt_device **dev);
/** Check that the communicator asked for is to be had.  Local. */
zt_status zt_check_comm(zt_comm_choice choice);

#endif
