/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/dtype.h"

#include <string.h>

static const struct {
  size_t size;
  const char *name, *safetensors;
} formats[] = {
    [ZT_FP32] = {4, "fp32", "F32"},
    [ZT_BF16] = {2, "bf16", "BF16"},
    [ZT_FP16] = {2, "fp16", "F16"},
};

size_t zt_dtype_size(zt_dtype dtype) {
  return formats[dtype].size;
}

const char *zt_dtype_name(zt_dtype dtype) {
  return formats[dtype].name;
}

const char *zt_dtype_safetensors(zt_dtype dtype) {
  return formats[dtype].safetensors;
}

bool zt_dtype_parse(const char *name, zt_dtype *dtype) {
  for (int i = ZT_FP32; i <= ZT_FP16; i++)
    if (!strcmp(name, formats[i].name) ||
        !strcmp(name, formats[i].safetensors)) {
      *dtype = (zt_dtype) i;
      return true;
    }
  return false;
}

static uint32_t bits_of(float x) {
  uint32_t u;
  memcpy(&u, &x, sizeof u);
  return u;
}

static float float_of(uint32_t u) {
  float x;
  memcpy(&x, &u, sizeof x);
  return x;
}

static float fp16_to_fp32(uint16_t h) {
  uint32_t sign = (uint32_t) (h & 0x8000) << 16, rest = h & 0x7FFF;
  if (rest >= 0x7C00) /* infinite or NaN */
    return float_of(sign | 0x7F800000 | (rest & 0x3FF) << 13);
  /* The exponent is moved by an exact product, which also gets the subnormal
   * numbers right. */
  return float_of(sign | bits_of(float_of(rest << 13) * 0x1p112f));
}

static uint16_t fp32_to_bf16(float x) {
  uint32_t u = bits_of(x);
  if ((u & 0x7FFFFFFF) > 0x7F800000)
    return (uint16_t) (u >> 16 | 0x40);
  return (uint16_t) ((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}

static uint16_t fp32_to_fp16(float x) {
  uint32_t u = bits_of(x), sign = u >> 16 & 0x8000, rest = u & 0x7FFFFFFF;
  if (rest > 0x7F800000)
    return (uint16_t) (sign | 0x7E00 | (rest >> 13 & 0x3FF));
  if (rest >= 0x477FF000) /* rounds beyond 65504 */
    return (uint16_t) (sign | 0x7C00);
  if (rest < 0x38800000) /* subnormal: the fp32 adder rounds for us */
    return (uint16_t) (sign | (bits_of(float_of(rest) + 0.5f) - bits_of(0.5f)));
  return (uint16_t) (sign |
                     ((rest - 0x38000000 + 0xFFF + (rest >> 13 & 1)) >> 13));
}

void zt_to_fp32(zt_dtype dtype, const void *from, float *to, size_t n) {
  const char *bytes = from;
  if (dtype == ZT_FP32) {
    memcpy(to, from, n * sizeof *to);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    uint16_t h;
    memcpy(&h, bytes + 2 * i, sizeof h);
    to[i] = dtype == ZT_BF16 ? float_of((uint32_t) h << 16) : fp16_to_fp32(h);
  }
}

void zt_from_fp32(zt_dtype dtype, const float *from, void *to, size_t n) {
  char *bytes = to;
  if (dtype == ZT_FP32) {
    memcpy(to, from, n * sizeof *from);
    return;
  }
  for (size_t i = 0; i < n; i++) {
    uint16_t h =
        dtype == ZT_BF16 ? fp32_to_bf16(from[i]) : fp32_to_fp16(from[i]);
    memcpy(bytes + 2 * i, &h, sizeof h);
  }
}
