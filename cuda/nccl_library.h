/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The functions of NCCL that are used; see cuda_libraries.h. */
#ifndef ZT_CUDA_NCCL_LIBRARY_H
#define ZT_CUDA_NCCL_LIBRARY_H

#include "base/status.h"

#include <nccl.h>

#define ZT_NCCL_FUNCTIONS(X)                                                   \
  X(ncclAllGather)                                                             \
  X(ncclCommAbort)                                                             \
  X(ncclCommDestroy)                                                           \
  X(ncclCommFinalize)                                                          \
  X(ncclCommGetAsyncError)                                                     \
  X(ncclCommInitRankConfig)                                                    \
  X(ncclGetErrorString)                                                        \
  X(ncclGetUniqueId)                                                           \
  X(ncclGetVersion)                                                            \
  X(ncclGroupEnd)                                                              \
  X(ncclGroupStart)                                                            \
  X(ncclRecv)                                                                  \
  X(ncclSend)

/** Since 2.19; NULL where the library is older. */
#if NCCL_VERSION_CODE >= NCCL_VERSION(2, 19, 0)
#define ZT_NCCL_OPTIONAL(X)                                                    \
  X(ncclCommDeregister)                                                        \
  X(ncclCommRegister)                                                          \
  X(ncclMemAlloc)                                                              \
  X(ncclMemFree)
#define ZT_NCCL_REGISTERS 1
#else
#define ZT_NCCL_OPTIONAL(X)
#endif

#define ZT_POINTER(function) __typeof__(function) *function;
typedef struct zt_nccl {
  ZT_NCCL_FUNCTIONS(ZT_POINTER)
  ZT_NCCL_OPTIONAL(ZT_POINTER)
} zt_nccl;
#undef ZT_POINTER

/** Loaded once, for the life of the process.  Local.
 *  \return ZT_ERR_UNAVAILABLE if the library cannot be loaded. */
zt_status zt_nccl_load(const zt_nccl **nccl);

#endif
