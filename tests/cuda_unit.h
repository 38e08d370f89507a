/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the tests of the CUDA device share: the same numbers on it and on the
 *  processor.
 *
 *  The tests are linked twice: with the double, where each runs with threads in
 *  three orders, and for tests/gpu.sh with CUDA itself. */
#ifndef ZT_TESTS_CUDA_UNIT_H
#define ZT_TESTS_CUDA_UNIT_H

#include "device/device.h"
#include "unit.h"

/** Orders of threads, for loop tests; one where a GPU has its own. */
int cuda_orders(void);
/** Orders times two number formats. */
int cuda_variants(void);
/** Number format of a variant. */
zt_dtype cuda_dtype(int variant);

/** The processor, one thread; and the GPU, threads in this order. */
zt_device *cuda_cpu(void);
zt_device *cuda_gpu(int variant);
/** MPI and devices, around all tests. */
int cuda_main(Suite *suite, int argc, char **argv);

/** An array on both.  Numbers of the one are those of the other exactly: they
 *  are made in the narrower format. */
typedef struct cuda_array {
  int64_t n;
  zt_dtype dtype; /* on the GPU; the processor has fp32 */
  float *cpu;
  void *gpu;
} cuda_array;

/** Uniform numbers up to `scale`; scale NAN fills with NaN, to be written. */
cuda_array cuda_numbers(zt_dtype dtype, int64_t n, uint64_t seed, double scale);
/** Indices from 0 to below - 1, the same integers on both.  They lie in `cpu`
 *  as int32_t. */
cuda_array cuda_indices(const int32_t *values, int64_t n);
void cuda_free(cuda_array *array);

/** What the GPU has, widened; free() it. */
float *cuda_download(const cuda_array *array);
/** Compare after an operation, and free.  The distance is relative to the size
 *  of the whole array. */
void cuda_compare(cuda_array *array, const char *what, double distance);
/** Both have the same bits, and free. */
void cuda_same(cuda_array *array, const char *what);

/** Distance that an operation on numbers of a format may have: a few roundings.
 */
double cuda_tolerance(zt_dtype dtype);

#endif
