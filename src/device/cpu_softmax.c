/* SPDX-License-Identifier: BSD-3-Clause */
/* The row work of attention between its matrix products. */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

/* Keys that a query row of the block sees. */
static int64_t keys_of(const zt_attention *call, const zt_cpu_scores *block,
                       int64_t row) {
  int64_t seen = call->causal ? block->first + row + 1 : block->keys;
  return seen < block->keys ? seen : block->keys;
}

/* Place of the row's first bias: offsets grow with the key. */
static int64_t bias_at(const zt_attention *call, const zt_cpu_scores *block,
                       int64_t row) {
  return block->head * (call->q_length + call->k_length - 1) + call->q_length -
         1 - (block->first + row);
}

static float *stats_of(const zt_attention *call, const zt_cpu_scores *block,
                       int64_t row) {
  int64_t head = block->sample * call->heads + block->head;
  return call->stats + 2 * (head * call->q_length + block->first + row);
}

/* x = scale * x + bias; returns the largest. */
static float add_bias(const zt_attention *call, const zt_cpu_scores *block,
                      int64_t row, float *x, int64_t n) {
  v16 most = (v16){0} - INFINITY;
  const float scale = call->scale;
  const float *bias =
      call->bias ? call->bias + bias_at(call, block, row) : NULL;
  if (bias)
    for (int64_t i = 0; i < n; i++)
      x[i] = scale * x[i] + bias[i];
  else
    for (int64_t i = 0; i < n; i++)
      x[i] = scale * x[i];
  int64_t i = 0;
  for (; i + ZT_LANES <= n; i += ZT_LANES)
    most = v16_max(v16_load(x + i), most);
  if (i < n)
    most = v16_max(v16_load_part(x + i, n - i, most), most);
  return v16_largest(most);
}

static float exp_and_sum(float *x, float shift, int64_t n) {
  v16 sum = {0};
  int64_t i = 0;
  for (; i + ZT_LANES <= n; i += ZT_LANES) {
    for (int j = 0; j < ZT_LANES; j++)
      x[i + j] = exp_of(x[i + j] - shift);
    sum += v16_load(x + i);
  }
  if (i < n) {
    for (int64_t j = i; j < n; j++)
      x[j] = exp_of(x[j] - shift);
    sum += v16_load_part(x + i, n - i, (v16){0});
  }
  return v16_sum(sum);
}

static void drop_probabilities(const zt_attention *call,
                               const zt_cpu_scores *block, int64_t row,
                               int64_t n, float *x) {
  if (call->dropout.rate > 0)
    zt_cpu_drop_row(&call->dropout, block->sample,
                    (block->head * call->q_length + block->first + row) *
                        call->k_length,
                    n, x);
}

void zt_cpu_softmax(const zt_attention *call, const zt_cpu_scores *block) {
  for (int64_t r = 0; r < block->rows; r++) {
    float *x = block->p + r * block->keys;
    int64_t n = keys_of(call, block, r);
    float most = add_bias(call, block, r, x, n);
    float sum = exp_and_sum(x, most, n);
    float factor = 1 / sum;
    for (int64_t i = 0; i < n; i++)
      x[i] *= factor;
    memset(x + n, 0, (size_t) (block->keys - n) * sizeof *x);
    float *stats = stats_of(call, block, r);
    stats[0] = most;
    stats[1] = factor;
    drop_probabilities(call, block, r, n, x);
  }
}

void zt_cpu_softmax_again(const zt_attention *call,
                          const zt_cpu_scores *block) {
  for (int64_t r = 0; r < block->rows; r++) {
    float *x = block->p + r * block->keys;
    int64_t n = keys_of(call, block, r);
    add_bias(call, block, r, x, n);
    const float *stats = stats_of(call, block, r);
    const float most = stats[0], factor = stats[1];
    for (int64_t i = 0; i < n; i++)
      x[i] = exp_of(x[i] - most) * factor;
    memset(x + n, 0, (size_t) (block->keys - n) * sizeof *x);
    if (call->dropout.rate > 0) {
      float *dropped = block->dropped + r * block->keys;
      memcpy(dropped, x, (size_t) block->keys * sizeof *x);
      drop_probabilities(call, block, r, n, dropped);
    }
  }
}

void zt_cpu_softmax_backward(const zt_attention *call,
                             const zt_cpu_scores *block) {
  const float scale = call->scale;
  for (int64_t r = 0; r < block->rows; r++) {
    const float *p = block->p + r * block->keys;
    float *restrict dp = block->dp + r * block->keys;
    int64_t n = keys_of(call, block, r);
    const float delta = block->delta[r];
    drop_probabilities(call, block, r, n, dp);
    for (int64_t i = 0; i < n; i++)
      dp[i] = p[i] * (dp[i] - delta);
    if (block->dbias) {
      float *restrict to =
          block->dbias + call->q_length - 1 - (block->first + r);
      for (int64_t i = 0; i < n; i++)
        to[i] += dp[i];
    }
    if (scale != 1)
      for (int64_t i = 0; i < n; i++)
        dp[i] *= scale;
    memset(dp + n, 0, (size_t) (block->keys - n) * sizeof *dp);
  }
}

float zt_cpu_dot(const float *x, const float *y, int64_t n) {
  v16 sum = {0};
  int64_t i = 0;
  for (; i + ZT_LANES <= n; i += ZT_LANES)
    sum += v16_load(x + i) * v16_load(y + i);
  if (i < n)
    sum += v16_load_part(x + i, n - i, (v16){0}) *
           v16_load_part(y + i, n - i, (v16){0});
  return v16_sum(sum);
}
