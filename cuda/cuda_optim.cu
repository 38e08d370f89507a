/* SPDX-License-Identifier: BSD-3-Clause */
/* The optimizer's kernels, operation by operation as the CPU device computes
 * them: from the same gradients both make the same bits. */
#include "cuda/cuda_math.h"

#include "base/grid.h"

enum { THREADS = 256, LANES = 8 };

static __global__ void adamw(zt_adamw c) {
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  if (i >= c.n)
    return;
  float g = c.gradient[i] * c.scale;
  float m = c.m[i], v = c.v[i];
  m = m + (g - m) * c.rate1;
  v = v * c.beta2 + g * g * c.rate2;
  c.m[i] = m;
  c.v[i] = v;
  float denominator = sqrtf(v) / c.root_c2 + c.eps;
  c.p[i] = c.p[i] * c.decay - c.step_size * (m / denominator);
}

/* Eight lanes of a warp share a grid cell. */
static __global__ void sum_squares(int64_t cells, const float *x,
                                   double *sums) {
  int64_t thread = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  int64_t cell = thread / LANES;
  double sum = 0;
  if (cell < cells) {
    const float *from = x + cell * ZT_GRID + thread % LANES;
#pragma unroll 8
    for (int i = 0; i < ZT_GRID; i += LANES)
      sum += (double) from[i] * (double) from[i];
  }
  for (int step = LANES / 2; step > 0; step /= 2)
    sum += __shfl_down_sync(0xffffffffu, sum, step, LANES);
  if (cell < cells && thread % LANES == 0)
    sums[cell] = sum;
}

zt_status zt_cuda_adamw(const zt_adamw *c, cudaStream_t stream) {
  if (c->n == 0)
    return ZT_OK;
  ZT_LAUNCH(adamw, dim3(blocks_of(c->n, THREADS)), dim3(THREADS), 0, stream,
            *c);
  return zt_cuda_launched("AdamW");
}

zt_status zt_cuda_sum_squares(int64_t cells, const float *x, double *sums,
                              cudaStream_t stream) {
  if (cells == 0)
    return ZT_OK;
  ZT_LAUNCH(sum_squares, dim3(blocks_of(cells * LANES, THREADS)), dim3(THREADS),
            0, stream, cells, x, sums);
  return zt_cuda_launched("sum of squares");
}
