/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The functions of cuBLASLt that are used.
 *
 *  cuBLASLt and NCCL are large (100 MB of private memory in each process that
 *  is linked to them), so they are loaded when a device is opened: a run on
 *  processors does not pay, and starts where they are missing. */
#ifndef ZT_CUDA_CUDA_LIBRARIES_H
#define ZT_CUDA_CUDA_LIBRARIES_H

#include "base/status.h"

#include <cublasLt.h>

#define ZT_CUBLASLT_FUNCTIONS(X)                                               \
  X(cublasLtCreate)                                                            \
  X(cublasLtDestroy)                                                           \
  X(cublasLtGetVersion)                                                        \
  X(cublasLtMatmul)                                                            \
  X(cublasLtMatmulAlgoGetHeuristic)                                            \
  X(cublasLtMatmulDescCreate)                                                  \
  X(cublasLtMatmulDescDestroy)                                                 \
  X(cublasLtMatmulDescSetAttribute)                                            \
  X(cublasLtMatmulPreferenceCreate)                                            \
  X(cublasLtMatmulPreferenceDestroy)                                           \
  X(cublasLtMatmulPreferenceSetAttribute)                                      \
  X(cublasLtMatrixLayoutCreate)                                                \
  X(cublasLtMatrixLayoutDestroy)

#define ZT_POINTER(function) __typeof__(function) *function;
typedef struct zt_cublaslt {
  ZT_CUBLASLT_FUNCTIONS(ZT_POINTER)
} zt_cublaslt;
#undef ZT_POINTER

/** Loaded once, for the life of the process.  Local.
 *  \return ZT_ERR_UNAVAILABLE if the library cannot be loaded. */
zt_status zt_cublaslt_load(const zt_cublaslt **lt);

/** A shared library as the system finds it (LD_LIBRARY_PATH, modules), else
 *  from the folder where it was when this program was built.
 *  \return ZT_ERR_UNAVAILABLE. */
zt_status zt_library_open(const char *name, const char *folder, void **library);
/** Address of a function of it, stored at `to`.
 *  \return ZT_ERR_UNAVAILABLE if the library has none of this name. */
zt_status zt_library_find(void *library, const char *name, const char *function,
                          void *to);

#define ZT_TEXT2(x) #x
#define ZT_TEXT(x) ZT_TEXT2(x)

#endif
