/* SPDX-License-Identifier: BSD-3-Clause */
/* Attention on the processor: blocks of query rows of one head at a time, so
 * that scores stay in the cache and are never whole.  One thread does all query
 * blocks of a key head in order, which fixes the order of every sum. */
#include "device/cpu_device.h"

#include <cblas.h>
#include <string.h>

/* Query rows of a block: scores of about 128 KiB.  A function of shape alone.
 */
static int64_t block_rows(const zt_attention *call) {
  int64_t rows = 32768 / call->k_length / 16 * 16;
  rows = rows < 16 ? 16 : rows > 128 ? 128 : rows;
  return rows < call->q_length ? rows : call->q_length;
}

static int64_t offsets_of(const zt_attention *call) {
  return call->q_length + call->k_length - 1;
}

/* Floats of one thread: p, dp, drop(p), delta. */
static size_t thread_floats(const zt_attention *call) {
  size_t scores = (size_t) (block_rows(call) * call->k_length);
  size_t floats = 3 * scores + (size_t) block_rows(call);
  return (floats + 63) / 64 * 64;
}

size_t zt_cpu_attention_workspace(const zt_device *dev,
                                  const zt_attention *call) {
  const zt_cpu_device *cpu = (const zt_cpu_device *) dev;
  size_t floats = thread_floats(call) * (size_t) cpu->threads;
  if (call->bias)
    floats += (size_t) (call->samples * call->heads * offsets_of(call));
  return floats * sizeof(float);
}

/* One head of one sample, with the scratch of its thread. */
typedef struct head {
  const zt_attention *call;
  const zt_cpu_kernels *k;
  zt_cpu_scores block;
  float *delta;
  int64_t valid; /* keys of this sample that are no padding */
} head;

/* Head h of sample s of a matrix with `length` rows a sample. */
static float *head_of(const zt_matrix *matrix, int64_t s, int64_t length,
                      int64_t h, int64_t head_dim) {
  return (float *) matrix->data + s * length * matrix->ld + h * head_dim;
}

static void product(bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                    const float *a, int64_t lda, const float *b, int64_t ldb,
                    float beta, float *c, int64_t ldc) {
  cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans,
              tb ? CblasTrans : CblasNoTrans, (int) m, (int) n, (int) k, 1, a,
              (int) lda, b, (int) ldb, beta, c, (int) ldc);
}

static void zero_rows(float *rows, int64_t count, int64_t ld, int64_t n) {
  for (int64_t r = 0; r < count; r++)
    memset(rows + r * ld, 0, (size_t) n * sizeof *rows);
}

/* Scratch of the calling thread, and what the head is. */
static head begin_head(const zt_cpu_device *cpu, const zt_attention *call,
                       int thread, int64_t s, int64_t h) {
  float *scratch =
      (float *) call->workspace + (size_t) thread * thread_floats(call);
  int64_t scores = block_rows(call) * call->k_length;
  head x = {.call = call,
            .k = cpu->k,
            .delta = scratch + 3 * scores,
            .valid = call->k_valid ? call->k_valid[s] : call->k_length};
  x.block = (zt_cpu_scores){.sample = s,
                            .head = h,
                            .p = scratch,
                            .dp = scratch + scores,
                            .dropped = scratch + 2 * scores,
                            .delta = x.delta};
  return x;
}

/* The first key that any query of the block sees. */
static int64_t first_key(const zt_attention *a, const zt_cpu_scores *block) {
  int64_t first = a->k_length;
  for (int64_t i = block->first; a->k_first && i < block->first + block->rows;
       i++) {
    int64_t begin = a->k_first[block->sample * a->q_length + i];
    first = begin < first ? begin : first;
  }
  if (!a->k_first)
    first = 0;
  if (a->window && block->first + 1 - a->window > first)
    first = block->first + 1 - a->window;
  return first;
}

/* The next block of query rows: how many, and the keys they see. */
static void begin_block(head *x, int64_t first) {
  const zt_attention *a = x->call;
  int64_t rows = block_rows(a), last = x->valid;
  x->block.first = first;
  x->block.rows = a->q_length - first < rows ? a->q_length - first : rows;
  if (a->causal && first + x->block.rows < last)
    last = first + x->block.rows;
  x->block.key = first_key(a, &x->block);
  x->block.keys = last > x->block.key ? last - x->block.key : 0;
}

static void forward_head(head *x) {
  const zt_attention *a = x->call;
  int64_t s = x->block.sample, h = x->block.head, d = a->head_dim;
  int64_t kv = h / (a->heads / a->kv_heads);
  const float *q = head_of(&a->q, s, a->q_length, h, d);
  const float *k = head_of(&a->k, s, a->k_length, kv, d);
  const float *v = head_of(&a->v, s, a->k_length, kv, d);
  float *y = head_of(&a->y, s, a->q_length, h, d);
  for (int64_t i = 0; i < a->q_length; i += x->block.rows) {
    begin_block(x, i);
    int64_t m = x->block.rows, n = x->block.keys;
    if (n == 0) {
      zero_rows(y + i * a->y.ld, m, a->y.ld, d);
      continue;
    }
    int64_t key = x->block.key;
    product(false, true, m, n, d, q + i * a->q.ld, a->q.ld, k + key * a->k.ld,
            a->k.ld, 0, x->block.p, n);
    x->k->softmax(a, &x->block);
    product(false, false, m, d, n, x->block.p, n, v + key * a->v.ld, a->v.ld, 0,
            y + i * a->y.ld, a->y.ld);
  }
}

