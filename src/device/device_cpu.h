/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The processor as a device. */
#ifndef ZT_DEVICE_DEVICE_CPU_H
#define ZT_DEVICE_DEVICE_CPU_H

#include "device/device.h"

/** To be called first in main(), before MPI: makes the BLAS use one thread and
 *  kernels for this processor.  Debian's OpenBLAS does not know processors
 *  newer than itself and takes half-width kernels on them; it reads its
 * settings while it is loaded, so this may start the program anew with them
 * set. */
void zt_device_cpu_prepare(char **argv);
/** The kernel set this process uses, as zt_device.kernels has it. */
void zt_device_cpu_kernels(char name[96]);

/** \param[in] threads  0: what OpenMP says.
 *  \return ZT_ERR_MEMORY. */
zt_status zt_device_cpu_create(int threads, zt_device **dev);

#endif
