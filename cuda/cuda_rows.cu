/* SPDX-License-Identifier: BSD-3-Clause */
/* Generation: rows to their places, attention of single query rows, and matrix
 * products in which every row is computed by itself.
 *
 * Attention: a block has one head of one row.  It goes over the keys a tile at
 * a time and keeps the largest score and the sum so far, so that memory does
 * not grow with the text; the order is a function of what the row sees alone.
 *
 * Products: cuBLASLt picks an algorithm by the number of rows, and with it the
 * order of a sum.  Here it is fixed by k.  With few rows what counts is reading
 * B once: threads of a warp read it side by side, and what they have read
 * serves ROWS rows of A. */
#include "cuda/cuda_math.h"

enum { THREADS = 128 };

static __global__ void scatter(zt_scatter c) {
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  if (i >= c.rows * c.n)
    return;
  int64_t row = i / c.n, column = i % c.n;
  ((float *) c.to.data)[c.place[row] * c.to.ld + column] =
      ((const float *) c.from.data)[row * c.from.ld + column];
}

/* Row of k and v that holds key j. */
static __device__ __forceinline__ int64_t row_of_key(const zt_row_attention &c,
                                                     int64_t row, int64_t j) {
  int64_t at = c.base[row] + j;
  return c.place ? c.place[at] : at;
}

static __global__ void row_attention(zt_row_attention c) {
  ZT_SHARED(float, p, [THREADS]);
  ZT_SHARED(float, memory, [32]);
  const int64_t row = blockIdx.x / c.heads, h = blockIdx.x % c.heads;
  const int64_t d = c.head_dim, keys = c.keys[row], position = c.position[row];
  const int64_t column = h / (c.heads / c.kv_heads) * d;
  const float *q = (const float *) c.q.data + row * c.q.ld + h * d;
  const float *k = (const float *) c.k.data + column;
  const float *v = (const float *) c.v.data + column;
  float *y = (float *) c.y.data + row * c.y.ld + h * d;
  float largest = -INFINITY, sum = 0;
  int64_t first = c.window ? position + 1 - c.window : 0;
  for (int64_t x = threadIdx.x; x < d; x += THREADS)
    y[x] = 0;
  for (first = first < 0 ? 0 : first; first < keys; first += THREADS) {
    const int64_t j = first + threadIdx.x;
    const int n = (int) at_most(keys - first, THREADS);
    float score = -INFINITY;
    if (j < keys) {
      const float *key = k + row_of_key(c, row, j) * c.k.ld;
      score = 0;
      for (int64_t x = 0; x < d; x++)
        score += q[x] * key[x];
      score *= c.scale;
      if (c.bias)
        score += c.bias[h * c.offsets + c.zero + j - position];
    }
    float most = fmaxf(largest, block_max(score, memory));
    float again = exp_of(largest - most); /* 0 in the first tile */
    p[threadIdx.x] = j < keys ? exp_of(score - most) : 0;
    sum = sum * again + block_sum(p[threadIdx.x], memory);
    largest = most;
    for (int64_t x = threadIdx.x; x < d; x += THREADS) {
      float part = 0;
      for (int i = 0; i < n; i++)
        part += p[i] * v[row_of_key(c, row, first + i) * c.v.ld + x];
      y[x] = y[x] * again + part;
    }
    __syncthreads();
  }
  for (int64_t x = threadIdx.x; x < d; x += THREADS)
    y[x] /= sum;
}

enum { ROWS = 8, COLUMNS = 4, WARPS = THREADS / 32, SLICES = 8 };

static __device__ __forceinline__ void put(const zt_gemm &c, int64_t row,
                                           int64_t column, float sum) {
  float *to = (float *) c.c.data + row * c.c.ld + column;
  float before = c.beta != 0 ? c.beta * *to : 0;
  if (c.from)
    before = ((const float *) c.from)[row * c.n + column];
  if (c.bias)
    before += ((const float *) c.bias)[column];
  *to = fmaf(c.alpha, sum, before);
}

/* B is [n, k]: a warp has COLUMNS rows of it, a lane every 32nd element.  Rows
 * and columns beyond the edge repeat the last one. */
