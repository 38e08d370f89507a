/* SPDX-License-Identifier: BSD-3-Clause */
/* Attention backward, in three passes so that every sum has one writer and one
 * order: the dot products of dy and y; blocks of keys, which pass over the
 * queries and add up dk and dv; blocks of queries, which pass over the keys and
 * add up dq and the diagonals of the score gradients. */
#include "cuda/cuda_attention.h"

/* Runs of query tiles whose diagonals are added up alone: enough blocks for the
 * machine, few enough sums to store. */
enum { MOST_RUNS = 8 };

static __device__ __host__ __forceinline__ int64_t
tiles_of_run(int64_t length) {
  int64_t tiles = (length + TILE - 1) / TILE;
  return (tiles + MOST_RUNS - 1) / MOST_RUNS;
}

static int64_t runs_of(const zt_attention *c) {
  int64_t tiles = blocks_of(c->q_length, TILE);
  int64_t run = tiles_of_run(c->q_length);
  return (tiles + run - 1) / run;
}

static __device__ __host__ __forceinline__ int64_t
offsets_of(const zt_attention &c) {
  return c.q_length + c.k_length - 1;
}

static int64_t rows_of(const zt_attention *c) {
  return c->samples * c->heads * c->q_length;
}

/* delta[s, h, i] = sum of dy * y, a warp for each. */
template <class T>
static __global__ void dot_rows(zt_attention c, float *delta) {
  int64_t r = ((int64_t) blockIdx.x * blockDim.x + threadIdx.x) / 32;
  if (r >= c.samples * c.heads * c.q_length)
    return;
  int64_t i = r % c.q_length, h = r / c.q_length % c.heads;
  int64_t s = r / c.q_length / c.heads;
  int d = (int) c.head_dim;
  const T *y = head_of<T>(c.y, s, c.q_length, h, d) + i * c.y.ld;
  const T *dy = head_of<T>(c.dy, s, c.q_length, h, d) + i * c.dy.ld;
  float sum = 0;
  for (int x = threadIdx.x % 32; x < d; x += 32)
    sum += widen(dy[x]) * widen(y[x]);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0)
    delta[r] = sum;
}

/* The tiles that both passes work on. */
template <class T> struct tiles {
  T *q, *dy, *k, *v; /* [TILE, width] */
  T *p, *ds;         /* drop(p), scaled gradient of the scores, to multiply */
  float *scores;     /* products, then gradients of the scores */
  float *dp;
  int width, ld, lds;

  __device__ __forceinline__ tiles(unsigned char **memory, int columns)
      : width(columns), ld(columns + PAD), lds(TILE + PAD) {
    q = take_tile<T>(memory, width);
    dy = take_tile<T>(memory, width);
    k = take_tile<T>(memory, width);
    v = take_tile<T>(memory, width);
    p = take_tile<T>(memory, TILE);
    ds = take_tile<T>(memory, TILE);
    scores = take_tile<float>(memory, TILE);
    dp = take_tile<float>(memory, TILE);
  }

  static size_t bytes(int width) {
    return 4 * tile_bytes(width, sizeof(T)) + 2 * tile_bytes(TILE, sizeof(T)) +
           2 * tile_bytes(TILE, sizeof(float));
  }

  __device__ __forceinline__ void load_queries(const zt_attention &c, int64_t s,
                                               int64_t h, int64_t first) {
    int d = (int) c.head_dim;
    int64_t rows = c.q_length - first;
    load_tile(q, width, head_of<T>(c.q, s, c.q_length, h, d) + first * c.q.ld,
              c.q.ld, rows, d);
    load_tile(dy, width,
              head_of<T>(c.dy, s, c.q_length, h, d) + first * c.dy.ld, c.dy.ld,
              rows, d);
  }

  __device__ __forceinline__ void load_keys(const zt_attention &c, int64_t s,
                                            int64_t h, int64_t first) {
    int d = (int) c.head_dim;
    int64_t rows = c.k_length - first;
    load_tile(k, width, head_of<T>(c.k, s, c.k_length, h, d) + first * c.k.ld,
              c.k.ld, rows, d);
    load_tile(v, width, head_of<T>(c.v, s, c.k_length, h, d) + first * c.v.ld,
              c.v.ld, rows, d);
  }

  /* Probabilities and gradients of the scores of query rows from `first` on
   * and keys from `at` on, of tiles that are loaded; a barrier at the end. */
  __device__ __forceinline__ void differentiate(const zt_attention &c,
                                                const float *delta, int64_t s,
                                                int64_t h, int64_t first,
                                                int64_t at) {
    multiply<false, true>(scores, lds, q, ld, k, ld, TILE, TILE, width, false);
    multiply<false, true>(dp, lds, dy, ld, v, ld, TILE, TILE, width, false);
    __syncthreads();
    const int r = threadIdx.x / SEGMENTS;
    const int column = threadIdx.x % SEGMENTS * COLUMNS;
    const int64_t row = first + r, place = (s * c.heads + h) * c.q_length + row;
    key_range seen = {0, 0};
    float most = 0, factor = 0, mean = 0;
    if (row < c.q_length) {
      seen = keys_of(c, s, row);
      most = c.stats[2 * place];
      factor = c.stats[2 * place + 1];
      mean = delta[place];
    }
    dropper drop(c.dropout, s);
    for (int i = 0; i < COLUMNS; i++) {
      int64_t key = at + column + i;
      int to = r * lds + column + i;
      float prob = 0, kept = 0, slope = 0;
      if (seen.first <= key && key < seen.last) {
        prob = exp_of(score_of(c, h, row, key, scores[to]) - most) * factor;
        kept = prob;
        slope = dp[to];
        if (c.dropout.rate > 0) {
          kept = drop(element_of(c, h, row, key), prob);
          slope = drop(element_of(c, h, row, key), slope);
        }
        slope = prob * (slope - mean);
      }
      p[to] = narrow<T>(kept);
      ds[to] = narrow<T>(c.scale * slope);
      scores[to] = slope;
    }
    __syncthreads();
  }
};

