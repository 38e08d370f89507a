/* SPDX-License-Identifier: BSD-3-Clause */
/* Work element by element: activations, dropout, sums, T5's position bias.
 *
 * A thread has four neighbouring elements of one sample, which are those of one
 * Philox block. */
#include "cuda/cuda_math.h"

enum { THREADS = 256, EACH = 4 };

/* ---- Sharing out elements ---- */

/* Elements of a sample, and samples. */
struct extent {
  int64_t elements, samples;
};

static extent extent_of(int64_t rows, int64_t d, const zt_dropout *dropout) {
  if (dropout->rate > 0)
    return {dropout->rows_per_sample * d,
            (rows + dropout->rows_per_sample - 1) / dropout->rows_per_sample};
  return {rows * d, 1};
}

/* blockIdx.y is limited: samples beyond it are passed over in a loop. */
static dim3 grid_of(extent e) {
  enum { MOST = 65535 };
  return dim3(blocks_of(e.elements, THREADS * EACH),
              (unsigned) at_most(e.samples, MOST));
}

/* The thread's first element in its sample. */
static __device__ __forceinline__ int64_t first_element() {
  return ((int64_t) blockIdx.x * THREADS + threadIdx.x) * EACH;
}

/* ---- Activations ---- */

/* 1 / (1 + e) with e = exp_of(-x).  Zero where e stops growing: times a huge x
 * it would not vanish. */
static __device__ __forceinline__ float sigmoid_by(float x, float e) {
  float s = 1 / (1 + e);
  return x < -87.3f ? 0 : s;
}

static __device__ __forceinline__ float gelu_new_inside(float x) {
  return 1.59576912f * (x + 0.044715f * x * x * x);
}

static __device__ __forceinline__ float gelu_gate(float x) {
  return 0.5f * (1 + erff(x * 0.707106781f));
}

static __device__ float activation(zt_activation_kind kind, float x) {
  float u;
  switch (kind) {
  case ZT_RELU:
    return x < 0 ? 0 : x; /* NaN stays NaN */
  case ZT_GELU:
    return x * gelu_gate(x);
  case ZT_GELU_NEW:
    u = gelu_new_inside(x);
    return x * sigmoid_by(u, exp_of(-u));
  case ZT_SILU:
    return x * sigmoid_by(x, exp_of(-x));
  }
  return x;
}

static __device__ float activation_slope(zt_activation_kind kind, float x) {
  float u, e, s;
  switch (kind) {
  case ZT_RELU:
    return x > 0 ? 1.0f : 0.0f;
  case ZT_GELU:
    return gelu_gate(x) + x * 0.398942280f * exp_of(-0.5f * x * x);
  case ZT_GELU_NEW:
    u = gelu_new_inside(x);
    e = exp_of(-u);
    s = sigmoid_by(u, e);
    return s + x * (e * s * s) * (1.59576912f * (1 + 3 * 0.044715f * x * x));
  case ZT_SILU:
    e = exp_of(-x);
    s = sigmoid_by(x, e);
    return s + x * (e * s * s); /* s (1 - s), without cancellation */
  }
  return 1;
}

/* Element i of [rows, d] in [rows, width]. */
static __device__ __forceinline__ int64_t spread(int64_t i, int64_t d,
                                                 int64_t width) {
  return width == d ? i : i / d * width + i % d;
}

template <class T>
static __global__ void activation_forward(zt_activation c, extent e) {
  const T *x = (const T *) c.x;
  T *y = (T *) c.y;
  const int64_t n = c.rows * c.d, width = c.gated ? 2 * c.d : c.d;
  for (int64_t s = blockIdx.y; s < e.samples; s += gridDim.y) {
    dropper drop(c.dropout, s);
    for (int64_t at = first_element(), i = 0; i < EACH; i++, at++) {
      int64_t to = s * e.elements + at;
      if (at >= e.elements || to >= n)
        break;
      int64_t from = spread(to, c.d, width);
      float v = activation(c.kind, widen(x[from]));
      if (c.gated)
        v *= widen(x[from + c.d]);
      y[to] = narrow<T>(c.dropout.rate > 0 ? drop(at, v) : v);
    }
  }
}

template <class T>
static __global__ void activation_backward(zt_activation c, extent e) {
  const T *x = (const T *) c.x, *dy = (const T *) c.dy;
  T *dx = (T *) c.dx;
  const int64_t n = c.rows * c.d, width = c.gated ? 2 * c.d : c.d;
  for (int64_t s = blockIdx.y; s < e.samples; s += gridDim.y) {
    dropper drop(c.dropout, s);
    for (int64_t at = first_element(), i = 0; i < EACH; i++, at++) {
      int64_t from = s * e.elements + at;
      if (at >= e.elements || from >= n)
        break;
      int64_t to = spread(from, c.d, width);
      float up = widen(dy[from]), v = widen(x[to]);
      if (c.dropout.rate > 0)
        up = drop(at, up);
      if (c.gated) {
        float gate = widen(x[to + c.d]);
        dx[to + c.d] = narrow<T>(up * activation(c.kind, v));
        up *= gate;
      }
      dx[to] = narrow<T>(up * activation_slope(c.kind, v));
    }
  }
}

