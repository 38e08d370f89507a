/* SPDX-License-Identifier: BSD-3-Clause */
/* Operations of generation on the CUDA device against the processor's. */
#include "cuda_unit.h"

#include <math.h>
#include <stdlib.h>

enum { HEADS = 4, KV_HEADS = 2, DIM = 20, SLOTS = 2, LENGTH = 150, ROWS = 5 };
enum { WIDTH = HEADS * DIM, KEPT = KV_HEADS * DIM, OFFSETS = 2 * LENGTH - 1 };

/* More keys than a block has threads, one key, and some. */
static const int32_t positions[ROWS] = {149, 0, 127, 128, 31};

static const struct {
  int64_t window;
  bool bias, places;
} cases[] = {{0, false, false}, {0, true, true}, {7, false, false}};
enum { CASES = sizeof cases / sizeof *cases };

START_TEST(attention_of_rows) {
  zt_device *devices[] = {cuda_cpu(), cuda_gpu(0)};
  int32_t base[ROWS], keys[ROWS], place[SLOTS * LENGTH];
  for (int32_t r = 0; r < ROWS; r++) {
    base[r] = r % SLOTS * LENGTH;
    keys[r] = positions[r] + 1;
  }
  for (int32_t i = 0; i < SLOTS * LENGTH; i++)
    place[i] = (i * 7 + 1) % (SLOTS * LENGTH);
  cuda_array q = cuda_numbers(ZT_FP32, ROWS * WIDTH, 1, 1);
  cuda_array k = cuda_numbers(ZT_FP32, SLOTS * LENGTH * KEPT, 2, 1);
  cuda_array v = cuda_numbers(ZT_FP32, SLOTS * LENGTH * KEPT, 3, 1);
  cuda_array y = cuda_numbers(ZT_FP32, ROWS * WIDTH, 4, (double) NAN);
  cuda_array bias = cuda_numbers(ZT_FP32, HEADS * OFFSETS, 5, 1);
  cuda_array ints[] = {cuda_indices(base, ROWS), cuda_indices(keys, ROWS),
                       cuda_indices(positions, ROWS),
                       cuda_indices(place, SLOTS * LENGTH)};
  for (int i = 0; i < 2; i++) {
    const int32_t *p[4];
    for (int j = 0; j < 4; j++)
      p[j] = i ? ints[j].gpu : (void *) ints[j].cpu;
    ck_zt_ok(zt_row_attention_run(
        devices[i],
        &(zt_row_attention){.rows = ROWS,
                            .heads = HEADS,
                            .kv_heads = KV_HEADS,
                            .head_dim = DIM,
                            .scale = 0.5F,
                            .window = cases[_i].window,
                            .most_keys = LENGTH,
                            .base = p[0],
                            .keys = p[1],
                            .position = p[2],
                            .place = cases[_i].places ? p[3] : NULL,
                            .bias = cases[_i].bias ? (i ? bias.gpu : bias.cpu)
                                                   : NULL,
                            .offsets = OFFSETS,
                            .zero = LENGTH - 1,
                            .q = {i ? q.gpu : q.cpu, WIDTH, ZT_FP32},
                            .k = {i ? k.gpu : k.cpu, KEPT, ZT_FP32},
                            .v = {i ? v.gpu : v.cpu, KEPT, ZT_FP32},
                            .y = {i ? y.gpu : y.cpu, WIDTH, ZT_FP32}}));
  }
  cuda_compare(&y, "y", 1e-6);
  cuda_array *all[] = {&q, &k, &v, &bias, ints, ints + 1, ints + 2, ints + 3};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    cuda_free(all[i]);
}
END_TEST

/* Every row has the bits that it has alone, whatever the others are. */
static const struct {
  bool transpose_b;
  int64_t m, n, k;
  float beta;
} products[] = {{true, 1, 1, 1, 0},      {true, 13, 37, 70, 0},
                {true, 9, 16, 31, 0.5F}, {false, 1, 3, 2, 0},
                {false, 13, 37, 70, 0},  {false, 8, 33, 129, 0.5F}};
enum { PRODUCTS = sizeof products / sizeof *products };

static void multiply(zt_device *dev, int i, int64_t row, int64_t m, void *a,
                     void *b, void *c) {
  const int64_t n = products[i].n, k = products[i].k;
  const int64_t lda = k + 3, ldc = n + 1;
  ck_zt_ok(zt_gemm_run(
      dev, &(zt_gemm){.transpose_b = products[i].transpose_b,
                      .m = m,
                      .n = n,
                      .k = k,
                      .alpha = 0.75F,
                      .beta = products[i].beta,
                      .a = {(float *) a + row * lda, lda, ZT_FP32},
                      .b = {b, products[i].transpose_b ? k : n, ZT_FP32},
                      .c = {(float *) c + row * ldc, ldc, ZT_FP32},
                      .rows_alone = true}));
}

START_TEST(products_of_rows_alone) {
  const int which = _i % PRODUCTS;
  const int64_t m = products[which].m, n = products[which].n;
  const int64_t k = products[which].k;
  zt_device *gpu = cuda_gpu(_i / PRODUCTS);
  cuda_array a = cuda_numbers(ZT_FP32, m * (k + 3), 1, 1);
  cuda_array b = cuda_numbers(ZT_FP32, n * k, 2, 1);
  cuda_array c = cuda_numbers(ZT_FP32, m * (n + 1), 3, 1);
  cuda_array alone = cuda_numbers(ZT_FP32, m * (n + 1), 3, 1);
  multiply(cuda_cpu(), which, 0, m, a.cpu, b.cpu, c.cpu);
  multiply(gpu, which, 0, m, a.gpu, b.gpu, c.gpu);
  for (int64_t row = 0; row < m; row++)
    multiply(gpu, which, row, 1, a.gpu, b.gpu, alone.gpu);
  float *all = cuda_download(&c), *each = cuda_download(&alone);
  ck_assert_mem_eq(all, each, (size_t) (m * (n + 1)) * sizeof *all);
  free(all);
  free(each);
  cuda_compare(&c, "c", 1e-6);
  cuda_free(&a);
  cuda_free(&b);
  cuda_free(&alone);
}
END_TEST

START_TEST(rows_go_to_their_places) {
  const int32_t places[] = {3, 0, 7};
  zt_device *devices[] = {cuda_cpu(), cuda_gpu(0)};
  cuda_array from = cuda_numbers(ZT_FP32, 3 * 50, 1, 1);
  cuda_array to = cuda_numbers(ZT_FP32, 8 * 60, 2, 1);
  cuda_array place = cuda_indices(places, 3);
  for (int i = 0; i < 2; i++)
    ck_zt_ok(zt_scatter_run(
        devices[i],
        &(zt_scatter){.rows = 3,
                      .n = 45,
                      .place = i ? place.gpu : (void *) place.cpu,
                      .from = {i ? from.gpu : from.cpu, 50, ZT_FP32},
                      .to = {i ? to.gpu : to.cpu, 60, ZT_FP32}}));
  cuda_same(&to, "to");
  cuda_free(&from);
  cuda_free(&place);
}
END_TEST

int main(int argc, char **argv) {
  Suite *suite = suite_create("cuda rows");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, attention_of_rows, 0, CASES);
  tcase_add_loop_test(all, products_of_rows_alone, 0, PRODUCTS * cuda_orders());
  tcase_add_test(all, rows_go_to_their_places);
  suite_add_tcase(suite, all);
  return cuda_main(suite, argc, argv);
}
