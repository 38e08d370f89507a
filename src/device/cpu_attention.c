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

/* Floats of one thread: p, dp, drop(p), delta; in bf16 also the matrices of a
 * head: q, y, dy, dq and k, v, dk, dv. */
static size_t thread_floats(const zt_attention *call) {
  size_t scores = (size_t) (block_rows(call) * call->k_length);
  size_t floats = 3 * scores + (size_t) block_rows(call);
  if (call->q.dtype == ZT_BF16)
    floats += (size_t) (4 * (call->q_length + call->k_length) * call->head_dim);
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

/* The columns of a head in the rows of a sample, fp32. */
typedef struct view {
  float *at;
  int64_t ld;
} view;

/* One head of one sample, with the scratch of its thread. */
typedef struct head {
  const zt_attention *call;
  const zt_cpu_kernels *kernels;
  zt_cpu_scores block;
  float *delta;
  int64_t valid; /* keys of this sample that are no padding */
  view q, k, v, y, dy, dq, dk, dv;
  float *room; /* bf16: what is left of the scratch */
} head;

/* Head h of sample s of a matrix with `length` rows a sample. */
static char *head_of(const zt_attention *call, const zt_matrix *matrix,
                     int64_t s, int64_t length, int64_t h) {
  int64_t at = s * length * matrix->ld + h * call->head_dim;
  return (char *) matrix->data + (size_t) at * zt_dtype_size(matrix->dtype);
}

/* Where a head lies; in bf16 room for it, with its content if that is wanted.
 */
static view lend(head *x, const zt_matrix *matrix, int64_t length, int64_t h,
                 bool content) {
  int64_t d = x->call->head_dim;
  char *from = head_of(x->call, matrix, x->block.sample, length, h);
  if (matrix->dtype == ZT_FP32)
    return (view){(float *) (void *) from, matrix->ld};
  view v = {x->room, d};
  x->room += length * d;
  for (int64_t r = 0; content && r < length; r++)
    x->kernels->widen((uint16_t *) (void *) from + r * matrix->ld, v.at + r * d,
                      d);
  return v;
}

/* Back to its place. */
static void give_back(const head *x, view v, const zt_matrix *matrix,
                      int64_t length, int64_t h) {
  if (matrix->dtype == ZT_FP32)
    return;
  char *to = head_of(x->call, matrix, x->block.sample, length, h);
  for (int64_t r = 0; r < length; r++)
    x->kernels->narrow(v.at + r * v.ld,
                       (uint16_t *) (void *) to + r * matrix->ld,
                       x->call->head_dim);
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
            .kernels = cpu->k,
            .delta = scratch + 3 * scores,
            .room = scratch + 3 * scores + block_rows(call),
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

static int64_t key_head(const zt_attention *a, int64_t h) {
  return h / (a->heads / a->kv_heads);
}

static void forward_head(head *x) {
  const zt_attention *a = x->call;
  int64_t h = x->block.head, d = a->head_dim;
  x->q = lend(x, &a->q, a->q_length, h, true);
  x->k = lend(x, &a->k, a->k_length, key_head(a, h), true);
  x->v = lend(x, &a->v, a->k_length, key_head(a, h), true);
  x->y = lend(x, &a->y, a->q_length, h, false);
  for (int64_t i = 0; i < a->q_length; i += x->block.rows) {
    begin_block(x, i);
    int64_t m = x->block.rows, n = x->block.keys, key = x->block.key;
    float *y = x->y.at + i * x->y.ld;
    if (n == 0) {
      zero_rows(y, m, x->y.ld, d);
      continue;
    }
    product(false, true, m, n, d, x->q.at + i * x->q.ld, x->q.ld,
            x->k.at + key * x->k.ld, x->k.ld, 0, x->block.p, n);
    x->kernels->softmax(a, &x->block);
    product(false, false, m, d, n, x->block.p, n, x->v.at + key * x->v.ld,
            x->v.ld, 0, y, x->y.ld);
  }
  give_back(x, x->y, &a->y, a->q_length, h);
}

/* delta_i = sum_j dp_ij p_ij = dy_i . y_i */
static void compute_delta(head *x, const float *dy, const float *y) {
  for (int64_t r = 0; r < x->block.rows; r++)
    x->delta[r] =
        x->kernels->dot(dy + r * x->dy.ld, y + r * x->y.ld, x->call->head_dim);
}

/* One block of query rows, from row i on. */
static void backward_block(head *x, int64_t i) {
  const zt_attention *a = x->call;
  int64_t d = a->head_dim, key = x->block.key;
  int64_t m = x->block.rows, n = x->block.keys;
  const float *q = x->q.at + i * x->q.ld, *dy = x->dy.at + i * x->dy.ld;
  const float *k = x->k.at + key * x->k.ld, *v = x->v.at + key * x->v.ld;
  const float *p = a->dropout.rate > 0 ? x->block.dropped : x->block.p;
  product(false, true, m, n, d, q, x->q.ld, k, x->k.ld, 0, x->block.p, n);
  x->kernels->softmax_again(a, &x->block);
  product(false, true, m, n, d, dy, x->dy.ld, v, x->v.ld, 0, x->block.dp, n);
  product(true, false, n, d, m, p, n, dy, x->dy.ld, 1,
          x->dv.at + key * x->dv.ld, x->dv.ld);
  compute_delta(x, dy, x->y.at + i * x->y.ld);
  x->kernels->softmax_backward(a, &x->block);
  product(false, false, m, d, n, x->block.dp, n, k, x->k.ld, 0,
          x->dq.at + i * x->dq.ld, x->dq.ld);
  product(true, false, n, d, m, x->block.dp, n, q, x->q.ld, 1,
          x->dk.at + key * x->dk.ld, x->dk.ld);
}

static void backward_head(head *x) {
  const zt_attention *a = x->call;
  int64_t h = x->block.head;
  x->q = lend(x, &a->q, a->q_length, h, true);
  x->y = lend(x, &a->y, a->q_length, h, true);
  x->dy = lend(x, &a->dy, a->q_length, h, true);
  x->dq = lend(x, &a->dq, a->q_length, h, false);
  for (int64_t i = 0; i < a->q_length; i += x->block.rows) {
    begin_block(x, i);
    if (x->block.keys == 0)
      zero_rows(x->dq.at + i * x->dq.ld, x->block.rows, x->dq.ld, a->head_dim);
    else
      backward_block(x, i);
  }
  give_back(x, x->dq, &a->dq, a->q_length, h);
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
  int64_t group = call->heads / call->kv_heads, length = call->k_length;
  head x = begin_head(cpu, call, zt_cpu_thread(), s, kv * group);
  x.k = lend(&x, &call->k, length, kv, true);
  x.v = lend(&x, &call->v, length, kv, true);
  x.dk = lend(&x, &call->dk, length, kv, false);
  x.dv = lend(&x, &call->dv, length, kv, false);
  zero_rows(x.dk.at, length, x.dk.ld, call->head_dim);
  zero_rows(x.dv.at, length, x.dv.ld, call->head_dim);
  float *room = x.room;
  for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
    x.block.head = h;
    x.room = room;
    if (dbias) {
      x.block.dbias = dbias + (s * call->heads + h) * offsets_of(call);
      memset(x.block.dbias, 0,
             (size_t) offsets_of(call) * sizeof *x.block.dbias);
    }
    backward_head(&x);
  }
  give_back(&x, x.dk, &call->dk, length, kv);
  give_back(&x, x.dv, &call->dv, length, kv);
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
