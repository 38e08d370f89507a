/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the program computes with: memory and a table of operations.
 *
 *  All functions are Local.  Matrices are row-major; `ld` is the distance of
 *  rows in elements.  Pointers are to device memory unless a comment says host.
 *  Operations are queued in order and may still run when the call returns;
 *  zt_device_wait() is the end of all.  The functions here check arguments and
 *  count FLOPs and bytes; an implementation may trust its input. */
#ifndef ZT_DEVICE_DEVICE_H
#define ZT_DEVICE_DEVICE_H

#include "base/dtype.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct zt_device zt_device;

/** A matrix operand; rows and columns are said by the call that uses it. */
typedef struct zt_matrix {
  void *data;
  int64_t ld;
  zt_dtype dtype;
} zt_matrix;

/** C = alpha * op(A) * op(B) + beta * C.  op(A) is [m, k], op(B) is [k, n].
 *  With `from` or `bias`: C = op(A) * op(B) + from + bias, what C was is not
 *  read. */
typedef struct zt_gemm {
  bool transpose_a, transpose_b; /* A is stored [k, m], B is stored [n, k] */
  int64_t m, n, k;
  float alpha, beta;
  zt_matrix a, b, c;
  const void *from; /* [m, n] like C, without gaps; NULL: none */
  const void *bias; /* [n] of C's dtype, of every row; NULL: none */
  bool
      rows_alone; /* the bits of a row of C depend on that row of A and C and
                     on B alone, not on m or the other rows; fp32, A as it is */
} zt_gemm;

/** Where random bits come from, and how much is dropped.  Element e of sample s
 *  is dropped by word e % 4 of Philox(key; e / 4, site, s, step): nothing here
 *  depends on ranks or on how the batch was cut. */
typedef struct zt_dropout {
  float rate; /* 0 <= rate < 1; 0: no dropout */
  uint64_t key;
  uint32_t step, site;
  uint32_t
      first_sample; /* index in the global batch of the first sample here */
  int64_t rows_per_sample;
} zt_dropout;

typedef enum zt_norm_kind { ZT_RMS_NORM, ZT_LAYER_NORM } zt_norm_kind;

/** Normalisation of each row.
 *  RMS: y = w * (x * rstd), rstd = 1 / sqrt(mean(x^2) + eps).
 *  Layer: y = w * ((x - mean) * rstd) + b, variance about the mean.
 *  Source: Zhang and Sennrich 2019; Ba, Kiros and Hinton 2016. */
typedef struct zt_norm {
  zt_norm_kind kind;
  int64_t rows, d;
  float eps;
  const void *x;  /* [rows, d] */
  const float *w; /* [d] */
  const float *b; /* [d], layer norm only */
  void *y;        /* [rows, d], forward only; must not alias x */
  float *stats;   /* [rows] rstd, then for layer norm [rows] mean; kept */
  /* Backward only. */
  const void *dy;     /* [rows, d] */
  void *dx;           /* [rows, d]; may alias dy */
  bool accumulate_dx; /* dx += instead of dx = */
  float *dw, *db;     /* [d] fp32, added to */
  void *workspace;    /* zt_device_norm_workspace() bytes */
  zt_dtype dtype;     /* of x, y, dy, dx */
} zt_norm;

/** Attention of every query row over the key rows of its sample.
 *  p = softmax(scale * q k^T + bias), masked; y = drop(p) v.
 *  Query i of sample s sees the keys first .. last - 1, one range whatever the
 *  masks are: first is the largest of 0, i - window + 1 and k_first[s, i], last
 *  the smallest of k_length, i + 1 (causal) and k_valid[s].  A query that sees
 *  no key gives y = 0.
 *  Rows of sample s are s * length .. ; head h uses columns h * head_dim .. .
 *  With fewer key heads than heads, head h uses key head h / (heads/kv_heads).
 */
