/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

void zt_cpu_adamw(const zt_adamw *call, int64_t begin, int64_t end) {
  float *restrict p = call->p, *restrict m = call->m, *restrict v = call->v;
  const float *restrict gradient = call->gradient;
  const float r1 = call->rate1, r2 = call->rate2;
  const float beta2 = call->beta2, scale = call->scale;
  const float decay = call->decay, step_size = call->step_size;
  const float root_c2 = call->root_c2, eps = call->eps;
  for (int64_t i = begin; i < end; i++) {
    float g = gradient[i] * scale;
    m[i] = m[i] + (g - m[i]) * r1;
    v[i] = v[i] * beta2 + g * g * r2;
    float denominator = sqrtf(v[i]) / root_c2 + eps;
    p[i] = p[i] * decay - step_size * (m[i] / denominator);
  }
}

double zt_cpu_sum_squares(const float *x, int64_t n) {
  enum { LANES = 8 };
  double sum[LANES] = {0};
  int64_t i = 0;
  for (; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++)
      sum[j] += (double) x[i + j] * (double) x[i + j];
  for (int j = 0; i + j < n; j++)
    sum[j] += (double) x[i + j] * (double) x[i + j];
  for (int step = LANES / 2; step > 0; step /= 2)
    for (int j = 0; j < step; j++)
      sum[j] += sum[j + step];
  return sum[0];
}

void zt_cpu_add(float *to, const float *from, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    to[i] += from[i];
}
