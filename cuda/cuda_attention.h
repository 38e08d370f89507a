/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the attention kernels share.  Included by .cu files alone. */
#ifndef ZT_CUDA_CUDA_ATTENTION_H
#define ZT_CUDA_CUDA_ATTENTION_H

#include "cuda/cuda_tiles.h"

/* A row of a tile of scores is shared by neighbouring threads. */
enum { SEGMENTS = THREADS / TILE, COLUMNS = TILE / SEGMENTS };

/* The part of a thread: COLUMNS columns from `column` on. */
struct segment {
  int row, column;
};

/* Over the threads of one row. */
static __device__ __forceinline__ float segment_max(float x) {
  for (int step = SEGMENTS / 2; step > 0; step /= 2) {
    float other = __shfl_xor_sync(0xffffffffu, x, step);
    x = other > x ? other : x;
  }
  return x;
}

static __device__ __forceinline__ float segment_sum(float x) {
  for (int step = SEGMENTS / 2; step > 0; step /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

/* Head h of sample s of a matrix with `length` rows a sample. */
template <class T>
static __device__ __forceinline__ T *head_of(const zt_matrix &matrix, int64_t s,
                                             int64_t length, int64_t h, int d) {
  return (T *) matrix.data + s * length * matrix.ld + h * d;
}

/* Keys first .. last - 1. */
struct key_range {
  int64_t first, last;
};

/* What a query row sees. */
static __device__ __forceinline__ key_range keys_of(const zt_attention &c,
                                                    int64_t s, int64_t row) {
  key_range keys = {c.k_first ? c.k_first[s * c.q_length + row] : 0,
                    c.k_valid ? c.k_valid[s] : c.k_length};
  if (c.causal)
    keys.last = at_most(keys.last, row + 1);
  if (c.window && row + 1 - c.window > keys.first)
    keys.first = row + 1 - c.window;
  keys.first = at_most(keys.first, keys.last);
  return keys;
}

/* What a tile of query rows sees of whole tiles of keys. */
static __device__ __forceinline__ key_range keys_of_tile(const zt_attention &c,
                                                         int64_t s,
                                                         int64_t begin) {
  key_range keys = {c.k_length, 0};
  for (int64_t row = begin; row < begin + TILE && row < c.q_length; row++) {
    key_range one = keys_of(c, s, row);
    if (one.first < one.last) {
      keys.first = at_most(keys.first, one.first);
      keys.last = keys.last > one.last ? keys.last : one.last;
    }
  }
  keys.first = keys.first / TILE * TILE;
  return keys;
}

/* scale * q k + bias, of the product. */
static __device__ __forceinline__ float score_of(const zt_attention &c,
                                                 int64_t h, int64_t row,
                                                 int64_t key, float product) {
  float x = c.scale * product;
  if (c.bias)
    x += c.bias[h * (c.q_length + c.k_length - 1) + key - row + c.q_length - 1];
  return x;
}

/* Place of a probability among those that are dropped. */
static __device__ __forceinline__ int64_t element_of(const zt_attention &c,
                                                     int64_t h, int64_t row,
                                                     int64_t key) {
  return (h * c.q_length + row) * c.k_length + key;
}

/* Columns of tiles that hold a head. */
static inline int padded_width(const zt_attention *c) {
  return (int) (c->head_dim + 15) / 16 * 16;
}

#endif
