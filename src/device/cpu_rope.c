/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

/* One head of one row: n pairs.  The sign makes the difference between the two
 * directions, and a product with it is exact. */
static void rotate(float *restrict a, float *restrict b, const float *cosine,
                   const float *sine, float sign, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    float x = a[i], y = b[i], s = sign * sine[i];
    a[i] = x * cosine[i] - y * s;
    b[i] = y * cosine[i] + x * s;
  }
}

void zt_cpu_rope(const zt_rope *call, int64_t begin, int64_t end) {
  int64_t half = call->head_dim / 2;
  for (int64_t r = begin; r < end; r++) {
    const float *angles = call->table + call->position[r] * call->head_dim;
    float *row = (float *) call->x.data + r * call->x.ld;
    for (int64_t h = 0; h < call->heads; h++) {
      float *head = row + h * call->head_dim;
      rotate(head, head + half, angles, angles + half, call->inverse ? -1 : 1,
             half);
    }
  }
}
