/* SPDX-License-Identifier: BSD-3-Clause */
/* Adafactor's kernels, with the bits of the CPU device: statistics are
 * integers, so atomic additions of blocks in any order have one result. */
#include "cuda/cuda_math.h"

#include <string.h>

enum { COLUMNS = 256, ROWS = 64, MOST_BLOCKS = 65535 };

typedef unsigned long long count;

/* (g * factor)^2 to the nearest integer, ties to even, as the bits that are
 * left when 2^52 is added. */
static __device__ __forceinline__ count integer_square(float x) {
  double y = (double) x * (double) x + 0x1p52;
  count bits;
  memcpy(&bits, &y, sizeof bits);
  return bits - 0x4330000000000000ull;
}

static __device__ __forceinline__ count magnitude_bits(float x) {
  unsigned bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x7fffffffu;
}

template <bool LARGEST>
static __device__ __forceinline__ count join(count a, count b) {
  return LARGEST ? (a > b ? a : b) : a + b;
}

template <bool LARGEST>
static __device__ __forceinline__ void join_at(int64_t *to, count value) {
  count *at = reinterpret_cast<count *>(to);
  if (value == 0)
    return;
  if (LARGEST)
    atomicMax(at, value);
  else
    atomicAdd(at, value);
}

/* A block has a tile; a thread a column of it, a warp a part of each row. */
template <bool LARGEST>
static __global__ void statistics(zt_factored c, int64_t end_row) {
  const int64_t column = (int64_t) blockIdx.x * COLUMNS + threadIdx.x;
  const int64_t first = c.first / c.columns + (int64_t) blockIdx.y * ROWS;
  const bool is_column = column < c.columns;
  const float column_factor =
      !LARGEST && c.column_sum && is_column ? c.column_factor[column] : 0;
  count down = 0;
  for (int64_t row = first; row < at_most(first + ROWS, end_row); row++) {
    const int64_t i = row * c.columns + column - c.first;
    const bool here = is_column && i >= 0 && i < c.n;
    const float g = here ? c.gradient[i] * c.scale : 0;
    count across =
        LARGEST ? magnitude_bits(g) : integer_square(g * c.row_factor[row]);
    down = join<LARGEST>(down,
                         LARGEST ? across : integer_square(g * column_factor));
    for (int step = 16; step > 0; step /= 2)
      across =
          join<LARGEST>(across, __shfl_xor_sync(0xffffffffu, across, step));
    if (threadIdx.x % 32 == 0)
      join_at<LARGEST>(&c.row_sum[row], across);
  }
  if (c.column_sum && is_column)
    join_at<LARGEST>(&c.column_sum[column], down);
}

static __global__ void update(zt_factored c, int64_t end_row) {
  const int64_t column = (int64_t) blockIdx.x * COLUMNS + threadIdx.x;
  const int64_t first = c.first / c.columns + (int64_t) blockIdx.y * ROWS;
  if (column >= c.columns)
    return;
  for (int64_t row = first; row < at_most(first + ROWS, end_row); row++) {
    const int64_t i = row * c.columns + column - c.first;
    if (i < 0 || i >= c.n)
      continue;
    const float factor = c.column_factor
                             ? c.row_factor[row] * c.column_factor[column]
                             : c.row_factor[row];
    c.gradient[i] = c.gradient[i] * c.scale * factor;
  }
}

static __global__ void step_down(int64_t n, float *p, const float *u,
                                 float decay, float step_size) {
  int64_t i = (int64_t) blockIdx.x * COLUMNS + threadIdx.x;
  if (i < n)
    p[i] = p[i] * decay - step_size * u[i];
}

/* More rows than a grid has go in several launches. */
zt_status zt_cuda_factored(const zt_factored *call, cudaStream_t stream) {
  const int64_t most = (int64_t) MOST_BLOCKS * ROWS * call->columns;
  zt_factored c = *call;
  for (int64_t left = call->n; left > 0; left -= c.n) {
    /* Up to the end of a row, so that the next launch begins with one. */
    c.n = at_most(left, most - c.first % c.columns);
    const int64_t end_row = (c.first + c.n - 1) / c.columns + 1;
    const int64_t rows = end_row - c.first / c.columns;
    const dim3 grid((unsigned) ((c.columns + COLUMNS - 1) / COLUMNS),
                    (unsigned) ((rows + ROWS - 1) / ROWS));
    if (c.phase == ZT_FACTORED_LARGEST)
      ZT_LAUNCH(statistics<true>, grid, dim3(COLUMNS), 0, stream, c, end_row);
    else if (c.phase == ZT_FACTORED_SUM)
      ZT_LAUNCH(statistics<false>, grid, dim3(COLUMNS), 0, stream, c, end_row);
    else
      ZT_LAUNCH(update, grid, dim3(COLUMNS), 0, stream, c, end_row);
    c.first += c.n;
    c.gradient += c.n;
  }
  return zt_cuda_launched("Adafactor");
}

zt_status zt_cuda_step_down(int64_t n, float *p, const float *u, float decay,
                            float step_size, cudaStream_t stream) {
  if (n == 0)
    return ZT_OK;
  ZT_LAUNCH(step_down, dim3(blocks_of(n, COLUMNS)), dim3(COLUMNS), 0, stream, n,
            p, u, decay, step_size);
  return zt_cuda_launched("Adafactor's step");
}
