/* SPDX-License-Identifier: BSD-3-Clause */
/* The program loads cuBLASLt and NCCL when it needs them; here they are linked.
 * Among a program's own sources this is found before the loader's. */
#include "cuda/cuda_libraries.h"
#include "cuda/nccl_library.h"

#include <stdlib.h>
#include <string.h>

#define LINKED(function) .function = function,

zt_status zt_cublaslt_load(const zt_cublaslt **lt) {
  static const zt_cublaslt linked = {ZT_CUBLASLT_FUNCTIONS(LINKED)};
  *lt = &linked;
  return ZT_OK;
}

zt_status zt_nccl_load(const zt_nccl **nccl) {
  static const zt_nccl older = {ZT_NCCL_FUNCTIONS(LINKED)};
  static const zt_nccl newer = {ZT_NCCL_FUNCTIONS(LINKED)
                                    ZT_NCCL_OPTIONAL(LINKED)};
  const char *kind = getenv("CUDAEMU_NCCL");
  *nccl = kind && !strcmp(kind, "old") ? &older : &newer;
  return ZT_OK;
}
