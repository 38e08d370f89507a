/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Inside of the CPU device, for its own files. */
#ifndef ZT_DEVICE_CPU_DEVICE_H
#define ZT_DEVICE_CPU_DEVICE_H

#include "device/cpu_kernels.h"
#include "device/device.h"

typedef struct zt_cpu_device {
  zt_device base;
  int threads;
  const zt_cpu_kernels *k;
} zt_cpu_device;

/** Number of the calling thread in its team. */
int zt_cpu_thread(void);
zt_status zt_cpu_gemm(zt_device *dev, const zt_gemm *call);
size_t zt_cpu_attention_workspace(const zt_device *dev,
                                  const zt_attention *call);
zt_status zt_cpu_attention_forward(zt_device *dev, const zt_attention *call);
zt_status zt_cpu_attention_backward(zt_device *dev, const zt_attention *call);

#endif
