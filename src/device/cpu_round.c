/* SPDX-License-Identifier: BSD-3-Clause */
/* Between bf16 and fp32, with the rounding of base/dtype. */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

void zt_cpu_widen(const uint16_t *from, float *to, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t bits = (uint32_t) from[i] << 16;
    memcpy(to + i, &bits, sizeof bits);
  }
}

/* To the nearest, ties to even; a NaN stays one. */
void zt_cpu_narrow(const float *from, uint16_t *to, int64_t n) {
  for (int64_t i = 0; i < n; i++) {
    uint32_t u;
    memcpy(&u, from + i, sizeof u);
    uint32_t rounded = (u + 0x7FFF + (u >> 16 & 1)) >> 16;
    uint32_t nan = u >> 16 | 0x40;
    to[i] = (uint16_t) ((u & 0x7FFFFFFF) > 0x7F800000 ? nan : rounded);
  }
}
