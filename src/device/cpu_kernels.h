/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The processor's own kernels, compiled once for each kernel set.
 *
 *  A kernel works on a range of rows or elements; device_cpu.c shares ranges
 *  out to threads.  Sums run over 16 fixed lanes, element i in lane i % 16, and
 *  no product is contracted, so all sets give the same bits and only the matrix
 *  products depend on the machine.  All are Local and cannot fail. */
#ifndef ZT_DEVICE_CPU_KERNELS_H
#define ZT_DEVICE_CPU_KERNELS_H

#include "device/device.h"

/* Rows of dy and x that make one partial sum of a norm's weight gradient. */
enum { ZT_CPU_NORM_BLOCK = 64 };

/* Columns of a row bias that are summed together, and rows of a partial sum. */
enum { ZT_CPU_BIAS_COLUMNS = 256, ZT_CPU_BIAS_ROWS = 64 };

/* Products with at most this k and this many multiplications are summed in
 * fp64 by gemm_small(). */
enum { ZT_CPU_SMALL_K = 512, ZT_CPU_SMALL_WORK = 1 << 22 };

/** One block of query rows of one head, for cpu_attention.c. */
typedef struct zt_cpu_scores {
  int64_t first, rows; /* query rows first .. first + rows - 1 */
  int64_t key, keys;   /* keys key .. key + keys - 1: all that they see */
  int64_t sample, head;
  float *p;           /* [rows, keys] */
  float *dp;          /* [rows, keys], backward */
  float *dropped;     /* [rows, keys] drop(p), backward with dropout */
  const float *delta; /* [rows] sum of dy * y, backward */
  float *dbias;       /* [offsets] of this sample and head, added to */
} zt_cpu_scores;

typedef struct zt_cpu_kernels {
  const char *name;
  /* Rows i .. i + m - 1, columns j .. j + n - 1 of C. */
  void (*gemm_small)(const zt_gemm *call, int64_t i, int64_t j, int64_t m,
                     int64_t n);
  /* Columns begin .. end - 1 of all rows, each row by itself. */
  void (*gemm_rows)(const zt_gemm *call, int64_t begin, int64_t end);
  /* Head h of a row; scores: [most_keys]. */
  void (*row_attention)(const zt_row_attention *call, int64_t row, int64_t h,
                        float *scores);
  void (*norm_forward)(const zt_norm *call, int64_t begin, int64_t end);
  /* dx of rows begin .. end - 1, and their part of dw (and db behind it). */
  void (*norm_backward)(const zt_norm *call, int64_t begin, int64_t end,
                        float *partial);
  /* to[begin .. end) += sum over `count` rows of [count, stride]. */
  void (*fold_rows)(float *to, const float *rows, int64_t count, int64_t stride,
                    int64_t begin, int64_t end);
  /* p: raw products to probabilities, dropped in place; writes stats. */
  void (*softmax)(const zt_attention *call, const zt_cpu_scores *block);
  /* p: raw products to the same probabilities by stats; dropped = drop(p). */
  void (*softmax_again)(const zt_attention *call, const zt_cpu_scores *block);
  /* dp: gradient of drop(p) to gradient of the products, scaled; dbias. */
  void (*softmax_backward)(const zt_attention *call,
                           const zt_cpu_scores *block);
  /* sum of x * y over n elements. */
  float (*dot)(const float *x, const float *y, int64_t n);
  void (*activation_forward)(const zt_activation *call, int64_t begin,
                             int64_t end);
  void (*activation_backward)(const zt_activation *call, int64_t begin,
                              int64_t end);
  void (*drop)(const zt_drop *call, int64_t begin, int64_t end);
  void (*rope)(const zt_rope *call, int64_t begin, int64_t end);
  void (*row_bias_forward)(const zt_row_bias *call, int64_t begin, int64_t end);
  /* Columns begin .. end - 1, at most ZT_CPU_BIAS_COLUMNS. */
  void (*row_bias_backward)(const zt_row_bias *call, int64_t begin,
                            int64_t end);
  void (*add)(float *to, const float *from, int64_t n);
  /* Columns begin .. end - 1 of all rows. */
  void (*embedding_backward)(const zt_embedding *call, int64_t begin,
                             int64_t end);
  void (*cross_entropy)(const zt_cross_entropy *call, int64_t begin,
                        int64_t end);
  int32_t (*argmax)(const float *x, int64_t n);
  void (*adamw)(const zt_adamw *call, int64_t begin, int64_t end);
  /* Rows, columns, rows begin .. end - 1 that have elements in the call. */
  void (*factored_rows)(const zt_factored *call, int64_t begin, int64_t end);
  void (*factored_columns)(const zt_factored *call, int64_t begin, int64_t end);
  void (*factored_update)(const zt_factored *call, int64_t begin, int64_t end);
  void (*step_down)(float *p, const float *update, float decay, float step_size,
                    int64_t n);
  double (*sum_squares)(const float *x, int64_t n);
  /* bf16 to fp32, and rounded back. */
  void (*widen)(const uint16_t *from, float *to, int64_t n);
  void (*narrow)(const float *from, uint16_t *to, int64_t n);
} zt_cpu_kernels;

extern const zt_cpu_kernels zt_cpu_kernels_portable;
extern const zt_cpu_kernels zt_cpu_kernels_avx2;
extern const zt_cpu_kernels zt_cpu_kernels_avx512;