typedef struct zt_attention {
  int64_t samples, heads, kv_heads, head_dim;
  int64_t q_length, k_length;
  float scale;
  bool causal;            /* key j is seen by query i if j <= i */
  int64_t window;         /* causal only: and if j > i - window; 0: no window */
  const int32_t *k_first; /* [samples, q_length] the first key that a query
                             sees: where its document begins; NULL: 0 */
  const int32_t *k_valid; /* [samples] keys >= this are padding; NULL: none */
  const float *bias;      /* [heads, q_length + k_length - 1] by offset
                             j - i + q_length - 1; NULL: none */
  zt_matrix q, k, v;      /* [samples * length, heads * head_dim] */
  zt_matrix y;            /* [samples * q_length, heads * head_dim] */
  float *stats;           /* [samples, heads, q_length, 2] largest score and
                             1 / sum of exponentials; kept for backward */
  zt_dropout dropout;     /* element (h * q_length + i) * k_length + j */
  /* Backward only: y is read, dq, dk, dv are written, dbias is added to. */
  zt_matrix dy, dq, dk, dv;
  float *dbias;    /* like bias, fp32; NULL exactly if bias is */
  void *workspace; /* zt_device_attention_workspace() bytes */
} zt_attention;

/** Rows to their places: row place[r] of `to` = row r of `from`.  No place
 *  stands twice. */
typedef struct zt_scatter {
  int64_t rows, n;
  const int32_t *place; /* [rows] */
  zt_matrix from, to;   /* [rows, n] fp32, and as many rows as places reach */
} zt_scatter;

/** Attention of single query rows, each with keys of its own: generation.
 *  Query i sees the keys first .. keys[i] - 1, where first is the larger of 0
 *  and position[i] + 1 - window; key j is row base[i] + j of k and v, or row
 *  place[base[i] + j].  The bits of a row depend on what it sees alone. */
typedef struct zt_row_attention {
  int64_t rows, heads, kv_heads, head_dim;
  float scale;
  int64_t window;          /* 0: none */
  int64_t most_keys;       /* no keys[i] is larger */
  const int32_t *base;     /* [rows] */
  const int32_t *keys;     /* [rows], from 1 on */
  const int32_t *position; /* [rows] index of the query among the keys */
  const int32_t *place;    /* NULL: base + j */
  const float *bias;       /* [heads, offsets] by j - position[i] + zero; NULL:
                              none */
  int64_t offsets, zero;
  zt_matrix q, k, v, y; /* fp32; heads side by side, as in zt_attention */
} zt_row_attention;

/** T5's relative position bias as a vector over offsets: a table row for each
 *  bucket, and the bucket of each offset. */
typedef struct zt_bias {
  int64_t heads, offsets, buckets;
  const int32_t *bucket; /* [offsets] */
  const void *table;     /* [buckets, heads] */
  zt_dtype dtype;        /* of the table */
  float *bias;           /* [heads, offsets], written forward */
  const float *dbias;    /* [heads, offsets], backward */
  float *dtable;         /* [buckets, heads] fp32, added to in backward */
} zt_bias;

typedef enum zt_activation_kind {
  ZT_RELU,
  ZT_GELU,     /* exact, by erf */
  ZT_GELU_NEW, /* tanh form */
  ZT_SILU
} zt_activation_kind;

/** y = drop(act(x)), or drop(act(x) * gate) when gated: then x is [rows, 2 * d]
 *  with the gate in the second half of each row. */
typedef struct zt_activation {
  zt_activation_kind kind;
  bool gated;
  int64_t rows, d;
  const void *x; /* [rows, d] or [rows, 2 * d] */
  void *y;       /* [rows, d], forward only */
  const void *dy;
  void *dx; /* like x, written */
  zt_dropout dropout;
  zt_dtype dtype;
} zt_activation;

/** y = drop(x) + residual.  Serves as its own backward: dx = drop(dy). */
typedef struct zt_drop {
  int64_t rows, d;
  const void *x;
  const void *residual; /* NULL: none; may alias y */
  void *y;              /* may alias x */
  zt_dropout dropout;
  zt_dtype dtype;
} zt_drop;

/** Rotary position embedding, in place.  In each head the columns c and
 *  c + head_dim / 2 are a pair: at position p, with the angle that row p of the
 *  table has for c, (a, b) becomes (a cos - b sin, b cos + a sin).  Serves as
 *  its own backward with `inverse`: sin counts negative.
 *  Source: Su et al. 2021; the pairs are Hugging Face's rotate_half. */
typedef struct zt_rope {
  int64_t rows, heads, head_dim; /* head_dim is even */
  zt_matrix x;                   /* [rows, heads * head_dim] */
  const int32_t *position;       /* [rows] rows of the table */
  const float *table;            /* [positions, head_dim] fp32: the cosines of
                                    head_dim / 2 angles, then their sines */
  bool inverse;
} zt_rope;

