/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Numbers for unit tests, the same on every machine and rank, and how to
 *  compare them. */
#ifndef ZT_TESTS_NUMBERS_H
#define ZT_TESTS_NUMBERS_H

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/** Longer sweeps, as tests/long.sh asks for them. */
static inline bool numbers_long(void) {
  const char *wish = getenv("ZT_LONG");
  return wish && !strcmp(wish, "1");
}

/** 64 bits of a place in a sequence.  Source: splitmix64. */
static inline uint64_t numbers_bits(uint64_t seed, uint64_t i) {
  uint64_t x = seed * 0xD1342543DE82EF95 + (i + 1) * 0x9E3779B97F4A7C15;
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
  x = (x ^ x >> 27) * 0x94D049BB133111EB;
  return x ^ x >> 31;
}

/** Uniform in [-1, 1). */
static inline double numbers_uniform(uint64_t seed, uint64_t i) {
  return (double) (numbers_bits(seed, i) >> 11) * 0x1p-52 - 1;
}

static inline void numbers_fill(float *x, int64_t n, uint64_t seed,
                                double scale) {
  for (int64_t i = 0; i < n; i++)
    x[i] = (float) (scale * numbers_uniform(seed, (uint64_t) i));
}

/** Ordinary numbers, and among them all that is not ordinary. */
static inline void numbers_fill_odd(float *x, int64_t n, uint64_t seed) {
  const float odd[] = {0.0f,     -0.0f,       NAN,     INFINITY, -INFINITY,
                       0x1p-149, -0x1.8p-130, FLT_MIN, FLT_MAX,  -FLT_MAX,
                       1e30f,    -1e13f,      88.5f,   -87.4f,   1e-20f,
                       -103.0f,  -1e-30f,     1.0f,    -FLT_MIN, 3e19f};
  const uint64_t count = sizeof odd / sizeof *odd;
  for (int64_t i = 0; i < n; i++) {
    uint64_t bits = numbers_bits(seed, (uint64_t) i);
    x[i] = bits % 3 == 0 ? odd[bits / 3 % count]
                         : (float) (8 * numbers_uniform(~seed, (uint64_t) i));
  }
}

/** The same bits; which NaN it is does not matter. */
static inline bool numbers_equal(float a, float b) {
  return (a != a && b != b) || !memcmp(&a, &b, sizeof a);
}

/** First place where two arrays differ in this sense, -1: none. */
static inline int64_t numbers_differ(const float *a, const float *b,
                                     int64_t n) {
  for (int64_t i = 0; i < n; i++)
    if (!numbers_equal(a[i], b[i]))
      return i;
  return -1;
}

/** |x - y| over all elements, relative to |y|, both as vectors. */
static inline double numbers_distance(const float *x, const double *y,
                                      int64_t n) {
  double difference = 0, size = 0;
  for (int64_t i = 0; i < n; i++) {
    double d = (double) x[i] - y[i];
    difference += d * d;
    size += y[i] * y[i];
  }
  return sqrt(difference / (size > 0 ? size : 1));
}

#endif
