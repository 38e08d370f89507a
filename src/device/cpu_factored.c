/* SPDX-License-Identifier: BSD-3-Clause */
/* Rows and columns of a matrix of gradients, for Adafactor. */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

/* Adding 2^52 to a number below that leaves its nearest integer, ties to even,
 * in the low bits: a conversion that every instruction set has as a vector. */
#define INTEGER_AT 0x1p52
static const uint64_t integer_bits = 0x4330000000000000;

/* Unsigned, as are their sums, for those of infinite gradients overflow: their
 * step is not taken. */
static inline uint64_t integer_square(float x) {
  double y = (double) x * (double) x + INTEGER_AT;
  uint64_t bits;
  memcpy(&bits, &y, sizeof bits);
  return bits - integer_bits;
}

/* Numbers that are not negative are ordered as their bits are. */
static inline int32_t magnitude_bits(float x) {
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & INT32_MAX;
}

/* Columns of row r that the call has; its gradients of them. */
static const float *part_of_row(const zt_factored *c, int64_t r, int64_t *begin,
                                int64_t *end) {
  int64_t at = r * c->columns;
  *begin = c->first > at ? c->first - at : 0;
  *end = c->first + c->n - at;
  if (*end > c->columns)
    *end = c->columns;
  return c->gradient + (at - c->first);
}

static int64_t row_largest(const float *g, float scale, int64_t n) {
  int32_t most = 0;
  for (int64_t i = 0; i < n; i++) {
    int32_t bits = magnitude_bits(g[i] * scale);
    most = bits > most ? bits : most;
  }
  return most;
}

static int64_t row_sum(const float *g, float scale, float factor, int64_t n) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += integer_square(g[i] * scale * factor);
  return (int64_t) sum;
}

void zt_cpu_factored_rows(const zt_factored *c, int64_t first, int64_t last) {
  for (int64_t r = first; r < last; r++) {
    int64_t begin, end;
    const float *g = part_of_row(c, r, &begin, &end);
    if (c->phase == ZT_FACTORED_LARGEST)
      c->row_sum[r] = row_largest(g + begin, c->scale, end - begin);
    else
      c->row_sum[r] =
          row_sum(g + begin, c->scale, c->row_factor[r], end - begin);
  }
}

void zt_cpu_factored_columns(const zt_factored *c, int64_t first,
                             int64_t last) {
  const float scale = c->scale;
  const float *restrict factor = c->column_factor;
  int64_t *restrict sum = c->column_sum;
  for (int64_t r = c->first / c->columns;
       r <= (c->first + c->n - 1) / c->columns; r++) {
    int64_t begin, end;
    const float *restrict g = part_of_row(c, r, &begin, &end);
    begin = begin > first ? begin : first;
    end = end < last ? end : last;
    if (c->phase == ZT_FACTORED_LARGEST)
      for (int64_t i = begin; i < end; i++) {
        int64_t bits = magnitude_bits(g[i] * scale);
        sum[i] = bits > sum[i] ? bits : sum[i];
      }
    else
      for (int64_t i = begin; i < end; i++)
        sum[i] = (int64_t) ((uint64_t) sum[i] +
                            integer_square(g[i] * scale * factor[i]));
  }
}

void zt_cpu_factored_update(const zt_factored *c, int64_t first, int64_t last) {
  const float scale = c->scale;
  const float *restrict column = c->column_factor;
  for (int64_t r = first; r < last; r++) {
    int64_t begin, end;
    const float row = c->row_factor[r];
    float *restrict g = (float *) part_of_row(c, r, &begin, &end);
    if (!column)
      g[0] = g[0] * scale * row;
    else
      for (int64_t i = begin; i < end; i++)
        g[i] = g[i] * scale * (row * column[i]);
  }
}

void zt_cpu_step_down(float *restrict p, const float *restrict update,
                      float decay, float step_size, int64_t n) {
  for (int64_t i = 0; i < n; i++)
    p[i] = p[i] * decay - step_size * update[i];
}
