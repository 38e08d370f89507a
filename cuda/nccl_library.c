/* SPDX-License-Identifier: BSD-3-Clause */
#include "cuda/nccl_library.h"

#include "config.h"
#include "cuda/cuda_libraries.h"

#define FIND(function)                                                         \
  ZT_TRY(zt_library_find(library, name, #function, &loaded.function));

#define FIND_OPTIONAL(function)                                                \
  if (zt_library_find(library, name, #function, &loaded.function) != ZT_OK)    \
    loaded.function = NULL;

zt_status zt_nccl_load(const zt_nccl **nccl) {
  static const char name[] = "libnccl.so." ZT_TEXT(NCCL_MAJOR);
  static zt_nccl loaded;
  static void *library;
  if (!library) {
    ZT_TRY(zt_library_open(name, ZT_NCCL_LIBDIR, &library));
    ZT_NCCL_FUNCTIONS(FIND)
    ZT_NCCL_OPTIONAL(FIND_OPTIONAL)
  }
  *nccl = &loaded;
  return ZT_OK;
}
