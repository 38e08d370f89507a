/* SPDX-License-Identifier: BSD-3-Clause */
/* Attention on the CUDA device against the processor's, forward and backward:
 * every mask, grouped heads, bias, dropout, lengths around those of tiles. */
#include "cuda_unit.h"
#include "numbers.h"

typedef struct shape {
  int64_t samples, heads, kv_heads, d, q_length, k_length;
  bool causal, padding, bias, documents;
  int64_t window;
  double dropout;
} shape;

static const shape shapes[] = {
    {1, 1, 1, 1, 1, 1, false, false, false, false, 0, 0},
    {2, 2, 2, 8, 31, 33, false, true, true, false, 0, 0},
    {1, 2, 1, 33, 33, 33, true, false, true, false, 0, 0.2},
    {2, 4, 2, 16, 65, 65, true, true, false, true, 0, 0},
    {1, 1, 1, 31, 70, 70, true, false, false, false, 20, 0},
    {2, 2, 2, 64, 40, 7, false, true, true, false, 0, 0.1},
    {1, 3, 1, 24, 5, 97, false, false, false, false, 0, 0},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* All arrays of a call. */
typedef struct arrays {
  cuda_array q, k, v, y, dy, dq, dk, dv, bias, dbias, stats, valid, first;
} arrays;

static cuda_array make_valid(const shape *s) {
  int32_t values[8];
  for (int64_t i = 0; i < s->samples; i++) /* the second sample has none */
    values[i] = (int32_t) (i == 1 ? 0 : (s->k_length + 1) / 2);
  return cuda_indices(values, s->samples);
}

/* Documents of 23 tokens. */
static cuda_array make_first(const shape *s) {
  enum { MOST = 256 };
  int32_t values[MOST];
  for (int64_t i = 0; i < s->samples * s->q_length; i++)
    values[i] = (int32_t) (i % s->q_length / 23 * 23);
  return cuda_indices(values, s->samples * s->q_length);
}

static arrays make_arrays(const shape *s, zt_dtype dtype) {
  int64_t q = s->samples * s->q_length * (s->heads * s->d + 3);
  int64_t k = s->samples * s->k_length * (s->kv_heads * s->d + 3);
  int64_t offsets = s->heads * (s->q_length + s->k_length - 1);
  return (arrays){.q = cuda_numbers(dtype, q, 1, 1),
                  .k = cuda_numbers(dtype, k, 2, 1),
                  .v = cuda_numbers(dtype, k, 3, 1),
                  .y = cuda_numbers(dtype, q, 4, 0),
                  .dy = cuda_numbers(dtype, q, 5, 1),
                  .dq = cuda_numbers(dtype, q, 6, 0),
                  .dk = cuda_numbers(dtype, k, 7, 0),
                  .dv = cuda_numbers(dtype, k, 8, 0),
                  .bias = cuda_numbers(ZT_FP32, offsets, 9, 1),
                  .dbias = cuda_numbers(ZT_FP32, offsets, 10, 1),
                  .stats = cuda_numbers(
                      ZT_FP32, 2 * s->samples * s->heads * s->q_length, 11, 0),
                  .valid = make_valid(s),
                  .first = make_first(s)};
}

static zt_matrix matrix_of(const cuda_array *a, bool gpu, int64_t columns) {
  return gpu ? (zt_matrix){a->gpu, columns + 3, a->dtype}
             : (zt_matrix){a->cpu, columns + 3, ZT_FP32};
}

static void *data_of(const cuda_array *a, bool gpu) {
  return gpu ? a->gpu : (void *) a->cpu;
}

static void run(const shape *s, arrays *a, bool gpu, zt_device *dev) {
  int64_t heads = s->heads * s->d, kv_heads = s->kv_heads * s->d;
  zt_attention c = {.samples = s->samples,
                    .heads = s->heads,
                    .kv_heads = s->kv_heads,
                    .head_dim = s->d,
                    .q_length = s->q_length,
                    .k_length = s->k_length,
                    .scale = 0.5f,
                    .causal = s->causal,
                    .window = s->window,
                    .k_first = s->documents ? data_of(&a->first, gpu) : NULL,
                    .k_valid = s->padding ? data_of(&a->valid, gpu) : NULL,
                    .bias = s->bias ? data_of(&a->bias, gpu) : NULL,
                    .dbias = s->bias ? data_of(&a->dbias, gpu) : NULL,
                    .q = matrix_of(&a->q, gpu, heads),
                    .k = matrix_of(&a->k, gpu, kv_heads),
                    .v = matrix_of(&a->v, gpu, kv_heads),
                    .y = matrix_of(&a->y, gpu, heads),
                    .dy = matrix_of(&a->dy, gpu, heads),
                    .dq = matrix_of(&a->dq, gpu, heads),
                    .dk = matrix_of(&a->dk, gpu, kv_heads),
                    .dv = matrix_of(&a->dv, gpu, kv_heads),
                    .stats = data_of(&a->stats, gpu),
                    .dropout = {.rate = (float) s->dropout,
                                .key = 99,
                                .step = 3,
                                .site = 2,
                                .first_sample = 5,
                                .rows_per_sample = s->heads * s->q_length}};
  size_t bytes = zt_device_attention_workspace(dev, &c);
  ck_zt_ok(zt_device_allocate(dev, bytes, &c.workspace));
  ck_zt_ok(zt_attention_forward(dev, &c));
  ck_zt_ok(zt_attention_backward(dev, &c));
  ck_zt_ok(zt_device_wait(dev));
  zt_device_release(dev, c.workspace, bytes);
}

START_TEST(attention) {
  int variant = _i / SHAPES;
  zt_dtype dtype = cuda_dtype(variant);
  const shape *s = &shapes[_i % SHAPES];
  arrays a = make_arrays(s, dtype);
  run(s, &a, false, cuda_cpu());
  run(s, &a, true, cuda_gpu(variant));
  /* In bf16 probabilities and gradients of scores are rounded as well. */
  double most = dtype == ZT_BF16 ? 1.5e-2 : 5e-6;
  if (!s->padding) /* those of rows without a key are not told */
    cuda_compare(&a.stats, "statistics", dtype == ZT_BF16 ? 1e-3 : 2e-6);
  else
    cuda_free(&a.stats);
  cuda_compare(&a.y, "y", most);
  cuda_compare(&a.dv, "dv", most);
  cuda_compare(&a.dq, "dq", most);
  cuda_compare(&a.dk, "dk", most);
  cuda_compare(&a.dbias, "dbias", most);
  cuda_free(&a.q);
  cuda_free(&a.k);
  cuda_free(&a.v);
  cuda_free(&a.dy);
  cuda_free(&a.bias);
  cuda_free(&a.valid);
  cuda_free(&a.first);
}
END_TEST

int main(int argc, char **argv) {
  Suite *suite = suite_create("cuda_attention");
  TCase *tcase = tcase_create("attention");
  tcase_set_timeout(tcase, 120);
  tcase_add_loop_test(tcase, attention, 0, SHAPES * cuda_variants());
  suite_add_tcase(suite, tcase);
  return cuda_main(suite, argc, argv);
}
