/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device.h"

/* A shape that cannot be right is a bug of ours, never the user's. */
#define REQUIRE(condition)                                                     \
  do {                                                                         \
    if (!(condition))                                                          \
      return zt_fail(ZT_ERR_INTERNAL, "%s: %s does not hold", __func__,        \
                     #condition);                                              \
  } while (0)

zt_status zt_device_allocate(zt_device *dev, size_t bytes, void **p) {
  ZT_TRY(zt_fault_check(ZT_FAULT_ALLOC));
  return dev->ops->allocate(dev, bytes, p);
}

void zt_device_release(zt_device *dev, void *p, size_t bytes) {
  if (p)
    dev->ops->release(dev, p, bytes);
}

zt_status zt_device_upload(zt_device *dev, void *to, const void *from_host,
                           size_t bytes) {
  return dev->ops->upload(dev, to, from_host, bytes);
}

zt_status zt_device_download(zt_device *dev, void *to_host, const void *from,
                             size_t bytes) {
  return dev->ops->download(dev, to_host, from, bytes);
}

void *zt_device_on_host(const zt_device *dev, void *p) {
  return dev->ops->free_memory || dev->counts_only ? NULL : p;
}

zt_status zt_device_copy(zt_device *dev, void *to, const void *from,
                         size_t bytes) {
  return dev->ops->copy(dev, to, from, bytes);
}

zt_status zt_device_zero(zt_device *dev, void *to, size_t bytes) {
  return dev->ops->zero(dev, to, bytes);
}

zt_status zt_device_wait(zt_device *dev) {
  return dev->ops->wait(dev);
}

void zt_device_destroy(zt_device **dev) {
  if (!*dev)
    return;
  (*dev)->ops->destroy(*dev);
  *dev = NULL;
}

size_t zt_device_norm_workspace(const zt_device *dev, const zt_norm *call) {
  return dev->ops->norm_workspace(dev, call);
}

size_t zt_device_attention_workspace(const zt_device *dev,
                                     const zt_attention *call) {
  return dev->ops->attention_workspace(dev, call);
}

/* What is added lies in C before the product. */
static zt_status put_before(zt_device *dev, const zt_gemm *call) {
  if (call->bias)
    return zt_row_bias_forward(dev, &(zt_row_bias){.rows = call->m,
                                                   .n = call->n,
                                                   .x = call->from,
                                                   .b = call->bias,
                                                   .y = call->c.data,
                                                   .dtype = call->c.dtype});
  return zt_device_copy(dev, call->c.data, call->from,
                        (size_t) (call->m * call->n) *
                            zt_dtype_size(call->c.dtype));
}

static zt_status run_adding(zt_device *dev, const zt_gemm *call) {
  zt_gemm plain = *call;
  REQUIRE(call->alpha == 1 && call->beta == 0 && call->c.ld == call->n);
  if (dev->ops->gemm_adds)
    return dev->ops->gemm(dev, call);
  ZT_TRY(put_before(dev, call));
  plain.beta = 1;
  plain.from = plain.bias = NULL;
  return dev->ops->gemm(dev, &plain);
}

zt_status zt_gemm_run(zt_device *dev, const zt_gemm *call) {
  REQUIRE(call->m > 0 && call->n > 0 && call->k > 0);
  REQUIRE(call->a.ld >= (call->transpose_a ? call->m : call->k));
  REQUIRE(call->b.ld >= (call->transpose_b ? call->k : call->n));
  REQUIRE(call->c.ld >= call->n);
  REQUIRE(call->a.dtype == call->b.dtype);
  REQUIRE(!call->rows_alone ||
          (call->a.dtype == ZT_FP32 && !call->transpose_a));
  dev->calls++;
  dev->flops +=
      2 * (uint64_t) call->m * (uint64_t) call->n * (uint64_t) call->k;
  return call->from || call->bias ? run_adding(dev, call)
                                  : dev->ops->gemm(dev, call);
}

zt_status zt_norm_forward(zt_device *dev, const zt_norm *call) {
  REQUIRE(call->rows > 0 && call->d > 0);
  REQUIRE((call->kind == ZT_LAYER_NORM) == (call->b != NULL));
  REQUIRE(dev->counts_only || call->x != call->y);
  dev->calls++;
  return dev->ops->norm_forward(dev, call);
}

zt_status zt_norm_backward(zt_device *dev, const zt_norm *call) {
  REQUIRE(call->rows > 0 && call->d > 0);
  REQUIRE((call->kind == ZT_LAYER_NORM) == (call->db != NULL));
  dev->calls++;
  return dev->ops->norm_backward(dev, call);
}

static zt_status check_attention(const zt_attention *a) {
  REQUIRE(a->samples > 0 && a->heads > 0 && a->head_dim > 0);
  REQUIRE(a->kv_heads > 0 && a->heads % a->kv_heads == 0);
  REQUIRE(a->q_length > 0 && a->k_length > 0);
  REQUIRE(a->window >= 0 && (a->causal || a->window == 0));
  REQUIRE(a->q.ld >= a->heads * a->head_dim);
  REQUIRE(a->k.ld >= a->kv_heads * a->head_dim);
  REQUIRE(a->v.ld >= a->kv_heads * a->head_dim);
  return ZT_OK;
}

/* Two products forward, five backward; a causal mask halves them, and a window
 * leaves a band.  What the data masks is counted in. */
static void count_attention(zt_device *dev, const zt_attention *a,
                            uint64_t products) {
  uint64_t seen = (uint64_t) (a->causal ? (a->k_length + 1) / 2 : a->k_length);
  if (a->window && (uint64_t) a->window < seen)
    seen = (uint64_t) a->window;
  uint64_t rows = (uint64_t) (a->samples * a->heads * a->q_length);
  dev->calls++;
  dev->flops += products * 2 * rows * seen * (uint64_t) a->head_dim;
}

zt_status zt_attention_forward(zt_device *dev, const zt_attention *call) {
  ZT_TRY(check_attention(call));
  count_attention(dev, call, 2);
  return dev->ops->attention_forward(dev, call);
}

zt_status zt_attention_backward(zt_device *dev, const zt_attention *call) {
  ZT_TRY(check_attention(call));
  REQUIRE((call->bias != NULL) == (call->dbias != NULL));
  count_attention(dev, call, 5);
  return dev->ops->attention_backward(dev, call);
}

zt_status zt_scatter_run(zt_device *dev, const zt_scatter *call) {
  REQUIRE(call->rows > 0 && call->n > 0);
  REQUIRE(call->from.ld >= call->n && call->to.ld >= call->n);
  REQUIRE(call->from.dtype == ZT_FP32 && call->to.dtype == ZT_FP32);
  dev->calls++;
  return dev->ops->scatter(dev, call);
}

zt_status zt_row_attention_run(zt_device *dev, const zt_row_attention *call) {
  REQUIRE(call->rows > 0 && call->heads > 0 && call->head_dim > 0);
  REQUIRE(call->kv_heads > 0 && call->heads % call->kv_heads == 0);
  REQUIRE(call->most_keys > 0 && call->window >= 0);
  REQUIRE(call->q.dtype == ZT_FP32 && call->k.dtype == ZT_FP32);
  REQUIRE(call->q.ld >= call->heads * call->head_dim);
  REQUIRE(call->k.ld >= call->kv_heads * call->head_dim);
  REQUIRE(call->v.ld >= call->kv_heads * call->head_dim);
  dev->calls++;
  return dev->ops->row_attention(dev, call);
}

zt_status zt_bias_forward(zt_device *dev, const zt_bias *call) {
  REQUIRE(call->heads > 0 && call->offsets > 0 && call->buckets > 0);
  dev->calls++;
  return dev->ops->bias_forward(dev, call);
}

zt_status zt_bias_backward(zt_device *dev, const zt_bias *call) {
  REQUIRE(call->heads > 0 && call->offsets > 0 && call->buckets > 0);
  dev->calls++;
  return dev->ops->bias_backward(dev, call);
}

zt_status zt_activation_forward(zt_device *dev, const zt_activation *call) {
  REQUIRE(call->rows > 0 && call->d > 0);
  dev->calls++;
  return dev->ops->activation_forward(dev, call);
}

zt_status zt_activation_backward(zt_device *dev, const zt_activation *call) {
  REQUIRE(call->rows > 0 && call->d > 0);
  dev->calls++;
  return dev->ops->activation_backward(dev, call);
}

zt_status zt_drop_run(zt_device *dev, const zt_drop *call) {
  REQUIRE(call->rows > 0 && call->d > 0);
  REQUIRE(call->dropout.rate >= 0 && call->dropout.rate < 1);
  dev->calls++;
  return dev->ops->drop(dev, call);
}

zt_status zt_rope_run(zt_device *dev, const zt_rope *call) {
  REQUIRE(call->rows > 0 && call->heads > 0);
  REQUIRE(call->head_dim > 0 && call->head_dim % 2 == 0);
  REQUIRE(call->x.ld >= call->heads * call->head_dim);
  dev->calls++;
  return dev->ops->rope(dev, call);
}

zt_status zt_row_bias_forward(zt_device *dev, const zt_row_bias *call) {
  REQUIRE(call->rows > 0 && call->n > 0);
  dev->calls++;
  return dev->ops->row_bias_forward(dev, call);
}

zt_status zt_row_bias_backward(zt_device *dev, const zt_row_bias *call) {
  REQUIRE(call->rows > 0 && call->n > 0);
  dev->calls++;
  return dev->ops->row_bias_backward(dev, call);
}

zt_status zt_embedding_forward(zt_device *dev, const zt_embedding *call) {
  REQUIRE(call->rows > 0 && call->d > 0);
  dev->calls++;
  return dev->ops->embedding_forward(dev, call);
}

zt_status zt_embedding_backward(zt_device *dev, const zt_embedding *call) {
  REQUIRE(call->rows > 0 && call->d > 0);
  dev->calls++;
  return dev->ops->embedding_backward(dev, call);
}

zt_status zt_cross_entropy_run(zt_device *dev, const zt_cross_entropy *call) {
  REQUIRE(call->rows > 0 && call->vocabulary > 0);
  dev->calls++;
  return dev->ops->cross_entropy(dev, call);
}

zt_status zt_argmax(zt_device *dev, int64_t rows, int64_t n, const float *x,
                    int32_t *index) {
  REQUIRE(rows > 0 && n > 0);
  dev->calls++;
  return dev->ops->argmax(dev, rows, n, x, index);
}

zt_status zt_add(zt_device *dev, zt_dtype dtype, int64_t n, void *to,
                 const void *from) {
  dev->calls++;
  return dev->ops->add(dev, dtype, n, to, from);
}

zt_status zt_convert(zt_device *dev, int64_t n, zt_dtype from_dtype,
                     const void *from, zt_dtype to_dtype, void *to) {
  REQUIRE((from_dtype == ZT_FP32 && to_dtype == ZT_BF16) ||
          (from_dtype == ZT_BF16 && to_dtype == ZT_FP32));
  dev->calls++;
  return dev->ops->convert(dev, n, from_dtype, from, to_dtype, to);
}

zt_status zt_accumulate(zt_device *dev, int64_t n, float *to,
                        const float *from) {
  dev->calls++;
  return dev->ops->accumulate(dev, n, to, from);
}

zt_status zt_adamw_run(zt_device *dev, const zt_adamw *call) {
  dev->calls++;
  return dev->ops->adamw(dev, call);
}

zt_status zt_factored_run(zt_device *dev, const zt_factored *call) {
  REQUIRE(call->first >= 0 && call->n > 0 && call->columns > 0);
  REQUIRE(call->columns == 1 || call->phase == ZT_FACTORED_UPDATE ||
          call->column_sum || dev->counts_only);
  dev->calls++;
  return dev->ops->factored(dev, call);
}

zt_status zt_step_down(zt_device *dev, int64_t n, float *p, const float *update,
                       float decay, float step_size) {
  dev->calls++;
  return dev->ops->step_down(dev, n, p, update, decay, step_size);
}

zt_status zt_sum_squares(zt_device *dev, int64_t cells, const float *x,
                         double *sums) {
  dev->calls++;
  return dev->ops->sum_squares(dev, cells, x, sums);
}
