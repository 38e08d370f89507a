/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Sums and exponentials inside the CPU kernels: 16 lanes whatever the machine
 *  has, lowered by the compiler.  Included by kernel files alone. */
#ifndef ZT_DEVICE_CPU_VEC_H
#define ZT_DEVICE_CPU_VEC_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#pragma GCC optimize("O3", "no-math-errno", "no-trapping-math")

enum { ZT_LANES = 16 };

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));

static inline v16 v16_load(const float *p) {
  v16 v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* The first n elements, the other lanes as given. */
static inline v16 v16_load_part(const float *p, int64_t n, v16 rest) {
  memcpy(&rest, p, (size_t) n * sizeof *p);
  return rest;
}

static inline v16 v16_max(v16 a, v16 b) {
  v16i greater = a > b;
  return (v16) ((greater & (v16i) a) | (~greater & (v16i) b));
}

/* A fixed tree: 8, 4, 2, 1 apart. */
static inline float v16_sum(v16 v) {
  float x[ZT_LANES];
  memcpy(x, &v, sizeof x);
  for (int step = ZT_LANES / 2; step > 0; step /= 2)
    for (int i = 0; i < step; i++)
      x[i] += x[i + step];
  return x[0];
}

static inline float v16_largest(v16 v) {
  float x[ZT_LANES];
  memcpy(x, &v, sizeof x);
  for (int i = 1; i < ZT_LANES; i++)
    x[0] = x[i] > x[0] ? x[i] : x[0];
  return x[0];
}

/* exp(x) to about one unit in the last place; 0 below -87.3, at most
 * exp(88.3), NaN of NaN.  Only +, *, compare and bits, so that loops over it
 * vectorise and give the same bits everywhere. */
static inline float exp_of(float x) {
  const float magic = 0x1.8p23f;
  float clamped = x < 88.3f ? x : 88.3f;
  clamped = clamped > -87.3f ? clamped : -87.3f;
  float t = clamped * 1.44269504f + magic;
  float n = t - magic;
  float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  int32_t bits;
  memcpy(&bits, &p, sizeof bits);
  bits += (int32_t) n * (1 << 23);
  memcpy(&p, &bits, sizeof bits);
  p = x < -87.3f ? 0.0f : p;
  return x == x ? p : x;
}

static inline float largest_of(const float *x, int64_t n) {
  v16 most = (v16){0} - INFINITY;
  int64_t i = 0;
  for (; i + ZT_LANES <= n; i += ZT_LANES)
    most = v16_max(v16_load(x + i), most);
  if (i < n)
    most = v16_max(v16_load_part(x + i, n - i, most), most);
  return v16_largest(most);
}

/* x becomes exp(x - shift); returns the sum. */
static inline float exp_row(float *x, float shift, int64_t n) {
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

#endif
