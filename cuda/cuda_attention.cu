/* SPDX-License-Identifier: BSD-3-Clause */
/* Attention forward: a block has a tile of query rows of one head and passes
 * over the keys tile by tile with an online softmax, so scores are never whole.
 * Source: Milakov and Gimelshein 2018; Dao et al. 2022. */
#include "cuda/cuda_attention.h"

template <class T>
static __global__ void attention_forward(zt_attention c, int width) {
  ZT_SHARED(float, factors, [TILE]);
  ZT_DYN_SMEM(unsigned char, memory);
  T *q = take_tile<T>(&memory, width), *kv = take_tile<T>(&memory, width);
  T *p = take_tile<T>(&memory, TILE);
  float *scores = take_tile<float>(&memory, TILE);
  float *y = take_tile<float>(&memory, width);
  const int ld = width + PAD, lds = TILE + PAD, d = (int) c.head_dim;
  const int64_t s = blockIdx.z, h = blockIdx.y;
  const int64_t kv_head = h / (c.heads / c.kv_heads);
  const int64_t first = (int64_t) blockIdx.x * TILE;
  const int64_t rows = at_most(c.q_length - first, TILE);
  const key_range keys = keys_of_tile(c, s, first);
  const T *k = head_of<T>(c.k, s, c.k_length, kv_head, d);
  const T *v = head_of<T>(c.v, s, c.k_length, kv_head, d);
  const segment part = {(int) threadIdx.x / SEGMENTS,
                        (int) threadIdx.x % SEGMENTS * COLUMNS};
  const int64_t row = first + part.row;
  key_range seen = {0, 0};
  if (part.row < rows)
    seen = keys_of(c, s, row);
  dropper drop(c.dropout, s);
  float most = -INFINITY, sum = 0;

  load_tile(q, width, head_of<T>(c.q, s, c.q_length, h, d) + first * c.q.ld,
            c.q.ld, rows, d);
  clear_tile(y, width);
  for (int64_t at = keys.first; at < keys.last; at += TILE) {
    __syncthreads();
    load_tile(kv, width, k + at * c.k.ld, c.k.ld, keys.last - at, d);
    __syncthreads();
    multiply<false, true>(scores, lds, q, ld, kv, ld, TILE, TILE, width, false);
    __syncthreads();
    load_tile(kv, width, v + at * c.v.ld, c.v.ld, keys.last - at, d);
    float x[COLUMNS], larger = most, here = 0;
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) {
      int64_t key = at + part.column + i;
      x[i] = -INFINITY;
      if (seen.first <= key && key < seen.last)
        x[i] =
            score_of(c, h, row, key, scores[part.row * lds + part.column + i]);
      larger = x[i] > larger ? x[i] : larger;
    }
    larger = segment_max(larger);
    float again = most < larger ? exp_of(most - larger) : 1;
#pragma unroll
    for (int i = 0; i < COLUMNS; i++) {
      int64_t key = at + part.column + i;
      float e = 0;
      if (seen.first <= key && key < seen.last) {
        e = exp_of(x[i] - larger);
        here += e;
        if (c.dropout.rate > 0)
          e = drop(element_of(c, h, row, key), e);
      }
      p[part.row * lds + part.column + i] = narrow<T>(e);
    }
    sum = sum * again + segment_sum(here);
    most = larger;
    for (int i = part.column / COLUMNS; i < width; i += SEGMENTS)
      y[part.row * ld + i] *= again;
    __syncthreads();
    multiply<false, false>(y, ld, p, lds, kv, ld, TILE, width, TILE, true);
  }
  if (part.column == 0) {
    bool any = seen.first < seen.last;
    factors[part.row] = any ? 1 / sum : 0;
    if (part.row < rows) {
      float *stats = c.stats + 2 * ((s * c.heads + h) * c.q_length + row);
      stats[0] = any ? most : 0;
      stats[1] = factors[part.row];
    }
  }
  __syncthreads();
  for (int i = part.column / COLUMNS; i < width; i += SEGMENTS)
    y[part.row * ld + i] *= factors[part.row];
  __syncthreads();
  store_tile(head_of<T>(c.y, s, c.q_length, h, d) + first * c.y.ld, c.y.ld, y,
             width, rows, d);
}

template <class T>
static zt_status forward(const zt_attention *c, cudaStream_t stream) {
  int width = padded_width(c);
  size_t bytes = 2 * tile_bytes(width, sizeof(T)) + tile_bytes(TILE, sizeof(T));
  bytes += tile_bytes(TILE, sizeof(float)) + tile_bytes(width, sizeof(float));
  ZT_TRY(zt_cuda_allow_shared((const void *) attention_forward<T>, bytes,
                              "attention"));
  ZT_LAUNCH(attention_forward<T>,
            dim3(blocks_of(c->q_length, TILE), (unsigned) c->heads,
                 (unsigned) c->samples),
            dim3(THREADS), bytes, stream, *c, width);
  return zt_cuda_launched("attention");
}

zt_status zt_cuda_attention_forward(const zt_attention *c,
                                    cudaStream_t stream) {
  return c->q.dtype == ZT_BF16 ? forward<bf16>(c, stream)
                               : forward<float>(c, stream);
}
