/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The kernel sets that are built and that this processor can run. */
#ifndef ZT_TESTS_KERNEL_SETS_H
#define ZT_TESTS_KERNEL_SETS_H

#include "config.h"
#include "device/cpu_kernels.h"

enum { KERNEL_SETS = 3 };

/** Fills the list, the portable set first; returns how many there are. */
static inline int kernel_sets(const zt_cpu_kernels *sets[KERNEL_SETS]) {
  int n = 0;
  sets[n++] = &zt_cpu_kernels_portable;
#ifdef ZT_SET_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    sets[n++] = &zt_cpu_kernels_avx2;
#endif
#ifdef ZT_SET_AVX512
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    sets[n++] = &zt_cpu_kernels_avx512;
#endif
  return n;
}

#endif
