/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/cpu_kernels.h"

const zt_cpu_kernels ZT_K(zt_cpu_kernels) = {
    .name = ZT_TEXT(ZT_KERNEL_SET),
    .gemm_small = zt_cpu_gemm_small,
    .norm_forward = zt_cpu_norm_forward,
    .norm_backward = zt_cpu_norm_backward,
    .fold_rows = zt_cpu_fold_rows,
    .softmax = zt_cpu_softmax,
    .softmax_again = zt_cpu_softmax_again,
    .softmax_backward = zt_cpu_softmax_backward,
    .dot = zt_cpu_dot,
    .activation_forward = zt_cpu_activation_forward,
    .activation_backward = zt_cpu_activation_backward,
    .drop = zt_cpu_drop,
    .rope = zt_cpu_rope,
    .row_bias_forward = zt_cpu_row_bias_forward,
    .row_bias_backward = zt_cpu_row_bias_backward,
    .add = zt_cpu_add,
    .embedding_backward = zt_cpu_embedding_backward,
    .cross_entropy = zt_cpu_cross_entropy,
    .argmax = zt_cpu_argmax,
    .adamw = zt_cpu_adamw,
    .sum_squares = zt_cpu_sum_squares,
    .widen = zt_cpu_widen,
    .narrow = zt_cpu_narrow,
};
