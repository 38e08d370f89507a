/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device_null.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

typedef struct null_device {
  zt_device base;
  const zt_device *like;
} null_device;

static zt_status null_allocate(zt_device *dev, size_t bytes, void **p) {
  (void) dev, (void) bytes;
  *p = NULL; /* an arena without a base measures */
  return ZT_OK;
}

static void null_release(zt_device *dev, void *p, size_t bytes) {
  (void) dev, (void) p, (void) bytes;
}

static zt_status null_transfer(zt_device *dev, void *to, const void *from,
                               size_t bytes) {
  (void) dev, (void) to, (void) from, (void) bytes;
  return ZT_OK;
}

/* Host memory is real: what is read must not be left undefined. */
static zt_status null_download(zt_device *dev, void *to_host, const void *from,
                               size_t bytes) {
  (void) dev, (void) from;
  memset(to_host, 0, bytes);
  return ZT_OK;
}

static zt_status null_zero(zt_device *dev, void *to, size_t bytes) {
  (void) dev, (void) to, (void) bytes;
  return ZT_OK;
}

static zt_status null_wait(zt_device *dev) {
  (void) dev;
  return ZT_OK;
}

static void null_destroy(zt_device *dev) {
  free(dev);
}

static size_t null_norm_workspace(const zt_device *dev, const zt_norm *call) {
  const zt_device *like = ((const null_device *) dev)->like;
  return like->ops->norm_workspace(like, call);
}

static size_t null_attention_workspace(const zt_device *dev,
                                       const zt_attention *call) {
  const zt_device *like = ((const null_device *) dev)->like;
  return like->ops->attention_workspace(like, call);
}

/* The dispatcher in device.c has counted. */
#define NOTHING(name, type)                                                    \
  static zt_status null_##name(zt_device *dev, const type *call) {             \
    (void) dev, (void) call;                                                   \
    return ZT_OK;                                                              \
  }
NOTHING(gemm, zt_gemm)
NOTHING(norm_forward, zt_norm)
NOTHING(norm_backward, zt_norm)
NOTHING(attention_forward, zt_attention)
NOTHING(attention_backward, zt_attention)
NOTHING(scatter, zt_scatter)
NOTHING(row_attention, zt_row_attention)
NOTHING(bias_forward, zt_bias)
NOTHING(bias_backward, zt_bias)
NOTHING(activation_forward, zt_activation)
NOTHING(activation_backward, zt_activation)
NOTHING(drop, zt_drop)
NOTHING(rope, zt_rope)
NOTHING(row_bias_forward, zt_row_bias)
NOTHING(row_bias_backward, zt_row_bias)
NOTHING(embedding_forward, zt_embedding)
NOTHING(embedding_backward, zt_embedding)
NOTHING(cross_entropy, zt_cross_entropy)
NOTHING(adamw, zt_adamw)
NOTHING(factored, zt_factored)

static zt_status null_argmax(zt_device *dev, int64_t rows, int64_t n,
                             const float *x, int32_t *index) {
  (void) dev, (void) rows, (void) n, (void) x, (void) index;
  return ZT_OK;
}

static zt_status null_add(zt_device *dev, zt_dtype dtype, int64_t n, void *to,
                          const void *from) {
  (void) dev, (void) dtype, (void) n, (void) to, (void) from;
  return ZT_OK;
}

static zt_status null_convert(zt_device *dev, int64_t n, zt_dtype from_dtype,
                              const void *from, zt_dtype to_dtype, void *to) {
  (void) dev, (void) n, (void) from_dtype, (void) from, (void) to_dtype;
  (void) to;
  return ZT_OK;
}

static zt_status null_accumulate(zt_device *dev, int64_t n, float *to,
                                 const float *from) {
  (void) dev, (void) n, (void) to, (void) from;
  return ZT_OK;
}

static zt_status null_step_down(zt_device *dev, int64_t n, float *p,
                                const float *update, float decay,
                                float step_size) {
  (void) dev, (void) n, (void) p, (void) update, (void) decay;
  (void) step_size;
  return ZT_OK;
}

static zt_status null_sum_squares(zt_device *dev, int64_t cells, const float *x,
                                  double *sums) {
  (void) dev, (void) x;
  memset(sums, 0, (size_t) cells * sizeof *sums);
  return ZT_OK;
}

static const zt_device_ops null_ops = {
    .name = "null",
    .allocate = null_allocate,
    .release = null_release,
    .upload = null_transfer,
    .download = null_download,
    .copy = null_transfer,
    .zero = null_zero,
    .wait = null_wait,
    .destroy = null_destroy,
    .norm_workspace = null_norm_workspace,
    .attention_workspace = null_attention_workspace,
    .gemm = null_gemm,
    .norm_forward = null_norm_forward,
    .norm_backward = null_norm_backward,
    .attention_forward = null_attention_forward,
    .attention_backward = null_attention_backward,
    .scatter = null_scatter,
    .row_attention = null_row_attention,
    .bias_forward = null_bias_forward,
    .bias_backward = null_bias_backward,
    .activation_forward = null_activation_forward,
    .activation_backward = null_activation_backward,
    .drop = null_drop,
    .rope = null_rope,
    .row_bias_forward = null_row_bias_forward,
    .row_bias_backward = null_row_bias_backward,
    .embedding_forward = null_embedding_forward,
    .embedding_backward = null_embedding_backward,
    .cross_entropy = null_cross_entropy,
    .adamw = null_adamw,
    .factored = null_factored,
    .step_down = null_step_down,
    .argmax = null_argmax,
    .add = null_add,
    .convert = null_convert,
    .accumulate = null_accumulate,
    .sum_squares = null_sum_squares,
};

zt_status zt_device_null_create(const zt_device *like, zt_device **dev) {
  null_device *null = zt_calloc(1, sizeof *null);
  if (!null)
    return ZT_ERR_MEMORY;
  null->base.ops = &null_ops;
  null->base.counts_only = true;
  memcpy(null->base.kernels, like->kernels, sizeof like->kernels);
  null->like = like;
  *dev = &null->base;
  return ZT_OK;
}
