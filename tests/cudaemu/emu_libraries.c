/* SPDX-License-Identifier: BSD-3-Clause */
/* The program loads cuBLASLt and NCCL when it needs them; here they are linked.
 * Among a program's own sources this is found before the loader's. */
#include "cuda/cuda_libraries.h"
#include "cuda/nccl_library.h"

#define LINKED(function) .function = function,

zt_status zt_cublaslt_load(const zt_cublaslt **lt) {
  static const zt_cublaslt linked = {ZT_CUBLASLT_FUNCTIONS(LINKED)};
  *lt = &linked;
  return ZT_OK;
}

zt_status zt_nccl_load(const zt_nccl **nccl) {
  static const zt_nccl linked = {ZT_NCCL_FUNCTIONS(LINKED)};
  *nccl = &linked;
  return ZT_OK;
}
