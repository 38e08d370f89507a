/* SPDX-License-Identifier: BSD-3-Clause */
/* Cross-entropy of a chunk of logits, loss and gradient in one kernel; and the
 * choice of the likeliest token. */
#include "cuda/cuda_math.h"

enum { THREADS = 512 };

/* A block has a row, and reads it once for the largest logit and the sum of
 * exponentials, once more to write the gradient in its place. */
static __global__ void cross_entropy(zt_cross_entropy c) {
  ZT_SHARED(float, memory, [32]);
  const int64_t r = blockIdx.x, n = c.vocabulary;
  const int32_t label = c.labels[r];
  const bool terms = c.smoothing > 0 || c.z_loss > 0;
  float *x = c.logits + r * n;
  if (label < 0) {
    if (threadIdx.x == 0)
      c.row_loss[r] = 0;
    if (threadIdx.x == 0 && terms)
      c.row_loss[c.rows + r] = 0;
    for (int64_t i = threadIdx.x; c.gradient && i < n; i += blockDim.x)
      x[i] = 0;
    return;
  }
  /* Online: a thread's sum is of exp(x - most) with its own largest. */
  float most = -INFINITY, sum = 0, total = 0;
  for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
    float v = x[i];
    total += v;
    if (v > most) {
      sum *= exp_of(most - v);
      most = v;
    }
    sum += v == -INFINITY ? 0 : exp_of(v - most);
  }
  const float wanted = x[label], largest = block_max(most, memory);
  if (sum > 0) /* else the thread had no element */
    sum *= exp_of(most - largest);
  sum = block_sum(sum, memory);
  const double log_z = log((double) sum) + (double) largest;
  if (threadIdx.x == 0)
    c.row_loss[r] = (float) (log_z - (double) wanted);
  if (terms) {
    double mean = (double) block_sum(total, memory) / (double) n;
    if (threadIdx.x == 0)
      c.row_loss[c.rows + r] =
          (float) ((double) c.smoothing * ((double) wanted - mean) +
                   (double) c.z_loss * log_z * log_z);
  }
  const float factor = (float) (1 + 2 * (double) c.z_loss * log_z) / sum;
  const float share = (float) ((double) c.smoothing / (double) n);
  for (int64_t i = threadIdx.x; c.gradient && i < n; i += blockDim.x)
    x[i] = exp_of(x[i] - largest) * factor - share -
           (i == label ? 1 - c.smoothing : 0.0f);
}

/* loss += row losses, one after another: a block of one warp for the
 * cross-entropy, and one for its terms. */
static __global__ void fold_losses(zt_cross_entropy c) {
  const int lane = threadIdx.x;
  const float *row_loss = c.row_loss + blockIdx.x * c.rows;
  double loss = lane == 0 ? c.loss[blockIdx.x] : 0; /* that lane's counts */
  for (int64_t at = 0; at < c.rows; at += 32) {
    float mine = at + lane < c.rows ? row_loss[at + lane] : 0;
    for (int i = 0; i < 32; i++)
      loss += (double) __shfl_sync(0xffffffffu, mine, i);
  }
  if (lane == 0)
    c.loss[blockIdx.x] = loss;
}

/* The larger value, and the earlier of equal ones; NaN is never chosen. */
static __device__ __forceinline__ void choose(float *most, int *index,
                                              float value, int at) {
  if (value > *most || (value == *most && at < *index)) {
    *most = value;
    *index = at;
  }
}

static __global__ void argmax(const float *x, int n, int32_t *index) {
  ZT_SHARED(float, values, [32]);
  ZT_SHARED(int, places, [32]);
  const float *row = x + (int64_t) blockIdx.x * n;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  float most = -INFINITY;
  int at = INT32_MAX;
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    choose(&most, &at, row[i], i);
  for (int step = 16; step > 0; step /= 2)
    choose(&most, &at, __shfl_xor_sync(0xffffffffu, most, step),
           __shfl_xor_sync(0xffffffffu, at, step));
  if (lane == 0) {
    values[warp] = most;
    places[warp] = at;
  }
  __syncthreads();
  if (threadIdx.x != 0)
    return;
  for (int w = 1; w < (int) blockDim.x / 32; w++)
    choose(&most, &at, values[w], places[w]);
  index[blockIdx.x] = at < n ? at : 0; /* else all are NaN */
}

static unsigned threads_of(int64_t n) {
  return n >= 4 * THREADS ? THREADS : 128;
}

zt_status zt_cuda_cross_entropy(const zt_cross_entropy *c,
                                cudaStream_t stream) {
  ZT_LAUNCH(cross_entropy, dim3((unsigned) c->rows),
            dim3(threads_of(c->vocabulary)), 0, stream, *c);
  ZT_LAUNCH(fold_losses, dim3(zt_loss_has_terms(c) ? 2 : 1), dim3(32), 0,
            stream, *c);
  return zt_cuda_launched("loss");
}

zt_status zt_cuda_argmax(int64_t rows, int64_t n, const float *x,
                         int32_t *index, cudaStream_t stream) {
  ZT_LAUNCH(argmax, dim3((unsigned) rows), dim3(threads_of(n)), 0, stream, x,
            (int) n, index);
  return zt_cuda_launched("argmax");
}
