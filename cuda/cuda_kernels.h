/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The kernels on CUDA: each function queues one operation of device.h on a
 *  stream and returns.
 *
 *  All are Local and trust their input.  Sums have a fixed order, a function of
 *  the shape alone; nothing but integers is added atomically, so bits do not
 *  change from run to run.  FMA is used only where it is written.  */
#ifndef ZT_CUDA_CUDA_KERNELS_H
#define ZT_CUDA_CUDA_KERNELS_H

#include "device/device.h"

#include <cuda_runtime_api.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the last launch left: ZT_OK, or ZT_ERR_UNAVAILABLE with the operation
 *  named; too much shared memory for this GPU is ZT_ERR_CONFIG. */
zt_status zt_cuda_launched(const char *operation);
/** Let a kernel use this much shared memory. */
zt_status zt_cuda_allow_shared(const void *kernel, size_t bytes,
                               const char *operation);

size_t zt_cuda_norm_workspace(const zt_norm *call);
zt_status zt_cuda_norm_forward(const zt_norm *call, cudaStream_t stream);
zt_status zt_cuda_norm_backward(const zt_norm *call, cudaStream_t stream);

size_t zt_cuda_attention_workspace(const zt_attention *call);
zt_status zt_cuda_attention_forward(const zt_attention *call,
                                    cudaStream_t stream);
zt_status zt_cuda_attention_backward(const zt_attention *call,
                                     cudaStream_t stream);

zt_status zt_cuda_scatter(const zt_scatter *call, cudaStream_t stream);
zt_status zt_cuda_row_attention(const zt_row_attention *call,
                                cudaStream_t stream);

/** A product with rows_alone. */
zt_status zt_cuda_gemm_rows_alone(const zt_gemm *call, cudaStream_t stream);

zt_status zt_cuda_bias_forward(const zt_bias *call, cudaStream_t stream);
zt_status zt_cuda_bias_backward(const zt_bias *call, cudaStream_t stream);

zt_status zt_cuda_activation_forward(const zt_activation *call,
                                     cudaStream_t stream);
zt_status zt_cuda_activation_backward(const zt_activation *call,
                                      cudaStream_t stream);
zt_status zt_cuda_drop(const zt_drop *call, cudaStream_t stream);
zt_status zt_cuda_add(zt_dtype dtype, int64_t n, void *to, const void *from,
                      cudaStream_t stream);
/** Between fp32 and bf16, rounded to the nearest, ties to even. */
zt_status zt_cuda_convert(int64_t n, const void *from, zt_dtype to_dtype,
                          void *to, cudaStream_t stream);

zt_status zt_cuda_rope(const zt_rope *call, cudaStream_t stream);
zt_status zt_cuda_row_bias_forward(const zt_row_bias *call,
                                   cudaStream_t stream);
zt_status zt_cuda_row_bias_backward(const zt_row_bias *call,
                                    cudaStream_t stream);

zt_status zt_cuda_embedding_forward(const zt_embedding *call,
                                    cudaStream_t stream);
/** \param[in] scratch  at least 16 bytes; the more, the fewer launches */
zt_status zt_cuda_embedding_backward(const zt_embedding *call, void *scratch,
                                     size_t bytes, cudaStream_t stream);

zt_status zt_cuda_cross_entropy(const zt_cross_entropy *call,
                                cudaStream_t stream);
zt_status zt_cuda_argmax(int64_t rows, int64_t n, const float *x,
                         int32_t *index, cudaStream_t stream);

zt_status zt_cuda_adamw(const zt_adamw *call, cudaStream_t stream);
zt_status zt_cuda_factored(const zt_factored *call, cudaStream_t stream);
zt_status zt_cuda_step_down(int64_t n, float *p, const float *u, float decay,
                            float step_size, cudaStream_t stream);
/** \param[out] sums  [cells] on the device */
zt_status zt_cuda_sum_squares(int64_t cells, const float *x, double *sums,
                              cudaStream_t stream);
/** to[i] += sum over `count` rows of [count, stride], in order, i < n. */
zt_status zt_cuda_fold_rows(float *to, const float *rows, int64_t count,
                            int64_t stride, int64_t n, cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