/** Bias of a linear map: y = x + b row by row, or y = b without x; and the
 *  gradient: db += sum of the rows of dy, in an order that the shape fixes. */
typedef struct zt_row_bias {
  int64_t rows, n;
  const void *x;  /* [rows, n], forward; NULL: nothing; may alias y */
  const void *b;  /* [n] */
  void *y;        /* [rows, n], forward */
  const void *dy; /* [rows, n], backward */
  float *db;      /* [n] fp32, added to in backward */
  zt_dtype dtype; /* of x, b, y, dy */
} zt_row_bias;

/** Rows of a table by index, and the gradient: dtable[id] += dy[row], rows in
 *  order.  An index is 0 .. vocabulary - 1; the caller has checked. */
typedef struct zt_embedding {
  int64_t rows, d, vocabulary;
  bool accumulate;    /* forward: y += instead of y = */
  int32_t padding;    /* backward: the id whose row gets no gradient, as Hugging
                         Face's padding_idx; -1: none */
  const int32_t *ids; /* [rows] */
  const void *table;  /* [vocabulary, d] */
  void *y;            /* [rows, d], forward */
  const void *dy;     /* [rows, d], backward */
  float *dtable;      /* [vocabulary, d] fp32, added to */
  zt_dtype dtype;
} zt_embedding;

/** Softmax cross-entropy of rows of logits, summed over the rows whose label
 *  is not negative: loss[0] += sum of log Z - x[label], rows in order, where
 *  Z = sum of exp(x).  Two terms may be added to what is learnt; they count in
 *  loss[1] alone: smoothing * (x[label] - mean of x) puts that share of the
 *  target on all of the vocabulary alike, as torch's CrossEntropyLoss does, and
 *  z_loss * (log Z)^2 keeps Z near 1.
 *  When `gradient` is set the logits become the gradient of the sum of all, or
 *  zero where there is no label.
 *  Source: Szegedy et al. 2016; Chowdhery et al. 2022 (PaLM). */
typedef struct zt_cross_entropy {
  int64_t rows, vocabulary;
  float *logits;           /* [rows, vocabulary] fp32 */
  const int32_t *labels;   /* [rows] */
  float *row_loss;         /* [rows], written; [2, rows] with terms */
  double *loss;            /* [1], added to; [2] with terms */
  float smoothing, z_loss; /* 0: no such term */
  bool gradient;
} zt_cross_entropy;

/** Whether anything is added to the cross-entropy. */
static inline bool zt_loss_has_terms(const zt_cross_entropy *call) {
  return call->smoothing > 0 || call->z_loss > 0;
}

/** One AdamW step on n elements; everything fp32, element by element.
 *  g = gradient * scale; p *= 1 - lr * weight_decay; m, v; p -= lr / c1 * m /
 *  (sqrt(v) / sqrt(c2) + eps).  Source: torch.optim.AdamW. */
typedef struct zt_adamw {
  int64_t n;
  float *p, *m, *v;
  const float *gradient;
  float scale;
  float beta2, eps;
  float rate1, rate2; /* 1 - beta1, 1 - beta2 */
  float decay;        /* 1 - lr * weight_decay */
  float step_size;    /* lr / (1 - beta1^t) */
  float root_c2;      /* sqrt(1 - beta2^t) */
} zt_adamw;

typedef enum zt_factored_phase {
  ZT_FACTORED_LARGEST, /* row_sum, column_sum: bits of the largest |g|, fp32 */
  ZT_FACTORED_SUM,     /* sums of (g * factor)^2, each rounded to an integer */
  ZT_FACTORED_UPDATE   /* gradient = g * row_factor * column_factor */
} zt_factored_phase;

/** Statistics of the rows and columns of a matrix of gradients, and its scaling
 *  by them.  Elements first .. first + n - 1 of the matrix are here: those of
 *  other ranks are not, so statistics are integers, whose sums and maxima are
 *  the same in any order.  A vector is a matrix of one column, of which there
 *  are no column statistics.  g = gradient * scale.
 *  Source: Shazeer and Stern 2018 (Adafactor). */
