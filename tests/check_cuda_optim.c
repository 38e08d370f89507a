/* SPDX-License-Identifier: BSD-3-Clause */
/* What optimizers do on the CUDA device: the processor's bits. */
#include "base/grid.h"
#include "cuda_unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Adafactor ---- */

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

/* ---- AdamW, norm ---- */

START_TEST(adamw) {
  const int64_t lengths[] = {1, 31, 33, 1000};
  for (int s = 0; s < 4; s++) {
    int64_t n = lengths[s];
    cuda_array p = cuda_numbers(ZT_FP32, n, 1, 1);
    cuda_array m = cuda_numbers(ZT_FP32, n, 2, 0.1);
    cuda_array v = cuda_numbers(ZT_FP32, n, 3, 0.001);
    cuda_array g = cuda_numbers(ZT_FP32, n, 4, 30);
    zt_device *gpu = cuda_gpu(_i);
    for (int64_t i = 0; i < n; i++)
      v.cpu[i] = fabsf(v.cpu[i]);
    ck_zt_ok(zt_device_upload(gpu, v.gpu, v.cpu, (size_t) n * sizeof *v.cpu));
    zt_adamw call = {.n = n,
                     .p = p.cpu,
                     .m = m.cpu,
                     .v = v.cpu,
                     .gradient = g.cpu,
                     .scale = 0.37f,
                     .beta2 = 0.999f,
                     .eps = 1e-8f,
                     .rate1 = 0.1f,
                     .rate2 = 0.001f,
                     .decay = 0.9999f,
                     .step_size = 0.0123f,
                     .root_c2 = 0.31f};
    ck_zt_ok(zt_adamw_run(cuda_cpu(), &call));
    call.p = p.gpu;
    call.m = m.gpu;
    call.v = v.gpu;
    call.gradient = g.gpu;
    ck_zt_ok(zt_adamw_run(gpu, &call));
    cuda_same(&p, "AdamW");
    cuda_same(&m, "AdamW: m");
    cuda_same(&v, "AdamW: v");
    cuda_free(&g);
  }
}
END_TEST

START_TEST(squares) {
  enum { CELLS = 5 };
  double wanted[CELLS], got[CELLS];
  cuda_array x = cuda_numbers(ZT_FP32, CELLS * ZT_GRID, 1, 1);
  ck_zt_ok(zt_sum_squares(cuda_cpu(), CELLS, x.cpu, wanted));
  ck_zt_ok(zt_sum_squares(cuda_gpu(_i), CELLS, x.gpu, got));
  ck_assert_mem_eq(got, wanted, sizeof wanted);
  cuda_free(&x);
}
END_TEST

int main(int argc, char **argv) {
  Suite *suite = suite_create("cuda_optim");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, factored, 0, cuda_variants());
  tcase_add_loop_test(all, adamw, 0, cuda_variants());
  tcase_add_loop_test(all, squares, 0, cuda_variants());
  suite_add_tcase(suite, all);
  return cuda_main(suite, argc, argv);
}
