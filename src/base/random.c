/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/random.h"

#include <math.h>

void zt_philox(uint64_t key, const uint32_t counter[4], uint32_t out[4]) {
  uint32_t k0 = (uint32_t) key, k1 = (uint32_t) (key >> 32);
  uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
  for (int round = 0; round < 10; round++) {
    uint64_t p0 = (uint64_t) 0xD2511F53 * c0, p1 = (uint64_t) 0xCD9E8D57 * c2;
    c0 = (uint32_t) (p1 >> 32) ^ c1 ^ k0;
    c1 = (uint32_t) p1;
    c2 = (uint32_t) (p0 >> 32) ^ c3 ^ k1;
    c3 = (uint32_t) p0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

uint64_t zt_below(uint32_t high, uint32_t low, uint64_t n) {
  unsigned __int128 r = (uint64_t) high << 32 | low;
  return (uint64_t) (r * n >> 64);
}

/* Box-Muller makes two numbers of one block. */
static void normal_pair(uint64_t key, uint64_t stream, uint64_t pair,
                        double out[2]) {
  uint32_t counter[4] = {(uint32_t) pair, (uint32_t) (pair >> 32),
                         (uint32_t) stream, (uint32_t) (stream >> 32)};
  uint32_t r[4];
  zt_philox(key, counter, r);
  uint64_t a = ((uint64_t) r[0] << 32 | r[1]) >> 11;
  uint64_t b = ((uint64_t) r[2] << 32 | r[3]) >> 11;
  double radius = sqrt(-2 * log(((double) a + 0.5) * 0x1p-53));
  double angle = 2 * 3.14159265358979323846 * ((double) b * 0x1p-53);
  out[0] = radius * cos(angle);
  out[1] = radius * sin(angle);
}

double zt_normal(uint64_t key, uint64_t stream, uint64_t i) {
  double pair[2];
  normal_pair(key, stream, i / 2, pair);
  return pair[i % 2];
}

void zt_normal_fill(uint64_t key, uint64_t stream, uint64_t first, size_t n,
                    double *out) {
  double pair[2];
  for (size_t i = 0; i < n; i++) {
    uint64_t at = first + i;
    if (i == 0 || at % 2 == 0)
      normal_pair(key, stream, at / 2, pair);
    out[i] = pair[at % 2];
  }
}

uint64_t zt_permute(uint64_t key, uint64_t epoch, uint64_t n, uint64_t i) {
  int half = 1;
  while (half < 32 && (uint64_t) 1 << 2 * half < n)
    half++;
  uint64_t mask = ((uint64_t) 1 << half) - 1, x = i;
  do {
    uint64_t left = x >> half, right = x & mask;
    for (uint32_t round = 0; round < 6; round++) {
      uint32_t counter[4] = {(uint32_t) right, round, (uint32_t) epoch,
                             (uint32_t) (epoch >> 32)};
      uint32_t r[4];
      zt_philox(key, counter, r);
      uint64_t next = left ^ (r[0] & mask);
      left = right;
      right = next;
    }
    x = left << half | right;
  } while (x >= n);
  return x;
}
