/* SPDX-License-Identifier: BSD-3-Clause */
#include "cuda_unit.h"

#include "comm/comm_mpi.h"
#include "cuda/device_cuda.h"
#include "cudaemu/emu.h"
#include "device/device_cpu.h"
#include "numbers.h"

#include <stdio.h>

/* There only where the double is linked. */
#pragma weak emu_configure
#pragma weak emu_take_reports
#pragma weak emu_last_report

static zt_device *cpu, *gpu;

static bool on_double(void) {
  return emu_configure != NULL;
}

int cuda_orders(void) {
  return on_double() ? 3 : 1;
}

int cuda_variants(void) {
  return 2 * cuda_orders();
}

zt_dtype cuda_dtype(int variant) {
  return variant % 2 ? ZT_BF16 : ZT_FP32;
}

zt_device *cuda_cpu(void) {
  return cpu;
}

zt_device *cuda_gpu(int variant) {
  if (on_double())
    emu_configure(1 + (unsigned) variant, EMU_RANDOM,
                  (emu_order) (variant / 2 % 3));
  return gpu;
}

int cuda_main(Suite *suite, int argc, char **argv) {
  zt_comm *comm = NULL;
  int failed = EXIT_FAILURE;
  MPI_Init(&argc, &argv);
  if (zt_comm_mpi_create(MPI_COMM_SELF, &comm) == ZT_OK &&
      zt_device_cpu_create(1, &cpu) == ZT_OK &&
      zt_device_cuda_create(comm, &gpu) == ZT_OK) {
    printf("%s against %s\n", gpu->kernels, cpu->kernels);
    failed = unit_main(suite, CK_NOFORK);
  } else {
    printf("no device: %s\n", zt_last_error());
  }
  zt_device_destroy(&gpu);
  zt_device_destroy(&cpu);
  zt_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}

/* ---- Arrays ---- */

static void upload(cuda_array *a, const void *values, size_t bytes) {
  ck_zt_ok(zt_device_allocate(gpu, bytes, &a->gpu));
  ck_zt_ok(zt_device_upload(gpu, a->gpu, values, bytes));
}

cuda_array cuda_numbers(zt_dtype dtype, int64_t n, uint64_t seed,
                        double scale) {
  cuda_array a = {.n = n, .dtype = dtype};
  size_t count = (size_t) n, bytes = count * zt_dtype_size(dtype);
  char *narrow = malloc(bytes);
  a.cpu = malloc(count * sizeof *a.cpu);
  ck_assert(narrow && a.cpu);
  numbers_fill(a.cpu, n, seed, scale);
  zt_from_fp32(dtype, a.cpu, narrow, count);
  zt_to_fp32(dtype, narrow, a.cpu, count);
  upload(&a, narrow, bytes);
  free(narrow);
  return a;
}

cuda_array cuda_indices(const int32_t *values, int64_t n) {
  cuda_array a = {.n = n, .dtype = ZT_FP32};
  size_t bytes = (size_t) n * sizeof *values;
  a.cpu = malloc(bytes);
  ck_assert_ptr_nonnull(a.cpu);
  memcpy(a.cpu, values, bytes);
  upload(&a, values, bytes);
  return a;
}

void cuda_free(cuda_array *array) {
  zt_device_release(gpu, array->gpu,
                    (size_t) array->n * zt_dtype_size(array->dtype));
  free(array->cpu);
  *array = (cuda_array){0};
}

float *cuda_download(const cuda_array *array) {
  size_t count = (size_t) array->n;
  size_t bytes = count * zt_dtype_size(array->dtype);
  char *narrow = malloc(bytes);
  float *values = malloc(count * sizeof *values);
  ck_assert(narrow && values);
  ck_zt_ok(zt_device_download(gpu, narrow, array->gpu, bytes));
  zt_to_fp32(array->dtype, narrow, values, count);
  free(narrow);
  if (on_double()) {
    long reports = emu_take_reports();
    ck_assert_msg(reports == 0, "%ld reports, the last: %s", reports,
                  emu_last_report());
  }
  return values;
}

void cuda_compare(cuda_array *array, const char *what, double distance) {
  float *got = cuda_download(array);
  double difference = 0, size = 0;
  for (int64_t i = 0; i < array->n; i++) {
    double x = (double) got[i], y = (double) array->cpu[i];
    if (isnan(x) != isnan(y))
      ck_abort_msg("%s: element %ld is %g, not %g", what, (long) i, x, y);
    if (isnan(x) || x == y)
      continue;
    difference += (x - y) * (x - y);
    size += y * y;
  }
  double found = sqrt(difference / (size > 0 ? size : 1));
  if (!(found <= distance))
    ck_abort_msg("%s: distance %g above %g", what, found, distance);
  free(got);
  cuda_free(array);
}

void cuda_same(cuda_array *array, const char *what) {
  float *got = cuda_download(array);
  int64_t i = numbers_differ(got, array->cpu, array->n);
  if (i >= 0)
    ck_abort_msg("%s: element %ld is %.9g, not %.9g", what, (long) i,
                 (double) got[i], (double) array->cpu[i]);
  free(got);
  cuda_free(array);
}

double cuda_tolerance(zt_dtype dtype) {
  return dtype == ZT_BF16 ? 6e-3 : 2e-6;
}