/* Within the kernel files every name is that of the set. */
#ifdef ZT_KERNEL_SET
#define ZT_PASTE2(a, b) a##b
#define ZT_PASTE(a, b) ZT_PASTE2(a, b)
#define ZT_K(name) ZT_PASTE(name##_, ZT_KERNEL_SET)
#define ZT_TEXT2(a) #a
#define ZT_TEXT(a) ZT_TEXT2(a)
#define zt_cpu_activation_backward ZT_K(zt_cpu_activation_backward)
#define zt_cpu_activation_forward ZT_K(zt_cpu_activation_forward)
#define zt_cpu_adamw ZT_K(zt_cpu_adamw)
#define zt_cpu_add ZT_K(zt_cpu_add)
#define zt_cpu_argmax ZT_K(zt_cpu_argmax)
#define zt_cpu_cross_entropy ZT_K(zt_cpu_cross_entropy)
#define zt_cpu_dot ZT_K(zt_cpu_dot)
#define zt_cpu_drop ZT_K(zt_cpu_drop)
#define zt_cpu_drop_row ZT_K(zt_cpu_drop_row)
#define zt_cpu_embedding_backward ZT_K(zt_cpu_embedding_backward)
#define zt_cpu_factored_columns ZT_K(zt_cpu_factored_columns)
#define zt_cpu_factored_rows ZT_K(zt_cpu_factored_rows)
#define zt_cpu_factored_update ZT_K(zt_cpu_factored_update)
#define zt_cpu_fold_rows ZT_K(zt_cpu_fold_rows)
#define zt_cpu_gemm_panels ZT_K(zt_cpu_gemm_panels)
#define zt_cpu_gemm_put ZT_K(zt_cpu_gemm_put)
#define zt_cpu_gemm_rows ZT_K(zt_cpu_gemm_rows)
#define zt_cpu_gemm_small ZT_K(zt_cpu_gemm_small)
#define zt_cpu_narrow ZT_K(zt_cpu_narrow)
#define zt_cpu_norm_backward ZT_K(zt_cpu_norm_backward)
#define zt_cpu_norm_forward ZT_K(zt_cpu_norm_forward)
#define zt_cpu_rope ZT_K(zt_cpu_rope)
#define zt_cpu_row_bias_backward ZT_K(zt_cpu_row_bias_backward)
#define zt_cpu_row_bias_forward ZT_K(zt_cpu_row_bias_forward)
#define zt_cpu_row_attention_head ZT_K(zt_cpu_row_attention_head)
#define zt_cpu_softmax ZT_K(zt_cpu_softmax)
#define zt_cpu_softmax_again ZT_K(zt_cpu_softmax_again)
#define zt_cpu_softmax_backward ZT_K(zt_cpu_softmax_backward)
#define zt_cpu_step_down ZT_K(zt_cpu_step_down)
#define zt_cpu_sum_squares ZT_K(zt_cpu_sum_squares)
#define zt_cpu_widen ZT_K(zt_cpu_widen)

void zt_cpu_gemm_small(const zt_gemm *, int64_t, int64_t, int64_t, int64_t);
void zt_cpu_gemm_rows(const zt_gemm *, int64_t, int64_t);
/* The same of a B that is not transposed, faster where rows are many. */
void zt_cpu_gemm_panels(const zt_gemm *, int64_t, int64_t);
/* Columns j .. j + columns - 1 of row i of C from the sums of products. */
void zt_cpu_gemm_put(const zt_gemm *, int64_t i, int64_t j, const float *sums,
                     int64_t columns);
void zt_cpu_row_attention_head(const zt_row_attention *, int64_t, int64_t,
                               float *);
void zt_cpu_norm_forward(const zt_norm *, int64_t, int64_t);
void zt_cpu_norm_backward(const zt_norm *, int64_t, int64_t, float *);
void zt_cpu_fold_rows(float *, const float *, int64_t, int64_t, int64_t,
                      int64_t);
void zt_cpu_softmax(const zt_attention *, const zt_cpu_scores *);
void zt_cpu_softmax_again(const zt_attention *, const zt_cpu_scores *);
void zt_cpu_softmax_backward(const zt_attention *, const zt_cpu_scores *);
float zt_cpu_dot(const float *, const float *, int64_t);
void zt_cpu_activation_forward(const zt_activation *, int64_t, int64_t);
void zt_cpu_activation_backward(const zt_activation *, int64_t, int64_t);
void zt_cpu_drop(const zt_drop *, int64_t, int64_t);
void zt_cpu_rope(const zt_rope *, int64_t, int64_t);
void zt_cpu_row_bias_forward(const zt_row_bias *, int64_t, int64_t);
void zt_cpu_row_bias_backward(const zt_row_bias *, int64_t, int64_t);
void zt_cpu_drop_row(const zt_dropout *, int64_t, int64_t, int64_t, float *);
void zt_cpu_add(float *, const float *, int64_t);
void zt_cpu_embedding_backward(const zt_embedding *, int64_t, int64_t);
void zt_cpu_cross_entropy(const zt_cross_entropy *, int64_t, int64_t);
int32_t zt_cpu_argmax(const float *, int64_t);
void zt_cpu_adamw(const zt_adamw *, int64_t, int64_t);
void zt_cpu_factored_rows(const zt_factored *, int64_t, int64_t);
void zt_cpu_factored_columns(const zt_factored *, int64_t, int64_t);
void zt_cpu_factored_update(const zt_factored *, int64_t, int64_t);
void zt_cpu_step_down(float *, const float *, float, float, int64_t);
double zt_cpu_sum_squares(const float *, int64_t);
void zt_cpu_widen(const uint16_t *, float *, int64_t);
void zt_cpu_narrow(const float *, uint16_t *, int64_t);
#endif

#endif
