/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What every .cu file includes: CUDA, or, where another compiler than nvcc
 *  reads it, the double of CUDA that the tests run kernels on.
 *
 *  So that both can read a kernel: launches and shared memory are written with
 *  the macros here, kernels are static, tensor cores are used through wmma, and
 *  no stream is the default one. */
#ifndef ZT_CUDA_CUDA_LAUNCH_H
#define ZT_CUDA_CUDA_LAUNCH_H

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <mma.h>
/** Kernel<<<grid, block, shared bytes, stream>>>(arguments). */
#define ZT_LAUNCH(kernel, grid, block, shared, stream, ...)                    \
  (kernel)<<<(grid), (block), (shared), (stream)>>>(__VA_ARGS__)
/** `type name dimensions` in the shared memory of a block. */
#define ZT_SHARED(type, name, ...) __shared__ type name __VA_ARGS__
/** `type *name`: the shared memory whose size the launch says. */
#define ZT_DYN_SMEM(type, name)                                                \
  extern __shared__ __align__(128) unsigned char zt_dynamic_memory[];          \
  type *name = reinterpret_cast<type *>(zt_dynamic_memory)
/** A thread does n multiply-adds of a matrix product outside the tensor cores:
 *  the double counts them. */
#define ZT_MACS(n)
#else
#include "emu_device.h"
#endif

#endif
