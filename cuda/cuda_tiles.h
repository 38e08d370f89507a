/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Tiles in shared memory and their products, for attention: fp32 by FMA, bf16
 *  on tensor cores with fp32 sums.  Included by .cu files alone. */
#ifndef ZT_CUDA_CUDA_TILES_H
#define ZT_CUDA_CUDA_TILES_H

#include "cuda/cuda_math.h"

enum {
  TILE = 32,     /* rows of a tile */
  THREADS = 128, /* of a block */
  PAD = 8        /* columns behind a row, against bank conflicts */
};

/* c[m, n] = op(a) op(b), or += when `add`; m, n, k are multiples of 16.  `a` is
 * stored [k, m] if TA, `b` is stored [n, k] if TB.  By the whole block, without
 * a barrier before or behind it. */
template <bool TA, bool TB>
static __device__ void multiply(float *c, int ldc, const float *a, int lda,
                                const float *b, int ldb, int m, int n, int k,
                                bool add) {
  for (int t = threadIdx.x; t < m / 2 * (n / 4); t += THREADS) {
    int i = t / (n / 4) * 2, j = t % (n / 4) * 4;
    float sum[2][4];
    ZT_MACS(8 * k);
#pragma unroll
    for (int x = 0; x < 2; x++)
#pragma unroll
      for (int y = 0; y < 4; y++)
        sum[x][y] = add ? c[(i + x) * ldc + j + y] : 0;
    for (int p = 0; p < k; p++) {
      float left[2], right[4];
#pragma unroll
      for (int x = 0; x < 2; x++)
        left[x] = TA ? a[p * lda + i + x] : a[(i + x) * lda + p];
#pragma unroll
      for (int y = 0; y < 4; y++)
        right[y] = TB ? b[(j + y) * ldb + p] : b[p * ldb + j + y];
#pragma unroll
      for (int x = 0; x < 2; x++)
#pragma unroll
        for (int y = 0; y < 4; y++)
          sum[x][y] = fmaf(left[x], right[y], sum[x][y]);
    }
#pragma unroll
    for (int x = 0; x < 2; x++)
#pragma unroll
      for (int y = 0; y < 4; y++)
        c[(i + x) * ldc + j + y] = sum[x][y];
  }
}

template <bool T> struct layout_of { typedef nvcuda::wmma::row_major type; };
template <> struct layout_of<true> { typedef nvcuda::wmma::col_major type; };

template <bool TA, bool TB>
static __device__ void multiply(float *c, int ldc, const bf16 *a, int lda,
                                const bf16 *b, int ldb, int m, int n, int k,
                                bool add) {
  namespace wmma = nvcuda::wmma;
  wmma::fragment<wmma::matrix_a, 16, 16, 16, bf16, typename layout_of<TA>::type>
      left;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, bf16, typename layout_of<TB>::type>
      right;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
  for (int t = threadIdx.x / 32; t < m / 16 * (n / 16); t += THREADS / 32) {
    int i = t / (n / 16) * 16, j = t % (n / 16) * 16;
    if (add)
      wmma::load_matrix_sync(sum, c + i * ldc + j, ldc, wmma::mem_row_major);
    else
      wmma::fill_fragment(sum, 0.0f);
    for (int p = 0; p < k; p += 16) {
      wmma::load_matrix_sync(left, TA ? a + p * lda + i : a + i * lda + p, lda);
      wmma::load_matrix_sync(right, TB ? b + j * ldb + p : b + p * ldb + j,
                             ldb);
      wmma::mma_sync(sum, left, right, sum);
    }
    wmma::store_matrix_sync(c + i * ldc + j, sum, ldc, wmma::mem_row_major);
  }
}

/* A tile of `width` columns (a multiple of 16) from rows that have `d`: what
 * the matrix has not is zero. */
template <class T>
static __device__ void load_tile(T *tile, int width, const T *from, int64_t ld,
                                 int64_t rows, int d) {
  for (int t = threadIdx.x; t < TILE * width; t += THREADS) {
    int r = t / width, i = t % width;
    tile[r * (width + PAD) + i] =
        r < rows && i < d ? from[r * ld + i] : narrow<T>(0);
  }
}

static __device__ void clear_tile(float *tile, int width) {
  for (int t = threadIdx.x; t < TILE * width; t += THREADS)
    tile[t / width * (width + PAD) + t % width] = 0;
}

template <class T>
static __device__ void store_tile(T *to, int64_t ld, const float *tile,
                                  int width, int64_t rows, int d) {
  for (int t = threadIdx.x; t < TILE * width; t += THREADS) {
    int r = t / width, i = t % width;
    if (r < rows && i < d)
      to[r * ld + i] = narrow<T>(tile[r * (width + PAD) + i]);
  }
}

/* The next tile of some elements in shared memory. */
template <class T>
static __device__ __forceinline__ T *take_tile(unsigned char **memory,
                                               int width) {
  T *tile = (T *) *memory;
  *memory += TILE * (width + PAD) * sizeof(T);
  return tile;
}

static inline size_t tile_bytes(int width, size_t element) {
  return TILE * (size_t) (width + PAD) * element;
}

#endif
