/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The processor as a device. */
#ifndef ZT_DEVICE_DEVICE_CPU_H
#define ZT_DEVICE_DEVICE_CPU_H

#include "device/device.h"

/** To be called first in main(), before MPI.  BLAS and OpenMP read their
 *  settings while they are loaded: where the user has set none, this sets those
 *  that suit us (kernels of the processor's full width, which Debian's OpenBLAS
 *  does not take on processors newer than itself; short spinning) and starts
 *  the program anew, once. */
void zt_device_cpu_prepare(char **argv);
/** The kernel set this process uses, as zt_device.kernels has it. */
void zt_device_cpu_kernels(char name[96]);

/** \param[in] threads  0: what OpenMP says.
 *  \return ZT_ERR_MEMORY. */
zt_status zt_device_cpu_create(int threads, zt_device **dev);

#endif
