/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Number formats of parameters and activations. */
#ifndef ZT_BASE_DTYPE_H
#define ZT_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum zt_dtype { ZT_FP32, ZT_BF16, ZT_FP16 } zt_dtype;

/** Bytes of one element. */
size_t zt_dtype_size(zt_dtype dtype);
/** "fp32", "bf16", "fp16". */
const char *zt_dtype_name(zt_dtype dtype);
/** "F32", "BF16", "F16", as safetensors writes them. */
const char *zt_dtype_safetensors(zt_dtype dtype);
/** Accepts either spelling; false for any other. */
bool zt_dtype_parse(const char *name, zt_dtype *dtype);

/** Widen n elements exactly to fp32.  `from` needs no alignment; `to` may be
 *  the end of the same buffer only if the two do not overlap. */
void zt_to_fp32(zt_dtype dtype, const void *from, float *to, size_t n);
/** Round n fp32 elements to nearest, ties to even.  NaN stays NaN, too large
 *  becomes infinite. */
void zt_from_fp32(zt_dtype dtype, const float *from, void *to, size_t n);

#ifdef __cplusplus
}
#endif

#endif
