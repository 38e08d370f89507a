/* SPDX-License-Identifier: BSD-3-Clause */
/* Small matrix products, summed in fp64.
 *
 * Small models are where long fp32 sums show: a gradient element near AdamW's
 * eps turns the last bits of a sum into a different step.  Products of fp32
 * numbers are exact in fp64, so in those sums even contraction to FMA changes
 * no bits, and at these sizes this is as fast as a BLAS that has to pack. */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

typedef double v8d __attribute__((vector_size(64)));

enum { ROWS = 6, COLUMNS = 16 };

/* Columns j .. j + n of op(B), padded to COLUMNS: [k][COLUMNS]. */
static void pack_b(const zt_gemm *call, int64_t j, int64_t n, double *packed) {
  const float *b = call->b.data;
  int64_t across = call->transpose_b ? call->b.ld : 1;
  int64_t down = call->transpose_b ? 1 : call->b.ld;
  for (int64_t p = 0; p < call->k; p++)
    for (int64_t c = 0; c < COLUMNS; c++)
      packed[p * COLUMNS + c] =
          c < n ? (double) b[(j + c) * across + p * down] : 0;
}

static void pack_a(const zt_gemm *call, int64_t i, int64_t m, double *packed) {
  const float *a = call->a.data;
  int64_t down = call->transpose_a ? 1 : call->a.ld;
  int64_t across = call->transpose_a ? call->a.ld : 1;
  for (int64_t p = 0; p < call->k; p++)
    for (int64_t r = 0; r < ROWS; r++)
      packed[p * ROWS + r] =
          r < m ? (double) a[(i + r) * down + p * across] : 0;
}

/* The only place where contraction is harmless. */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
static void multiply(int64_t k, const double *a, const double *b,
                     double sums[ROWS][COLUMNS]) {
  v8d low[ROWS] = {{0}}, high[ROWS] = {{0}};
  for (int64_t p = 0; p < k; p++, a += ROWS, b += COLUMNS) {
    v8d b0, b1;
    memcpy(&b0, b, sizeof b0);
    memcpy(&b1, b + 8, sizeof b1);
    for (int r = 0; r < ROWS; r++) {
      low[r] += a[r] * b0;
      high[r] += a[r] * b1;
    }
  }
  for (int r = 0; r < ROWS; r++) {
    memcpy(sums[r], &low[r], sizeof low[r]);
    memcpy(sums[r] + 8, &high[r], sizeof high[r]);
  }
}
#pragma GCC pop_options

void zt_cpu_gemm_small(const zt_gemm *call, int64_t i0, int64_t j0, int64_t m,
                       int64_t n) {
  double a[ZT_CPU_SMALL_K * ROWS], b[ZT_CPU_SMALL_K * COLUMNS];
  double sums[ROWS][COLUMNS];
  for (int64_t j = j0; j < j0 + n; j += COLUMNS) {
    int64_t width = j0 + n - j < COLUMNS ? j0 + n - j : COLUMNS;
    pack_b(call, j, width, b);
    for (int64_t i = i0; i < i0 + m; i += ROWS) {
      int64_t height = i0 + m - i < ROWS ? i0 + m - i : ROWS;
      pack_a(call, i, height, a);
      multiply(call->k, a, b, sums);
      for (int64_t r = 0; r < height; r++) {
        float *c = (float *) call->c.data + (i + r) * call->c.ld + j;
        for (int64_t x = 0; x < width; x++) {
          double old = call->beta != 0 ? (double) call->beta * c[x] : 0;
          c[x] = (float) ((double) call->alpha * sums[r][x] + old);
        }
      }
    }
  }
}
