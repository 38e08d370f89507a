/* SPDX-License-Identifier: BSD-3-Clause */
/* The row work of attention between its matrix products. */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

/* A query row of the block: the keys it sees are at .. at + n - 1 of the
 * block's, key .. key + n - 1 of all. */
typedef struct seen {
  int64_t at, n, key;
} seen;

static seen seen_by(const zt_attention *call, const zt_cpu_scores *block,
                    int64_t row) {
  int64_t i = block->first + row, first = block->key;
  int64_t last = block->key + block->keys;
  if (call->causal && i + 1 < last)
    last = i + 1;
  if (call->window && i + 1 - call->window > first)
    first = i + 1 - call->window;
  if (call->k_first) {
    int64_t begin = call->k_first[block->sample * call->q_length + i];
    first = begin > first ? begin : first;
  }
  first = first < last ? first : last;
  return (seen){first - block->key, last - first, first};
}

/* Place of the row's first bias: offsets grow with the key. */
static int64_t bias_at(const zt_attention *call, const zt_cpu_scores *block,
                       int64_t row, int64_t key) {
  return block->head * (call->q_length + call->k_length - 1) + call->q_length -
         1 - (block->first + row) + key;
}

/* What the row does not see becomes zero. */
static void zero_unseen(const zt_cpu_scores *block, seen s, float *x) {
  memset(x, 0, (size_t) s.at * sizeof *x);
  memset(x + s.at + s.n, 0, (size_t) (block->keys - s.at - s.n) * sizeof *x);
}

static float *stats_of(const zt_attention *call, const zt_cpu_scores *block,
                       int64_t row) {
  int64_t head = block->sample * call->heads + block->head;
  return call->stats + 2 * (head * call->q_length + block->first + row);
}

/* x = scale * x + bias. */
static void add_bias(const zt_attention *call, const zt_cpu_scores *block,
                     int64_t row, seen s, float *x) {
  const float scale = call->scale;
  const int64_t n = s.n;
  const float *bias =
      call->bias ? call->bias + bias_at(call, block, row, s.key) : NULL;
  if (bias)
    for (int64_t i = 0; i < n; i++)
      x[i] = scale * x[i] + bias[i];
  else
    for (int64_t i = 0; i < n; i++)
      x[i] = scale * x[i];
}

static void drop_probabilities(const zt_attention *call,
                               const zt_cpu_scores *block, int64_t row, seen s,
                               float *x) {
  if (call->dropout.rate > 0)
    zt_cpu_drop_row(&call->dropout, block->sample,
                    (block->head * call->q_length + block->first + row) *
                            call->k_length +
                        s.key,
                    s.n, x);
}

void zt_cpu_softmax(const zt_attention *call, const zt_cpu_scores *block) {
  for (int64_t r = 0; r < block->rows; r++) {
    seen s = seen_by(call, block, r);
    float *row = block->p + r * block->keys, *x = row + s.at;
    float *stats = stats_of(call, block, r);
    zero_unseen(block, s, row);
    stats[0] = stats[1] = 0;
    if (s.n == 0)
      continue;
    add_bias(call, block, r, s, x);
    float most = largest_of(x, s.n);
    float factor = 1 / exp_row(x, most, s.n);
    for (int64_t i = 0; i < s.n; i++)
      x[i] *= factor;
    stats[0] = most;
    stats[1] = factor;
    drop_probabilities(call, block, r, s, x);
  }
}

void zt_cpu_softmax_again(const zt_attention *call,
                          const zt_cpu_scores *block) {
  for (int64_t r = 0; r < block->rows; r++) {
    seen s = seen_by(call, block, r);
    float *row = block->p + r * block->keys, *x = row + s.at;
    zero_unseen(block, s, row);
    add_bias(call, block, r, s, x);
    const float *stats = stats_of(call, block, r);
    const float most = stats[0], factor = stats[1];
    for (int64_t i = 0; i < s.n; i++)
      x[i] = exp_of(x[i] - most) * factor;
    if (call->dropout.rate > 0) {
      float *dropped = block->dropped + r * block->keys;
      memcpy(dropped, row, (size_t) block->keys * sizeof *x);
      drop_probabilities(call, block, r, s, dropped + s.at);
    }
  }
}

void zt_cpu_softmax_backward(const zt_attention *call,
                             const zt_cpu_scores *block) {
  const float scale = call->scale;
  for (int64_t r = 0; r < block->rows; r++) {
    seen s = seen_by(call, block, r);
    const float *p = block->p + r * block->keys + s.at;
    float *row = block->dp + r * block->keys;
    float *restrict dp = row + s.at;
    const float delta = block->delta[r];
    zero_unseen(block, s, row);
    drop_probabilities(call, block, r, s, dp);
    for (int64_t i = 0; i < s.n; i++)
      dp[i] = p[i] * (dp[i] - delta);
    if (block->dbias) {
      float *restrict to =
          block->dbias + call->q_length - 1 - (block->first + r) + s.key;
      for (int64_t i = 0; i < s.n; i++)
        to[i] += dp[i];
    }
    if (scale != 1)
      for (int64_t i = 0; i < s.n; i++)
        dp[i] *= scale;
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
