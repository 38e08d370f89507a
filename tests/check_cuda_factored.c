/* SPDX-License-Identifier: BSD-3-Clause */
/* Adafactor's operations on the CUDA device: the processor's bits. */
#include "cuda_unit.h"

#include <stdlib.h>
#include <string.h>

/* Integers do not depend on the order of blocks; the rest is one element. */
static void check_factored(int variant, int64_t rows, int64_t columns,
                           int64_t first, int64_t n) {
  zt_device *gpu = cuda_gpu(variant);
  const bool matrix = columns > 1;
  const int64_t statistics = rows + (matrix ? columns : 0);
  const size_t bytes = (size_t) statistics * sizeof(int64_t);
  cuda_array g = cuda_numbers(ZT_FP32, n, 1, 1);
  cuda_array factor = cuda_numbers(ZT_FP32, statistics, 2, 3e6);
  int64_t *wanted = calloc((size_t) statistics, sizeof *wanted);
  int64_t *got = calloc((size_t) statistics, sizeof *got);
  void *there;
  ck_zt_ok(zt_device_allocate(gpu, bytes, &there));
  for (int phase = ZT_FACTORED_LARGEST; phase <= ZT_FACTORED_UPDATE; phase++) {
    zt_factored call = {.phase = (zt_factored_phase) phase,
                        .first = first,
                        .n = n,
                        .columns = columns,
                        .gradient = g.cpu,
                        .scale = 0.37f,
                        .row_sum = wanted,
                        .column_sum = matrix ? wanted + rows : NULL,
                        .row_factor = factor.cpu,
                        .column_factor = matrix ? factor.cpu + rows : NULL};
    memset(wanted, 0, bytes);
    ck_zt_ok(zt_factored_run(cuda_cpu(), &call));
    call.gradient = g.gpu;
    call.row_sum = there;
    call.row_factor = factor.gpu;
    if (matrix) {
      call.column_sum = call.row_sum + rows;
      call.column_factor = call.row_factor + rows;
    }
    ck_zt_ok(zt_device_zero(gpu, there, bytes));
    ck_zt_ok(zt_factored_run(gpu, &call));
    ck_zt_ok(zt_device_download(gpu, got, there, bytes));
    ck_assert_mem_eq(got, wanted, bytes);
  }
  zt_device_release(gpu, there, bytes);
  cuda_same(&g, "factored update");
  cuda_free(&factor);
  free(wanted);
  free(got);
}

START_TEST(factored) {
  check_factored(_i, 7, 5, 0, 35);
  check_factored(_i, 130, 300, 4096, 12288);
  check_factored(_i, 3, 1000, 2, 2990);
  check_factored(_i, 70, 33, 69 * 33 + 4, 20);
  check_factored(_i, 200, 1, 3, 150);
  cuda_array p = cuda_numbers(ZT_FP32, 700, 3, 1);
  cuda_array u = cuda_numbers(ZT_FP32, 700, 4, 1);
  ck_zt_ok(zt_step_down(cuda_cpu(), p.n, p.cpu, u.cpu, 0.99f, 0.01f));
  ck_zt_ok(zt_step_down(cuda_gpu(_i), p.n, p.gpu, u.gpu, 0.99f, 0.01f));
  cuda_same(&p, "step down");
  cuda_free(&u);
}
END_TEST

int main(int argc, char **argv) {
  Suite *suite = suite_create("cuda_factored");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, factored, 0, cuda_variants());
  suite_add_tcase(suite, all);
  return cuda_main(suite, argc, argv);
}
