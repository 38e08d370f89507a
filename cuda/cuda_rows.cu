/* SPDX-License-Identifier: BSD-3-Clause */
/* Generation: rows to their places, and attention of single query rows.
 *
 * A block has one head of one row.  It goes over the keys a tile at a time and
 * keeps the largest score and the sum so far, so that memory does not grow with
 * the text; the order is a function of what the row sees alone. */
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