/* ---- Dropout and sums ---- */

template <class T> static __global__ void drop_values(zt_drop c, extent e) {
  const T *x = (const T *) c.x, *residual = (const T *) c.residual;
  T *y = (T *) c.y;
  const int64_t n = c.rows * c.d;
  for (int64_t s = blockIdx.y; s < e.samples; s += gridDim.y) {
    dropper drop(c.dropout, s);
    for (int64_t at = first_element(), i = 0; i < EACH; i++, at++) {
      int64_t to = s * e.elements + at;
      if (at >= e.elements || to >= n)
        break;
      float v = widen(x[to]);
      if (c.dropout.rate > 0)
        v = drop(at, v);
      y[to] = narrow<T>(residual ? widen(residual[to]) + v : v);
    }
  }
}

template <class T>
static __global__ void add_values(T *to, const T *from, int64_t n) {
  int64_t step = (int64_t) gridDim.x * THREADS;
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  for (; i < n; i += step)
    to[i] = narrow<T>(widen(to[i]) + widen(from[i]));
}

static __global__ void narrow_values(bf16 *to, const float *from, int64_t n) {
  int64_t step = (int64_t) gridDim.x * THREADS;
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  for (; i < n; i += step)
    to[i] = narrow<bf16>(from[i]);
}

static __global__ void widen_values(float *to, const bf16 *from, int64_t n) {
  int64_t step = (int64_t) gridDim.x * THREADS;
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  for (; i < n; i += step)
    to[i] = widen(from[i]);
}

/* ---- Position bias ---- */

template <class T> static __global__ void bias_forward(zt_bias c) {
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  if (i >= c.heads * c.offsets)
    return;
  int64_t bucket = c.bucket[i % c.offsets];
  c.bias[i] = widen(((const T *) c.table)[bucket * c.heads + i / c.offsets]);
}

/* A thread has one element of the table; offsets in order. */
static __global__ void bias_backward(zt_bias c) {
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  if (i >= c.buckets * c.heads)
    return;
  const float *dbias = c.dbias + i % c.heads * c.offsets;
  float sum = c.dtable[i];
  for (int64_t o = 0; o < c.offsets; o++)
    if (c.bucket[o] == i / c.heads)
      sum += dbias[o];
  c.dtable[i] = sum;
}

/* ---- Rotary positions ---- */

/* A thread has one pair. */
template <class T> static __global__ void rope(zt_rope c) {
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  const int64_t half = c.head_dim / 2, row = i / (half * c.heads);
  if (row >= c.rows)
    return;
  const int64_t h = i / half % c.heads, column = i % half;
  const float *angles = c.table + c.position[row] * c.head_dim + column;
  float cosine = angles[0], sine = c.inverse ? -angles[half] : angles[half];
  T *x = (T *) c.x.data + row * c.x.ld + h * c.head_dim + column;
  float a = widen(x[0]), b = widen(x[half]);
  x[0] = narrow<T>(a * cosine - b * sine);
  x[half] = narrow<T>(b * cosine + a * sine);
}

/* ---- Bias of a linear map ---- */

template <class T> static __global__ void row_bias_forward(zt_row_bias c) {
  const T *x = (const T *) c.x, *b = (const T *) c.b;
  T *y = (T *) c.y;
  int64_t step = (int64_t) gridDim.x * THREADS;
  int64_t i = (int64_t) blockIdx.x * THREADS + threadIdx.x;
  for (; i < c.rows * c.n; i += step)
    y[i] = x ? narrow<T>(widen(x[i]) + widen(b[i % c.n])) : b[i % c.n];
}

/* A block has 32 columns; its warps take every LINES-th row, and their sums are
 * added in order. */
enum { LINES = 32 };

template <class T> static __global__ void row_bias_backward(zt_row_bias c) {
  ZT_SHARED(float, sums, [LINES][33]);
  const T *dy = (const T *) c.dy;
  const int64_t i = (int64_t) blockIdx.x * 32 + threadIdx.x;
  float sum = 0;
  if (i < c.n)
    for (int64_t r = threadIdx.y; r < c.rows; r += LINES)
      sum += widen(dy[r * c.n + i]);
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || i >= c.n)
    return;
  for (int line = 1; line < LINES; line++)
    sum += sums[line][threadIdx.x];
  c.db[i] += sum;
}

/* ---- Launchers ---- */

/* Blocks for n elements, some of which go round. */
static dim3 grid_round(int64_t n) {
  enum { MOST = 1 << 16 };
  return dim3((unsigned) at_most(blocks_of(n, THREADS), MOST));
}

