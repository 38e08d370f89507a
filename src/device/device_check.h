/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Makes a host-memory device find uses of memory that holds nothing: fresh and
 *  released memory is full of NaN. */
#ifndef ZT_DEVICE_DEVICE_CHECK_H
#define ZT_DEVICE_DEVICE_CHECK_H

#include "device/device.h"

/** Change the device in place, before anything is allocated on it.
 *  \return ZT_ERR_MEMORY. */
zt_status zt_device_check(zt_device *dev);

#endif
