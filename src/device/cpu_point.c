/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

/* ---- Dropout ---- */

typedef uint64_t v8u __attribute__((vector_size(64)));

/* Products of the low halves of 64-bit lanes.  The plain product is the same,
 * but compilers do not see that the high halves are zero. */
static inline v8u multiply_low(v8u x, uint32_t m) {
#if defined __AVX512F__
  return (v8u) _mm512_mul_epu32((__m512i) x, _mm512_set1_epi64(m));
#elif defined __AVX2__
  __m256i half[2], factor = _mm256_set1_epi64x(m);
  memcpy(half, &x, sizeof half);
  half[0] = _mm256_mul_epu32(half[0], factor);
  half[1] = _mm256_mul_epu32(half[1], factor);
  memcpy(&x, half, sizeof half);
  return x;
#else
  return x * m;
#endif
}

enum { PHILOX_WORDS = 32 };

/* Eight neighbouring Philox blocks at once: words[4 * block + word].  Lanes
 * hold 32-bit words with zeros above. */
static void philox8(uint64_t key, uint32_t first, const uint32_t counter[4],
                    uint32_t words[PHILOX_WORDS]) {
  const v8u low = (v8u){0} + 0xFFFFFFFF;
  uint32_t k0 = (uint32_t) key, k1 = (uint32_t) (key >> 32);
  v8u c0 = ((v8u){0, 1, 2, 3, 4, 5, 6, 7} + first) & low;
  v8u c1 = (v8u){0} + counter[1], c2 = (v8u){0} + counter[2];
  v8u c3 = (v8u){0} + counter[3];
  for (int round = 0; round < 10; round++) {
    v8u p0 = multiply_low(c0, 0xD2511F53), p1 = multiply_low(c2, 0xCD9E8D57);
    c0 = (p1 >> 32) ^ c1 ^ k0;
    c1 = p1 & low;
    c2 = (p0 >> 32) ^ c3 ^ k1;
    c3 = p0 & low;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  v8u front = c0 | c1 << 32, back = c2 | c3 << 32;
  v8u half = __builtin_shuffle(front, back, (v8u){0, 8, 1, 9, 2, 10, 3, 11});
  memcpy(words, &half, sizeof half);
  half = __builtin_shuffle(front, back, (v8u){4, 12, 5, 13, 6, 14, 7, 15});
  memcpy(words + 16, &half, sizeof half);
}

/* x[i] = 0 or x[i] / (1 - rate), for elements at, at + 1, ... of a sample. */
void zt_cpu_drop_row(const zt_dropout *dropout, int64_t sample, int64_t at,
                     int64_t n, float *x) {
  const uint32_t limit = (uint32_t) ((double) dropout->rate * 0x1p32);
  const float factor = 1 / (1 - dropout->rate);
  uint32_t counter[4] = {0, dropout->site,
                         dropout->first_sample + (uint32_t) sample,
                         dropout->step};
  for (int64_t i = 0; i < n;) {
    uint32_t words[PHILOX_WORDS];
    int64_t skip = (at + i) % 4, left = PHILOX_WORDS - skip;
    philox8(dropout->key, (uint32_t) ((at + i) / 4), counter, words);
    if (left > n - i)
      left = n - i;
    for (int64_t j = 0; j < left; j++)
      x[i + j] = words[skip + j] < limit ? 0 : x[i + j] * factor;
    i += left;
  }
}

/* Row r of a [rows, d] matrix: its sample, and its place in it. */
static void drop_matrix_row(const zt_dropout *dropout, int64_t r, int64_t d,
                            float *x) {
  int64_t sample = r / dropout->rows_per_sample;
  int64_t row = r % dropout->rows_per_sample;
  zt_cpu_drop_row(dropout, sample, row * d, d, x);
}

void zt_cpu_drop(const zt_drop *call, int64_t begin, int64_t end) {
  int64_t d = call->d;
  const float *residual = call->residual;
  enum { PIECE = 1024 };
  float dropped[PIECE];
  for (int64_t r = begin; r < end; r++)
    for (int64_t c = 0; c < d; c += PIECE) {
      int64_t n = d - c < PIECE ? d - c : PIECE, at = r * d + c;
      float *y = (float *) call->y + at;
      memcpy(dropped, (const float *) call->x + at, (size_t) n * sizeof *y);
      if (call->dropout.rate > 0)
        zt_cpu_drop_row(&call->dropout, r / call->dropout.rows_per_sample,
                        r % call->dropout.rows_per_sample * d + c, n, dropped);
      for (int64_t i = 0; i < n; i++)
        y[i] = residual ? residual[at + i] + dropped[i] : dropped[i];
    }
}

/* ---- Bias of a linear map ---- */

void zt_cpu_row_bias_forward(const zt_row_bias *call, int64_t begin,
                             int64_t end) {
  int64_t n = call->n;
  const float *b = call->b;
  for (int64_t r = begin; r < end; r++) {
    float *y = (float *) call->y + r * n;
    const float *x = (const float *) call->x + (call->x ? r * n : 0);
    if (call->x)
      for (int64_t i = 0; i < n; i++)
        y[i] = x[i] + b[i];
    else
      memcpy(y, b, (size_t) n * sizeof *y);
  }
}

/* Partial sums of fixed blocks of rows, so that long sums lose little. */
void zt_cpu_row_bias_backward(const zt_row_bias *call, int64_t begin,
                              int64_t end) {
  float sum[ZT_CPU_BIAS_COLUMNS];
  int64_t n = end - begin;
  float *restrict db = call->db + begin;
  for (int64_t r = 0; r < call->rows;) {
    int64_t last = r + ZT_CPU_BIAS_ROWS;
    memset(sum, 0, sizeof sum);
    for (; r < last && r < call->rows; r++) {
      const float *dy = (const float *) call->dy + r * call->n + begin;
      for (int64_t i = 0; i < n; i++)
        sum[i] += dy[i];
    }
    for (int64_t i = 0; i < n; i++)
      db[i] += sum[i];
  }
}

/* ---- Activations ---- */

/* 1 / (1 + e) with e = exp_of(-x).  Zero where e stops growing: times a huge x
 * it would not vanish. */
static inline float sigmoid_by(float x, float e) {
  float s = 1 / (1 + e);
  return x < -87.3f ? 0 : s;
}

static inline float sigmoid_of(float x) {
  return sigmoid_by(x, exp_of(-x));
}

static inline float gelu_new_inside(float x) {
  return 1.59576912f * (x + 0.044715f * x * x * x);
}

/* 0.5 (1 + tanh(u)) = sigmoid(2 u), without cancellation. */
static inline float gelu_new_gate(float x) {
  return sigmoid_of(gelu_new_inside(x));
}

static inline float gelu_new_slope(float x) {
  float u = gelu_new_inside(x), e = exp_of(-u), s = sigmoid_by(u, e);
  return s + x * (e * s * s) * (1.59576912f * (1 + 3 * 0.044715f * x * x));
}

static inline float gelu_gate(float x) {
  return 0.5f * (1 + erff(x * 0.707106781f));
}

static inline float gelu_slope(float x) {
  return gelu_gate(x) + x * 0.398942280f * exp_of(-0.5f * x * x);
}

static inline float silu_slope(float x) {
  float e = exp_of(-x), s = sigmoid_by(x, e);
  return s + x * (e * s * s); /* s (1 - s), without cancellation */
}

#define FOR_ROW(expression)                                                    \
  for (int64_t i = 0; i < n; i++) {                                            \
    float v = x[i];                                                            \
    y[i] = (expression);                                                       \
  }

/* y = act(x), element by element. */
static void apply(zt_activation_kind kind, const float *x, float *y,
                  int64_t n) {
  switch (kind) {
  case ZT_RELU:
    FOR_ROW(v < 0 ? 0 : v) /* NaN stays NaN */
    break;
  case ZT_GELU:
    FOR_ROW(v * gelu_gate(v))
    break;
  case ZT_GELU_NEW:
    FOR_ROW(v * gelu_new_gate(v))
    break;
  case ZT_SILU:
    FOR_ROW(v * sigmoid_of(v))
    break;
  }
}

/* y = act'(x). */
static void slope(zt_activation_kind kind, const float *x, float *y,
                  int64_t n) {
  switch (kind) {
  case ZT_RELU:
    FOR_ROW(v > 0 ? 1.0f : 0.0f)
    break;
  case ZT_GELU:
    FOR_ROW(gelu_slope(v))
    break;
  case ZT_GELU_NEW:
    FOR_ROW(gelu_new_slope(v))
    break;
  case ZT_SILU:
    FOR_ROW(silu_slope(v))
    break;
  }
}

void zt_cpu_activation_forward(const zt_activation *call, int64_t begin,
                               int64_t end) {
  int64_t d = call->d, width = call->gated ? 2 * d : d;
  for (int64_t r = begin; r < end; r++) {
    const float *x = (const float *) call->x + r * width;
    float *restrict y = (float *) call->y + r * d;
    apply(call->kind, x, y, d);
    if (call->gated)
      for (int64_t i = 0; i < d; i++)
        y[i] *= x[d + i];
    if (call->dropout.rate > 0)
      drop_matrix_row(&call->dropout, r, d, y);
  }
}

void zt_cpu_activation_backward(const zt_activation *call, int64_t begin,
                                int64_t end) {
  int64_t d = call->d, width = call->gated ? 2 * d : d;
  enum { PIECE = 1024 };
  float dy[PIECE], a[PIECE];
  for (int64_t r = begin; r < end; r++)
    for (int64_t c = 0; c < d; c += PIECE) {
      int64_t n = d - c < PIECE ? d - c : PIECE;
      const float *x = (const float *) call->x + r * width + c;
      float *dx = (float *) call->dx + r * width + c;
      memcpy(dy, (const float *) call->dy + r * d + c, (size_t) n * sizeof *dy);
      if (call->dropout.rate > 0)
        zt_cpu_drop_row(&call->dropout, r / call->dropout.rows_per_sample,
                        r % call->dropout.rows_per_sample * d + c, n, dy);
      if (call->gated) {
        apply(call->kind, x, a, n);
        for (int64_t i = 0; i < n; i++) {
          dx[d + i] = dy[i] * a[i];
          dy[i] *= x[d + i];
        }
      }
      slope(call->kind, x, a, n);
      for (int64_t i = 0; i < n; i++)
        dx[i] = dy[i] * a[i];
    }
}

/* ---- Embedding ---- */

void zt_cpu_embedding_backward(const zt_embedding *call, int64_t begin,
                               int64_t end) {
  for (int64_t r = 0; r < call->rows; r++) {
    const float *dy = (const float *) call->dy + r * call->d;
    float *to = call->dtable + (int64_t) call->ids[r] * call->d;
    if (call->ids[r] == call->padding)
      continue;
    for (int64_t i = begin; i < end; i++)
      to[i] += dy[i];
  }
}
