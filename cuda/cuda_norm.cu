/* SPDX-License-Identifier: BSD-3-Clause */
/* RMS and layer norm.  A block takes some rows one after another; a thread has
 * the same columns of all of them, so that weights and their gradients stay in
 * its part of shared memory and each value of a row is read once. */
#include "cuda/cuda_math.h"

enum { ROWS = 16 }; /* of a block: the weights count little then */

static unsigned threads_of(int64_t d) {
  return d >= 4096 ? 512 : 128;
}

template <class T, bool LAYER> static __global__ void norm_forward(zt_norm c) {
  ZT_SHARED(float, sums, [32]);
  ZT_DYN_SMEM(float, w); /* [d] each: weight, bias, then a row */
  const int d = (int) c.d;
  float *b = w + d;
  T *row = (T *) (LAYER ? b + d : b);
  for (int i = threadIdx.x; i < d; i += blockDim.x) {
    w[i] = c.w[i];
    if (LAYER)
      b[i] = c.b[i];
  }
  const int64_t begin = (int64_t) blockIdx.x * ROWS;
  for (int64_t r = begin; r < at_most(begin + ROWS, c.rows); r++) {
    const T *x = (const T *) c.x + r * d;
    T *y = (T *) c.y + r * d;
    float sum = 0, mean = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
      row[i] = x[i];
      float v = widen(row[i]);
      sum += LAYER ? v : v * v;
    }
    if (LAYER) {
      mean = block_sum(sum, sums) / d;
      sum = 0;
      for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float v = widen(row[i]) - mean;
        sum += v * v;
      }
    }
    float rstd = 1 / sqrtf(block_sum(sum, sums) / d + c.eps);
    if (threadIdx.x == 0) {
      c.stats[r] = rstd;
      if (LAYER)
        c.stats[c.rows + r] = mean;
    }
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
      float v = w[i] * ((widen(row[i]) - mean) * rstd);
      y[i] = narrow<T>(LAYER ? v + b[i] : v);
    }
  }
}

/* With n = (x - mean) * rstd and g = dy * w:
 * dx = rstd * (g - n * mean(g * n) - mean(g)), the last term for layer norm. */
template <class T, bool LAYER> static __global__ void norm_backward(zt_norm c) {
  ZT_SHARED(float, sums, [32]);
  ZT_DYN_SMEM(float, w); /* [d] each: weight, gradients, then x, dy */
  const int d = (int) c.d;
  float *dw = w + d, *db = dw + d;
  T *row = (T *) (LAYER ? db + d : db), *drow = row + d;
  for (int i = threadIdx.x; i < d; i += blockDim.x) {
    w[i] = c.w[i];
    dw[i] = 0;
    if (LAYER)
      db[i] = 0;
  }
  const int64_t begin = (int64_t) blockIdx.x * ROWS;
  for (int64_t r = begin; r < at_most(begin + ROWS, c.rows); r++) {
    const T *x = (const T *) c.x + r * d, *dy = (const T *) c.dy + r * d;
    T *dx = (T *) c.dx + r * d;
    float rstd = c.stats[r], mean = LAYER ? c.stats[c.rows + r] : 0;
    float gn = 0, g1 = 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
      row[i] = x[i];
      drow[i] = dy[i];
      float g = widen(drow[i]) * w[i];
      gn += g * ((widen(row[i]) - mean) * rstd);
      g1 += g;
    }
    float mean_gn = block_sum(gn, sums) / d;
    float mean_g = LAYER ? block_sum(g1, sums) / d : 0;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
      float n = (widen(row[i]) - mean) * rstd;
      float up = widen(drow[i]), g = up * w[i];
      float change = rstd * (g - n * mean_gn - mean_g);
      dw[i] += up * n;
      if (LAYER)
        db[i] += up;
      dx[i] = narrow<T>(c.accumulate_dx ? widen(dx[i]) + change : change);
    }
  }
  float *partial = (float *) c.workspace;
  partial += (int64_t) blockIdx.x * (LAYER ? 2 * d : d);
  for (int i = threadIdx.x; i < d; i += blockDim.x) {
    partial[i] = dw[i];
    if (LAYER)
      partial[d + i] = db[i];
  }
}

static __global__ void fold_rows(float *to, const float *rows, int64_t count,
                                 int64_t stride, int64_t n) {
  int64_t i = (int64_t) blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n)
    return;
  float sum = to[i];
#pragma unroll 8
  for (int64_t r = 0; r < count; r++)
    sum += rows[r * stride + i];
  to[i] = sum;
}

template <class T, bool LAYER>
static zt_status forward(const zt_norm *c, cudaStream_t stream) {
  size_t bytes = (size_t) c->d * ((LAYER ? 2 : 1) * sizeof(float) + sizeof(T));
  ZT_TRY(zt_cuda_allow_shared((const void *) norm_forward<T, LAYER>, bytes,
                              "norm"));
  ZT_LAUNCH((norm_forward<T, LAYER>), dim3(blocks_of(c->rows, ROWS)),
            dim3(threads_of(c->d)), bytes, stream, *c);
  return zt_cuda_launched("norm");
}

template <class T, bool LAYER>
static zt_status backward(const zt_norm *c, cudaStream_t stream) {
  size_t bytes =
      (size_t) c->d * ((LAYER ? 3 : 2) * sizeof(float) + 2 * sizeof(T));
  ZT_TRY(zt_cuda_allow_shared((const void *) norm_backward<T, LAYER>, bytes,
                              "norm gradient"));
  unsigned blocks = blocks_of(c->rows, ROWS);
  ZT_LAUNCH((norm_backward<T, LAYER>), dim3(blocks), dim3(threads_of(c->d)),
            bytes, stream, *c);
  ZT_TRY(zt_cuda_launched("norm gradient"));
  const float *partial = (const float *) c->workspace;
  int64_t width = LAYER ? 2 * c->d : c->d;
  ZT_TRY(zt_cuda_fold_rows(c->dw, partial, blocks, width, c->d, stream));
  if (!LAYER)
    return ZT_OK;
  return zt_cuda_fold_rows(c->db, partial + c->d, blocks, width, c->d, stream);
}

size_t zt_cuda_norm_workspace(const zt_norm *call) {
  size_t width = (size_t) call->d * (call->kind == ZT_LAYER_NORM ? 2 : 1);
  return blocks_of(call->rows, ROWS) * width * sizeof(float);
}

zt_status zt_cuda_norm_forward(const zt_norm *c, cudaStream_t stream) {
  bool layer = c->kind == ZT_LAYER_NORM;
  if (c->dtype == ZT_BF16)
    return layer ? forward<bf16, true>(c, stream)
                 : forward<bf16, false>(c, stream);
  return layer ? forward<float, true>(c, stream)
               : forward<float, false>(c, stream);
}

zt_status zt_cuda_norm_backward(const zt_norm *c, cudaStream_t stream) {
  bool layer = c->kind == ZT_LAYER_NORM;
  if (c->dtype == ZT_BF16)
    return layer ? backward<bf16, true>(c, stream)
                 : backward<bf16, false>(c, stream);
  return layer ? backward<float, true>(c, stream)
               : backward<float, false>(c, stream);
}

zt_status zt_cuda_fold_rows(float *to, const float *rows, int64_t count,
                            int64_t stride, int64_t n, cudaStream_t stream) {
  enum { THREADS = 128 };
  ZT_LAUNCH(fold_rows, dim3(blocks_of(n, THREADS)), dim3(THREADS), 0, stream,
            to, rows, count, stride, n);
  return zt_cuda_launched("sum over rows");
}