typedef struct zt_factored {
  zt_factored_phase phase;
  int64_t first, n, columns;
  float *gradient; /* [n] */
  float scale;
  /* Of the whole matrix, zero before the call; column_sum NULL: a vector. */
  int64_t *row_sum, *column_sum; /* LARGEST, SUM */
  /* SUM: |g| * factor < 2^26; UPDATE: column_factor NULL: a vector. */
  const float *row_factor, *column_factor;
} zt_factored;

typedef struct zt_device_ops {
  const char *name;
  /* Memory.  Copies from and to host memory wait for what was queued. */
  zt_status (*allocate)(zt_device *dev, size_t bytes, void **p);
  void (*release)(zt_device *dev, void *p, size_t bytes);
  zt_status (*upload)(zt_device *dev, void *to, const void *from_host,
                      size_t bytes);
  zt_status (*download)(zt_device *dev, void *to_host, const void *from,
                        size_t bytes);
  zt_status (*copy)(zt_device *dev, void *to, const void *from, size_t bytes);
  zt_status (*zero)(zt_device *dev, void *to, size_t bytes);
  zt_status (*wait)(zt_device *dev);
  void (*destroy)(zt_device *dev);
  /* OPTIONAL, NULL where memory is the host's.  Bytes that are free; SIZE_MAX:
   * not known. */
  size_t (*free_memory)(zt_device *dev);
  /* Workspace, bytes. */
  size_t (*norm_workspace)(const zt_device *dev, const zt_norm *call);
  size_t (*attention_workspace)(const zt_device *dev, const zt_attention *call);
  /* Compute. */
  zt_status (*gemm)(zt_device *dev, const zt_gemm *call);
  bool gemm_adds; /* it takes `from` and `bias`; else C gets them before */
  zt_status (*norm_forward)(zt_device *dev, const zt_norm *call);
  zt_status (*norm_backward)(zt_device *dev, const zt_norm *call);
  zt_status (*attention_forward)(zt_device *dev, const zt_attention *call);
  zt_status (*attention_backward)(zt_device *dev, const zt_attention *call);
  zt_status (*scatter)(zt_device *dev, const zt_scatter *call);
  zt_status (*row_attention)(zt_device *dev, const zt_row_attention *call);
  zt_status (*bias_forward)(zt_device *dev, const zt_bias *call);
  zt_status (*bias_backward)(zt_device *dev, const zt_bias *call);
  zt_status (*activation_forward)(zt_device *dev, const zt_activation *call);
  zt_status (*activation_backward)(zt_device *dev, const zt_activation *call);
  zt_status (*drop)(zt_device *dev, const zt_drop *call);
  zt_status (*rope)(zt_device *dev, const zt_rope *call);
  zt_status (*row_bias_forward)(zt_device *dev, const zt_row_bias *call);
  zt_status (*row_bias_backward)(zt_device *dev, const zt_row_bias *call);
  zt_status (*embedding_forward)(zt_device *dev, const zt_embedding *call);
  zt_status (*embedding_backward)(zt_device *dev, const zt_embedding *call);
  zt_status (*cross_entropy)(zt_device *dev, const zt_cross_entropy *call);
  zt_status (*argmax)(zt_device *dev, int64_t rows, int64_t n, const float *x,
                      int32_t *index);
  zt_status (*add)(zt_device *dev, zt_dtype dtype, int64_t n, void *to,
                   const void *from);
  zt_status (*convert)(zt_device *dev, int64_t n, zt_dtype from_dtype,
                       const void *from, zt_dtype to_dtype, void *to);
  zt_status (*accumulate)(zt_device *dev, int64_t n, float *to,
                          const float *from);
  zt_status (*adamw)(zt_device *dev, const zt_adamw *call);
  zt_status (*factored)(zt_device *dev, const zt_factored *call);
  zt_status (*step_down)(zt_device *dev, int64_t n, float *p,
                         const float *update, float decay, float step_size);
  zt_status (*sum_squares)(zt_device *dev, int64_t cells, const float *x,
                           double *sums);
} zt_device_ops;

/** What every device has; an implementation puts its own fields after. */
struct zt_device {
  const zt_device_ops *ops;
  bool counts_only; /* memory must not be followed */
  char kernels[96]; /* kernel set: "avx512 + OpenBLAS 0.3.21 SkylakeX" */
  uint64_t flops;   /* of matrix products, since the start */
  uint64_t calls;
  /* What arenas on this device do with memory given back; NULL: nothing. */
  void (*poison)(void *from, size_t bytes);
};