zt_status zt_cuda_activation_forward(const zt_activation *c,
                                     cudaStream_t stream) {
  extent e = extent_of(c->rows, c->d, &c->dropout);
  if (c->dtype == ZT_BF16)
    ZT_LAUNCH(activation_forward<bf16>, grid_of(e), dim3(THREADS), 0, stream,
              *c, e);
  else
    ZT_LAUNCH(activation_forward<float>, grid_of(e), dim3(THREADS), 0, stream,
              *c, e);
  return zt_cuda_launched("activation");
}

zt_status zt_cuda_activation_backward(const zt_activation *c,
                                      cudaStream_t stream) {
  extent e = extent_of(c->rows, c->d, &c->dropout);
  if (c->dtype == ZT_BF16)
    ZT_LAUNCH(activation_backward<bf16>, grid_of(e), dim3(THREADS), 0, stream,
              *c, e);
  else
    ZT_LAUNCH(activation_backward<float>, grid_of(e), dim3(THREADS), 0, stream,
              *c, e);
  return zt_cuda_launched("activation gradient");
}

zt_status zt_cuda_drop(const zt_drop *c, cudaStream_t stream) {
  extent e = extent_of(c->rows, c->d, &c->dropout);
  if (c->dtype == ZT_BF16)
    ZT_LAUNCH(drop_values<bf16>, grid_of(e), dim3(THREADS), 0, stream, *c, e);
  else
    ZT_LAUNCH(drop_values<float>, grid_of(e), dim3(THREADS), 0, stream, *c, e);
  return zt_cuda_launched("dropout");
}

zt_status zt_cuda_add(zt_dtype dtype, int64_t n, void *to, const void *from,
                      cudaStream_t stream) {
  if (n == 0)
    return ZT_OK;
  if (dtype == ZT_BF16)
    ZT_LAUNCH(add_values<bf16>, grid_round(n), dim3(THREADS), 0, stream,
              (bf16 *) to, (const bf16 *) from, n);
  else
    ZT_LAUNCH(add_values<float>, grid_round(n), dim3(THREADS), 0, stream,
              (float *) to, (const float *) from, n);
  return zt_cuda_launched("sum");
}

zt_status zt_cuda_convert(int64_t n, const void *from, zt_dtype to_dtype,
                          void *to, cudaStream_t stream) {
  if (n == 0)
    return ZT_OK;
  if (to_dtype == ZT_BF16)
    ZT_LAUNCH(narrow_values, grid_round(n), dim3(THREADS), 0, stream,
              (bf16 *) to, (const float *) from, n);
  else
    ZT_LAUNCH(widen_values, grid_round(n), dim3(THREADS), 0, stream,
              (float *) to, (const bf16 *) from, n);
  return zt_cuda_launched("conversion");
}

zt_status zt_cuda_bias_forward(const zt_bias *c, cudaStream_t stream) {
  dim3 grid(blocks_of(c->heads * c->offsets, THREADS));
  if (c->dtype == ZT_BF16)
    ZT_LAUNCH(bias_forward<bf16>, grid, dim3(THREADS), 0, stream, *c);
  else
    ZT_LAUNCH(bias_forward<float>, grid, dim3(THREADS), 0, stream, *c);
  return zt_cuda_launched("position bias");
}

zt_status zt_cuda_bias_backward(const zt_bias *c, cudaStream_t stream) {
  ZT_LAUNCH(bias_backward, dim3(blocks_of(c->buckets * c->heads, THREADS)),
            dim3(THREADS), 0, stream, *c);
  return zt_cuda_launched("position bias gradient");
}

zt_status zt_cuda_rope(const zt_rope *c, cudaStream_t stream) {
  dim3 grid(blocks_of(c->rows * c->heads * (c->head_dim / 2), THREADS));
  if (c->x.dtype == ZT_BF16)
    ZT_LAUNCH(rope<bf16>, grid, dim3(THREADS), 0, stream, *c);
  else
    ZT_LAUNCH(rope<float>, grid, dim3(THREADS), 0, stream, *c);
  return zt_cuda_launched("rotary positions");
}

zt_status zt_cuda_row_bias_forward(const zt_row_bias *c, cudaStream_t stream) {
  dim3 grid = grid_round(c->rows * c->n);
  if (c->dtype == ZT_BF16)
    ZT_LAUNCH(row_bias_forward<bf16>, grid, dim3(THREADS), 0, stream, *c);
  else
    ZT_LAUNCH(row_bias_forward<float>, grid, dim3(THREADS), 0, stream, *c);
  return zt_cuda_launched("bias");
}

zt_status zt_cuda_row_bias_backward(const zt_row_bias *c, cudaStream_t stream) {
  dim3 grid(blocks_of(c->n, 32)), block(32, LINES);
  if (c->dtype == ZT_BF16)
    ZT_LAUNCH(row_bias_backward<bf16>, grid, block, 0, stream, *c);
  else
    ZT_LAUNCH(row_bias_backward<float>, grid, block, 0, stream, *c);
  return zt_cuda_launched("bias gradient");
}