template <class T>
static __global__ void attention_keys(zt_attention c, const float *delta,
                                      int width) {
  ZT_DYN_SMEM(unsigned char, memory);
  tiles<T> t(&memory, width);
  float *dk = take_tile<float>(&memory, width);
  float *dv = take_tile<float>(&memory, width);
  const int64_t s = blockIdx.z, kv_head = blockIdx.y;
  const int64_t at = (int64_t) blockIdx.x * TILE;
  const int64_t group = c.heads / c.kv_heads;
  const int64_t rows = at_most(c.k_length - at, TILE);
  const int d = (int) c.head_dim;
  clear_tile(dk, width);
  clear_tile(dv, width);
  t.load_keys(c, s, kv_head, at);
  for (int64_t h = kv_head * group; h < (kv_head + 1) * group; h++)
    for (int64_t first = c.causal ? at : 0; first < c.q_length; first += TILE) {
      const key_range keys = keys_of_tile(c, s, first);
      if (at < keys.first || at >= keys.last)
        continue;
      __syncthreads();
      t.load_queries(c, s, h, first);
      __syncthreads();
      t.differentiate(c, delta, s, h, first, at);
      multiply<true, false>(dv, t.ld, t.p, t.lds, t.dy, t.ld, TILE, width, TILE,
                            true);
      multiply<true, false>(dk, t.ld, t.ds, t.lds, t.q, t.ld, TILE, width, TILE,
                            true);
    }
  __syncthreads();
  store_tile(head_of<T>(c.dk, s, c.k_length, kv_head, d) + at * c.dk.ld,
             c.dk.ld, dk, width, rows, d);
  store_tile(head_of<T>(c.dv, s, c.k_length, kv_head, d) + at * c.dv.ld,
             c.dv.ld, dv, width, rows, d);
}

/* Adds the diagonals of a tile of score gradients to sums by offset: one thread
 * has a diagonal, rows in order. */
static __device__ void add_diagonals(const zt_attention &c, const float *scores,
                                     int64_t first, int64_t at, float *sums) {
  int diagonal = (int) threadIdx.x - (TILE - 1); /* key - row in the tile */
  int64_t offset = at - first + diagonal + c.q_length - 1;
  if (diagonal >= TILE || offset < 0 || offset >= offsets_of(c))
    return;
  float sum = 0;
  for (int r = 0; r < TILE; r++)
    if (r + diagonal >= 0 && r + diagonal < TILE)
      sum += scores[r * (TILE + PAD) + r + diagonal];
  sums[offset] += sum;
}

