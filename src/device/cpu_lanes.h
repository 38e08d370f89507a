/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Sums in registers: 16 lanes as vectors of the width that the machine has.
 *  Where a compiler would lower a wider vector it goes through memory.  All is
 *  inlined whatever options hold where it is used.  Included by kernel files
 *  alone. */
#ifndef ZT_DEVICE_CPU_LANES_H
#define ZT_DEVICE_CPU_LANES_H

#include "device/cpu_vec.h"

#if defined(__AVX512F__)
#define ZT_VECTOR 16
#elif defined(__AVX__)
#define ZT_VECTOR 8
#else
#define ZT_VECTOR 4
#endif

enum { ZT_PARTS = ZT_LANES / ZT_VECTOR };

typedef float vec __attribute__((vector_size(4 * ZT_VECTOR)));
typedef float v4 __attribute__((vector_size(16)));
typedef int32_t v4i __attribute__((vector_size(16)));

typedef struct lanes {
  vec part[ZT_PARTS];
} lanes;

#define ZT_INLINE static inline __attribute__((always_inline))

ZT_INLINE lanes lanes_load(const float *p) {
  lanes v;
  for (int i = 0; i < ZT_PARTS; i++)
    memcpy(&v.part[i], p + i * ZT_VECTOR, sizeof v.part[i]);
  return v;
}

/* The first n elements, then zeros. */
ZT_INLINE lanes lanes_load_part(const float *p, int64_t n) {
  float part[ZT_LANES] = {0};
  memcpy(part, p, (size_t) n * sizeof *p);
  return lanes_load(part);
}

ZT_INLINE void lanes_store(float *p, lanes v) {
  for (int i = 0; i < ZT_PARTS; i++)
    memcpy(p + i * ZT_VECTOR, &v.part[i], sizeof v.part[i]);
}

/* sum += x * y. */
ZT_INLINE void lanes_add_product(lanes *sum, lanes x, lanes y) {
  for (int i = 0; i < ZT_PARTS; i++)
    sum->part[i] += x.part[i] * y.part[i];
}

/* sum += a * x. */
ZT_INLINE void lanes_add_scaled(lanes *sum, float a, lanes x) {
  for (int i = 0; i < ZT_PARTS; i++)
    sum->part[i] += a * x.part[i];
}

ZT_INLINE v4 v4_load(const float *p) {
  v4 v;
  memcpy(&v, p, sizeof v);
  return v;
}

/* The sums of four times 16 lanes, in the order of v16_sum(). */
ZT_INLINE void lanes_sum_4(const lanes sums[4], float out[4]) {
  v4 q[4];
  for (int c = 0; c < 4; c++) {
    float x[ZT_LANES];
    lanes_store(x, sums[c]);
    q[c] = (v4_load(x) + v4_load(x + 8)) + (v4_load(x + 4) + v4_load(x + 12));
  }
  const v4i low = {0, 4, 1, 5}, high = {2, 6, 3, 7};
  const v4i first = {0, 1, 4, 5}, second = {2, 3, 6, 7};
  v4 a = __builtin_shuffle(q[0], q[1], low);
  v4 b = __builtin_shuffle(q[2], q[3], low);
  v4 c = __builtin_shuffle(q[0], q[1], high);
  v4 d = __builtin_shuffle(q[2], q[3], high);
  v4 even = __builtin_shuffle(a, b, first) + __builtin_shuffle(c, d, first);
  v4 odd = __builtin_shuffle(a, b, second) + __builtin_shuffle(c, d, second);
  v4 sum = even + odd;
  memcpy(out, &sum, sizeof sum);
}

#endif
