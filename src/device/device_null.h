/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A device that computes nothing: planning runs the real step on it, and its
 *  counters and arenas say what the real one will need. */
#ifndef ZT_DEVICE_DEVICE_NULL_H
#define ZT_DEVICE_DEVICE_NULL_H

#include "device/device.h"

/** \param[in] like  the device planned for: says the workspaces; must outlive
 *                   the new one
 *  \return ZT_ERR_MEMORY. */
zt_status zt_device_null_create(const zt_device *like, zt_device **dev);

#endif