static __global__ void gemm_rows_by_dots(zt_gemm c) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int64_t j = ((int64_t) blockIdx.x * WARPS + warp) * COLUMNS;
  const int64_t i = (int64_t) blockIdx.y * ROWS;
  const float *a[ROWS], *b[COLUMNS];
  float sum[ROWS][COLUMNS] = {};
  if (j >= c.n)
    return;
#pragma unroll
  for (int r = 0; r < ROWS; r++)
    a[r] = (const float *) c.a.data + at_most(i + r, c.m - 1) * c.a.ld;
#pragma unroll
  for (int x = 0; x < COLUMNS; x++)
    b[x] = (const float *) c.b.data + at_most(j + x, c.n - 1) * c.b.ld;
  for (int64_t p = lane; p < c.k; p += 32) {
    float y[COLUMNS];
#pragma unroll
    for (int x = 0; x < COLUMNS; x++)
      y[x] = b[x][p];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
      for (int x = 0; x < COLUMNS; x++)
        sum[r][x] = fmaf(a[r][p], y[x], sum[r][x]);
    ZT_MACS(ROWS * COLUMNS);
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++)
#pragma unroll
    for (int x = 0; x < COLUMNS; x++) {
      float all = warp_sum(sum[r][x]);
      if (lane == r * COLUMNS + x && i + r < c.m && j + x < c.n)
        put(c, i + r, j + x, all);
    }
}

/* B is [k, n]: a thread has one column in one of SLICES parts of k, which are
 * added in order. */
static __global__ void gemm_rows_by_columns(zt_gemm c) {
  ZT_SHARED(float, part, [ROWS][SLICES][32]);
  const int64_t j = (int64_t) blockIdx.x * 32 + threadIdx.x;
  const int64_t i = (int64_t) blockIdx.y * ROWS, slice = threadIdx.y;
  const int64_t length = (c.k + SLICES - 1) / SLICES;
  const int64_t end = at_most((slice + 1) * length, c.k);
  const float *a[ROWS];
  const float *b = (const float *) c.b.data + at_most(j, c.n - 1);
  float sum[ROWS] = {};
#pragma unroll
  for (int r = 0; r < ROWS; r++)
    a[r] = (const float *) c.a.data + at_most(i + r, c.m - 1) * c.a.ld;
  for (int64_t p = slice * length; p < end; p++) {
    float y = b[p * c.b.ld];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
      sum[r] = fmaf(a[r][p], y, sum[r]);
    ZT_MACS(ROWS);
  }
#pragma unroll
  for (int r = 0; r < ROWS; r++)
    part[r][slice][threadIdx.x] = sum[r];
  __syncthreads();
  const int r = threadIdx.y; /* as many rows as slices */
  float all = 0;
#pragma unroll
  for (int s = 0; s < SLICES; s++)
    all += part[r][s][threadIdx.x];
  if (i + r < c.m && j < c.n)
    put(c, i + r, j, all);
}

zt_status zt_cuda_gemm_rows_alone(const zt_gemm *c, cudaStream_t stream) {
  const unsigned rows = blocks_of(c->m, ROWS);
  if (c->transpose_b)
    ZT_LAUNCH(gemm_rows_by_dots, dim3(blocks_of(c->n, WARPS * COLUMNS), rows),
              dim3(THREADS), 0, stream, *c);
  else
    ZT_LAUNCH(gemm_rows_by_columns, dim3(blocks_of(c->n, 32), rows),
              dim3(32, SLICES), 0, stream, *c);
  return zt_cuda_launched("matrix product by rows");
}

zt_status zt_cuda_scatter(const zt_scatter *c, cudaStream_t stream) {
  ZT_LAUNCH(scatter, dim3(blocks_of(c->rows * c->n, THREADS)), dim3(THREADS), 0,
            stream, *c);
  return zt_cuda_launched("scatter");
}

zt_status zt_cuda_row_attention(const zt_row_attention *c,
                                cudaStream_t stream) {
  ZT_LAUNCH(row_attention, dim3((unsigned) (c->rows * c->heads)), dim3(THREADS),
            0, stream, *c);
  return zt_cuda_launched("attention of rows");
}
