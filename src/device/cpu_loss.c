/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

static double row_mean(const float *x, int64_t n) {
  enum { LANES = 8 };
  double sum[LANES] = {0};
  for (int64_t i = 0; i + LANES <= n; i += LANES)
    for (int j = 0; j < LANES; j++)
      sum[j] += (double) x[i + j];
  for (int64_t i = n - n % LANES; i < n; i++)
    sum[i % LANES] += (double) x[i];
  for (int step = LANES / 2; step > 0; step /= 2)
    for (int j = 0; j < step; j++)
      sum[j] += sum[j + step];
  return sum[0] / (double) n;
}

void zt_cpu_cross_entropy(const zt_cross_entropy *call, int64_t begin,
                          int64_t end) {
  const int64_t n = call->vocabulary;
  const bool terms = zt_loss_has_terms(call);
  const double smoothing = call->smoothing, z_loss = call->z_loss;
  for (int64_t r = begin; r < end; r++) {
    float *x = call->logits + r * n;
    int32_t label = call->labels[r];
    call->row_loss[r] = 0;
    if (terms)
      call->row_loss[call->rows + r] = 0;
    if (label < 0) {
      if (call->gradient)
        memset(x, 0, (size_t) n * sizeof *x);
      continue;
    }
    float most = largest_of(x, n);
    double wanted = x[label], mean = smoothing > 0 ? row_mean(x, n) : 0;
    float sum = exp_row(x, most, n);
    double log_z = log((double) sum) + (double) most;
    call->row_loss[r] = (float) (log_z - wanted);
    if (terms)
      call->row_loss[call->rows + r] =
          (float) (smoothing * (wanted - mean) + z_loss * log_z * log_z);
    if (!call->gradient)
      continue;
    float factor = (float) (1 + 2 * z_loss * log_z) / sum;
    float share = (float) (smoothing / (double) n);
    for (int64_t i = 0; i < n; i++)
      x[i] = x[i] * factor - share;
    x[label] -= 1 - call->smoothing;
  }
}

int32_t zt_cpu_argmax(const float *x, int64_t n) {
  float most = largest_of(x, n);
  for (int64_t i = 0; i < n; i++)
    if (x[i] == most)
      return (int32_t) i;
  return 0; /* all are NaN */
}