template <class T>
static __global__ void attention_queries(zt_attention c, const float *delta,
                                         float *diagonals, int width) {
  ZT_DYN_SMEM(unsigned char, memory);
  tiles<T> t(&memory, width);
  float *dq = take_tile<float>(&memory, width);
  const int64_t s = blockIdx.z, h = blockIdx.y;
  const int64_t kv_head = h / (c.heads / c.kv_heads);
  const int64_t run = tiles_of_run(c.q_length) * TILE;
  const int64_t begin = blockIdx.x * run;
  const int64_t end = at_most(begin + run, c.q_length);
  const int d = (int) c.head_dim;
  float *sums = NULL;
  if (c.bias) {
    sums = diagonals +
           ((s * c.heads + h) * gridDim.x + blockIdx.x) * offsets_of(c);
    for (int64_t i = threadIdx.x; i < offsets_of(c); i += THREADS)
      sums[i] = 0;
  }
  for (int64_t first = begin; first < end; first += TILE) {
    const int64_t rows = at_most(c.q_length - first, TILE);
    const key_range keys = keys_of_tile(c, s, first);
    __syncthreads();
    clear_tile(dq, width);
    t.load_queries(c, s, h, first);
    for (int64_t at = keys.first; at < keys.last; at += TILE) {
      __syncthreads();
      t.load_keys(c, s, kv_head, at);
      __syncthreads();
      t.differentiate(c, delta, s, h, first, at);
      multiply<false, false>(dq, t.ld, t.ds, t.lds, t.k, t.ld, TILE, width,
                             TILE, true);
      if (c.bias)
        add_diagonals(c, t.scores, first, at, sums);
    }
    __syncthreads();
    store_tile(head_of<T>(c.dq, s, c.q_length, h, d) + first * c.dq.ld, c.dq.ld,
               dq, width, rows, d);
  }
}

/* dbias[h, offset] += the sums of samples and runs, in order. */
static __global__ void fold_diagonals(zt_attention c, const float *diagonals,
                                      int64_t runs) {
  int64_t i = (int64_t) blockIdx.x * blockDim.x + threadIdx.x;
  int64_t offsets = offsets_of(c), h = i / offsets;
  if (h >= c.heads)
    return;
  float sum = c.dbias[i];
  for (int64_t s = 0; s < c.samples; s++)
    for (int64_t run = 0; run < runs; run++)
      sum +=
          diagonals[((s * c.heads + h) * runs + run) * offsets + i % offsets];
  c.dbias[i] = sum;
}

template <class T>
static zt_status backward(const zt_attention *c, cudaStream_t stream) {
  int width = padded_width(c);
  unsigned runs = (unsigned) runs_of(c), heads = (unsigned) c->heads;
  unsigned samples = (unsigned) c->samples;
  float *delta = (float *) c->workspace, *diagonals = delta + rows_of(c);
  size_t queries = tiles<T>::bytes(width) + tile_bytes(width, sizeof(float));
  size_t keys = queries + tile_bytes(width, sizeof(float));
  const char *name = "attention gradient";
  ZT_TRY(zt_cuda_allow_shared((const void *) attention_keys<T>, keys, name));
  ZT_TRY(
      zt_cuda_allow_shared((const void *) attention_queries<T>, queries, name));
  ZT_LAUNCH(dot_rows<T>, dim3(blocks_of(rows_of(c), THREADS / 32)),
            dim3(THREADS), 0, stream, *c, delta);
  ZT_LAUNCH(attention_keys<T>,
            dim3(blocks_of(c->k_length, TILE), (unsigned) c->kv_heads, samples),
            dim3(THREADS), keys, stream, *c, (const float *) delta, width);
  ZT_LAUNCH(attention_queries<T>, dim3(runs, heads, samples), dim3(THREADS),
            queries, stream, *c, (const float *) delta, diagonals, width);
  if (c->bias)
    ZT_LAUNCH(fold_diagonals,
              dim3(blocks_of(c->heads * offsets_of(*c), THREADS)),
              dim3(THREADS), 0, stream, *c, (const float *) diagonals,
              (int64_t) runs);
  return zt_cuda_launched(name);
}

size_t zt_cuda_attention_workspace(const zt_attention *c) {
  int64_t floats = rows_of(c);
  if (c->bias)
    floats += c->samples * c->heads * runs_of(c) * offsets_of(*c);
  return (size_t) floats * sizeof(float);
}

zt_status zt_cuda_attention_backward(const zt_attention *c,
                                     cudaStream_t stream) {
  return c->q.dtype == ZT_BF16 ? backward<bf16>(c, stream)
                               : backward<float>(c, stream);
}
