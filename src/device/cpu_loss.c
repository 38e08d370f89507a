/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

static float row_largest(const float *x, int64_t n) {
  v16 most = (v16){0} - INFINITY;
  int64_t i = 0;
  for (; i + ZT_LANES <= n; i += ZT_LANES)
    most = v16_max(v16_load(x + i), most);
  if (i < n)
    most = v16_max(v16_load_part(x + i, n - i, most), most);
  return v16_largest(most);
}

/* x becomes exp(x - shift); returns the sum. */
static float row_exp(float *x, float shift, int64_t n) {
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

void zt_cpu_cross_entropy(const zt_cross_entropy *call, int64_t begin,
                          int64_t end) {
  int64_t n = call->vocabulary;
  for (int64_t r = begin; r < end; r++) {
    float *x = call->logits + r * n;
    int32_t label = call->labels[r];
    call->row_loss[r] = 0;
    if (label < 0) {
      if (call->gradient)
        memset(x, 0, (size_t) n * sizeof *x);
      continue;
    }
    float most = row_largest(x, n);
    double wanted = x[label];
    float sum = row_exp(x, most, n);
    call->row_loss[r] = (float) (log((double) sum) + (double) most - wanted);
    if (!call->gradient)
      continue;
    float factor = 1 / sum;
    for (int64_t i = 0; i < n; i++)
      x[i] *= factor;
    x[label] -= 1;
  }
}

int32_t zt_cpu_argmax(const float *x, int64_t n) {
  float most = row_largest(x, n);
  for (int64_t i = 0; i < n; i++)
    if (x[i] == most)
      return (int32_t) i;
  return 0; /* all are NaN */
}
