/* SPDX-License-Identifier: BSD-3-Clause */
#include "cuda/cuda_libraries.h"

#include "config.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

zt_status zt_library_open(const char *name, const char *folder,
                          void **library) {
  char path[512];
  *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!*library) {
    snprintf(path, sizeof path, "%s/%s", folder, name);
    *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  }
  if (*library)
    return ZT_OK;
  return zt_fail(ZT_ERR_UNAVAILABLE,
                 "%s cannot be loaded (%.80s); load the module it comes with, "
                 "or set LD_LIBRARY_PATH",
                 name, dlerror());
}

zt_status zt_library_find(void *library, const char *name, const char *function,
                          void *to) {
  void *found = dlsym(library, function);
  if (!found)
    return zt_fail(ZT_ERR_UNAVAILABLE, "%s is too old, it has no %s", name,
                   function);
  memcpy(to, &found, sizeof found);
  return ZT_OK;
}

#define FIND(function)                                                         \
  ZT_TRY(zt_library_find(library, name, #function, &loaded.function));

zt_status zt_cublaslt_load(const zt_cublaslt **lt) {
  static const char name[] = "libcublasLt.so." ZT_TEXT(CUBLAS_VER_MAJOR);
  static zt_cublaslt loaded;
  static void *library;
  if (!library) {
    ZT_TRY(zt_library_open(name, ZT_CUDA_LIBDIR, &library));
    ZT_CUBLASLT_FUNCTIONS(FIND)
  }
  *lt = &loaded;
  return ZT_OK;
}
