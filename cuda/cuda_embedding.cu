/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows of a table, and their gradient by sorted segments: rows are ranked by
 * index, and by place among those of one index; one block then adds up all rows
 * of an index in order.  The ranking compares all pairs: no passes, no memory,
 * and cheap beside a layer up to the rows of a piece. */
#include "cuda/cuda_math.h"

enum { THREADS = 256, MOST_ROWS = 1 << 17 };

template <class T> static __global__ void look_up(zt_embedding c) {
  const T *table = (const T *) c.table;
  T *y = (T *) c.y;
  for (int64_t r = blockIdx.x; r < c.rows; r += gridDim.x)
    for (int64_t i = threadIdx.x; i < c.d; i += THREADS) {
      T from = table[(int64_t) c.ids[r] * c.d + i];
      T *to = &y[r * c.d + i];
      *to = c.accumulate ? narrow<T>(widen(*to) + widen(from)) : from;
    }
}

/* order[place] = row; lengths[place] = rows of its index if it is the first of
 * them, else 0. */
static __global__ void rank_rows(const int32_t *ids, int rows, int32_t *order,
                                 int32_t *lengths) {
  ZT_SHARED(int32_t, others, [THREADS]);
  int r = blockIdx.x * THREADS + threadIdx.x;
  int32_t id = r < rows ? ids[r] : 0;
  int place = 0, earlier = 0, alike = 0;
  for (int at = 0; at < rows; at += THREADS) {
    int n = rows - at < THREADS ? rows - at : THREADS;
    __syncthreads();
    if ((int) threadIdx.x < n)
      others[threadIdx.x] = ids[at + threadIdx.x];
    __syncthreads();
    for (int i = 0; i < n; i++) {
      place += others[i] < id;
      alike += others[i] == id;
      earlier += others[i] == id && at + i < r;
    }
  }
  if (r < rows) {
    order[place + earlier] = r;
    lengths[place + earlier] = earlier == 0 ? alike : 0;
  }
}

template <class T>
static __global__ void add_segments(zt_embedding c, const int32_t *order,
                                    const int32_t *lengths) {
  const T *dy = (const T *) c.dy;
  const int32_t *rows = order + blockIdx.x;
  const int n = lengths[blockIdx.x];
  if (n == 0 || c.ids[rows[0]] == c.padding)
    return;
  float *to = c.dtable + (int64_t) c.ids[rows[0]] * c.d;
  for (int64_t i = threadIdx.x; i < c.d; i += THREADS) {
    float sum = to[i];
#pragma unroll 8
    for (int r = 0; r < n; r++)
      sum += widen(dy[rows[r] * c.d + i]);
    to[i] = sum;
  }
}

zt_status zt_cuda_embedding_forward(const zt_embedding *c,
                                    cudaStream_t stream) {
  enum { MOST = 1 << 20 };
  dim3 grid((unsigned) at_most(c->rows, MOST));
  if (c->dtype == ZT_BF16)
    ZT_LAUNCH(look_up<bf16>, grid, dim3(THREADS), 0, stream, *c);
  else
    ZT_LAUNCH(look_up<float>, grid, dim3(THREADS), 0, stream, *c);
  return zt_cuda_launched("embedding");
}

/* Some rows, after all that come before them. */
static zt_status add_rows(const zt_embedding *c, int32_t *order,
                          int32_t *lengths, cudaStream_t stream) {
  int rows = (int) c->rows;
  ZT_LAUNCH(rank_rows, dim3(blocks_of(rows, THREADS)), dim3(THREADS), 0, stream,
            c->ids, rows, order, lengths);
  if (c->dtype == ZT_BF16)
    ZT_LAUNCH(add_segments<bf16>, dim3((unsigned) rows), dim3(THREADS), 0,
              stream, *c, (const int32_t *) order, (const int32_t *) lengths);
  else
    ZT_LAUNCH(add_segments<float>, dim3((unsigned) rows), dim3(THREADS), 0,
              stream, *c, (const int32_t *) order, (const int32_t *) lengths);
  return zt_cuda_launched("embedding gradient");
}

zt_status zt_cuda_embedding_backward(const zt_embedding *c, void *scratch,
                                     size_t bytes, cudaStream_t stream) {
  int64_t room = (int64_t) (bytes / (2 * sizeof(int32_t)));
  room = at_most(room, MOST_ROWS);
  int32_t *order = (int32_t *) scratch, *lengths = order + room;
  size_t size = c->dtype == ZT_BF16 ? sizeof(bf16) : sizeof(float);
  for (int64_t at = 0; at < c->rows; at += room) {
    zt_embedding piece = *c;
    piece.rows = at_most(c->rows - at, room);
    piece.ids += at;
    piece.dy = (const char *) c->dy + (size_t) (at * c->d) * size;
    ZT_TRY(add_rows(&piece, order, lengths, stream));
  }
  return ZT_OK;
}