/** Memory.  \return ZT_ERR_MEMORY if there is not enough. */
zt_status zt_device_allocate(zt_device *dev, size_t bytes, void **p);
void zt_device_release(zt_device *dev, void *p, size_t bytes);
zt_status zt_device_upload(zt_device *dev, void *to, const void *from_host,
                           size_t bytes);
zt_status zt_device_download(zt_device *dev, void *to_host, const void *from,
                             size_t bytes);
/** Device memory as the host reads and writes it; NULL if it cannot.  Waits for
 *  nothing. */
void *zt_device_on_host(const zt_device *dev, void *p);
zt_status zt_device_copy(zt_device *dev, void *to, const void *from,
                         size_t bytes);
zt_status zt_device_zero(zt_device *dev, void *to, size_t bytes);
/** Until all that was queued is done. */
zt_status zt_device_wait(zt_device *dev);
/** Sets *dev to NULL; NULL is allowed. */
void zt_device_destroy(zt_device **dev);

size_t zt_device_norm_workspace(const zt_device *dev, const zt_norm *call);
size_t zt_device_attention_workspace(const zt_device *dev,
                                     const zt_attention *call);

zt_status zt_gemm_run(zt_device *dev, const zt_gemm *call);
zt_status zt_norm_forward(zt_device *dev, const zt_norm *call);
zt_status zt_norm_backward(zt_device *dev, const zt_norm *call);
zt_status zt_attention_forward(zt_device *dev, const zt_attention *call);
zt_status zt_attention_backward(zt_device *dev, const zt_attention *call);
zt_status zt_scatter_run(zt_device *dev, const zt_scatter *call);
zt_status zt_row_attention_run(zt_device *dev, const zt_row_attention *call);
zt_status zt_bias_forward(zt_device *dev, const zt_bias *call);
zt_status zt_bias_backward(zt_device *dev, const zt_bias *call);
zt_status zt_activation_forward(zt_device *dev, const zt_activation *call);
zt_status zt_activation_backward(zt_device *dev, const zt_activation *call);
zt_status zt_drop_run(zt_device *dev, const zt_drop *call);
zt_status zt_rope_run(zt_device *dev, const zt_rope *call);
zt_status zt_row_bias_forward(zt_device *dev, const zt_row_bias *call);
zt_status zt_row_bias_backward(zt_device *dev, const zt_row_bias *call);
zt_status zt_embedding_forward(zt_device *dev, const zt_embedding *call);
zt_status zt_embedding_backward(zt_device *dev, const zt_embedding *call);
zt_status zt_cross_entropy_run(zt_device *dev, const zt_cross_entropy *call);
/** index[r] = first position of the largest of x[r, 0 .. n). */
zt_status zt_argmax(zt_device *dev, int64_t rows, int64_t n, const float *x,
                    int32_t *index);
/** to += from, activations of one dtype. */
zt_status zt_add(zt_device *dev, zt_dtype dtype, int64_t n, void *to,
                 const void *from);
/** n elements from fp32 to bf16, rounded to the nearest (ties to even), or from
 *  bf16 to fp32.  The ranges do not overlap. */
zt_status zt_convert(zt_device *dev, int64_t n, zt_dtype from_dtype,
                     const void *from, zt_dtype to_dtype, void *to);
/** to += from, fp32: one link of the ordered reduction. */
zt_status zt_accumulate(zt_device *dev, int64_t n, float *to,
                        const float *from);
zt_status zt_adamw_run(zt_device *dev, const zt_adamw *call);
zt_status zt_factored_run(zt_device *dev, const zt_factored *call);
/** p = p * decay - step_size * update. */
zt_status zt_step_down(zt_device *dev, int64_t n, float *p, const float *update,
                       float decay, float step_size);
/** sums[c] = sum of squares of grid cell c (ZT_GRID elements) in fp64.
 *  \param[in]  x     [cells * 4096]
 *  \param[out] sums  [cells], host */
zt_status zt_sum_squares(zt_device *dev, int64_t cells, const float *x,
                         double *sums);

#ifdef __cplusplus
}
#endif

#endif