/* delta_i = sum_j dp_ij p_ij = dy_i . y_i */
static void compute_delta(head *x, const float *dy, const float *y) {
  const zt_attention *a = x->call;
  for (int64_t r = 0; r < x->block.rows; r++)
    x->delta[r] = x->k->dot(dy + r * a->dy.ld, y + r * a->y.ld, a->head_dim);
}

/* One block of query rows; the pointers are to its first row. */
static void backward_block(head *x, const float *q, const float *y,
                           const float *dy, float *dq) {
  const zt_attention *a = x->call;
  int64_t s = x->block.sample, d = a->head_dim, key = x->block.key;
  int64_t kv = x->block.head / (a->heads / a->kv_heads);
  int64_t m = x->block.rows, n = x->block.keys;
  const float *k = head_of(&a->k, s, a->k_length, kv, d) + key * a->k.ld;
  const float *v = head_of(&a->v, s, a->k_length, kv, d) + key * a->v.ld;
  float *dk = head_of(&a->dk, s, a->k_length, kv, d) + key * a->dk.ld;
  float *dv = head_of(&a->dv, s, a->k_length, kv, d) + key * a->dv.ld;
  const float *p = a->dropout.rate > 0 ? x->block.dropped : x->block.p;
  product(false, true, m, n, d, q, a->q.ld, k, a->k.ld, 0, x->block.p, n);
  x->k->softmax_again(a, &x->block);
  product(false, true, m, n, d, dy, a->dy.ld, v, a->v.ld, 0, x->block.dp, n);
  product(true, false, n, d, m, p, n, dy, a->dy.ld, 1, dv, a->dv.ld);
  compute_delta(x, dy, y);
  x->k->softmax_backward(a, &x->block);
  product(false, false, m, d, n, x->block.dp, n, k, a->k.ld, 0, dq, a->dq.ld);
  product(true, false, n, d, m, x->block.dp, n, q, a->q.ld, 1, dk, a->dk.ld);
}

static void backward_head(head *x) {
  const zt_attention *a = x->call;
  int64_t s = x->block.sample, h = x->block.head, d = a->head_dim;
  const float *q = head_of(&a->q, s, a->q_length, h, d);
  const float *y = head_of(&a->y, s, a->q_length, h, d);
  const float *dy = head_of(&a->dy, s, a->q_length, h, d);
  float *dq = head_of(&a->dq, s, a->q_length, h, d);
  for (int64_t i = 0; i < a->q_length; i += x->block.rows) {
    begin_block(x, i);
    if (x->block.keys == 0)
      zero_rows(dq + i * a->dq.ld, x->block.rows, a->dq.ld, d);
    else
      backward_block(x, q + i * a->q.ld, y + i * a->y.ld, dy + i * a->dy.ld,
                     dq + i * a->dq.ld);
  }
}

zt_status zt_cpu_attention_forward(zt_device *dev, const zt_attention *call) {
  const zt_cpu_device *cpu = (const zt_cpu_device *) dev;
  int64_t heads = call->samples * call->heads;
#pragma omp parallel for schedule(dynamic) num_threads(cpu->threads)
  for (int64_t i = 0; i < heads; i++) {
    head x = begin_head(cpu, call, zt_cpu_thread(), i / call->heads,
                        i % call->heads);
    forward_head(&x);
  }
  return ZT_OK;
}

/* All heads that share a key head, in order. */
static void backward_group(const zt_cpu_device *cpu, const zt_attention *call,
                           int64_t s, int64_t kv, float *dbias) {
  int64_t group = call->heads / call->kv_heads, d = call->head_dim;
  zero_rows(head_of(&call->dk, s, call->k_length, kv, d), call->k_length,
            call->dk.ld, d);
  zero_rows(head_of(&call->dv, s, call->k_length, kv, d), call->k_length,
            call->dv.ld, d);
  for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
    head x = begin_head(cpu, call, zt_cpu_thread(), s, h);
    if (dbias) {
      x.block.dbias = dbias + (s * call->heads + h) * offsets_of(call);
      memset(x.block.dbias, 0,
             (size_t) offsets_of(call) * sizeof *x.block.dbias);
    }
    backward_head(&x);
  }
}

zt_status zt_cpu_attention_backward(zt_device *dev, const zt_attention *call) {
  const zt_cpu_device *cpu = (const zt_cpu_device *) dev;
  float *dbias = NULL; /* [samples, heads, offsets] */
  if (call->bias)
    dbias =
        (float *) call->workspace + thread_floats(call) * (size_t) cpu->threads;
  int64_t groups = call->samples * call->kv_heads;
#pragma omp parallel for schedule(dynamic) num_threads(cpu->threads)
  for (int64_t i = 0; i < groups; i++)
    backward_group(cpu, call, i / call->kv_heads, i % call->kv_heads, dbias);
  if (dbias) {
    int64_t n = call->heads * offsets_of(call);
    cpu->k->fold_rows(call->dbias, dbias, call->samples, n, 0, n);
  }
  return ZT_OK;
}
