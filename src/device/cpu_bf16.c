/* SPDX-License-Identifier: BSD-3-Clause */
/* Row operations on bf16: a thread widens some rows into its scratch, the fp32
 * kernels compute there, and what they wrote is rounded once on its way back.
 * Every row is computed alone or in blocks that the shape decides, as in fp32.
 */
#include "device/cpu_device.h"

#include <inttypes.h>
#include <string.h>

/* Rows begin .. end - 1 of some matrices in a thread's scratch. */
typedef struct lent {
  const zt_cpu_kernels *k;
  float *next;
  int64_t begin, end;
} lent;

static lent begin_rows(const zt_cpu_device *cpu, int64_t begin, int64_t end) {
  return (lent){.k = cpu->k,
                .next = zt_cpu_scratch(cpu, zt_cpu_thread()),
                .begin = begin,
                .end = end};
}

/* Room for the rows of a matrix without gaps.  Kernels count rows from the
 * beginning of the matrix, which would lie before the room. */
static void *room(lent *l, int64_t width) {
  uintptr_t at = (uintptr_t) l->next;
  l->next += (l->end - l->begin) * width;
  return (void *) (at - (uintptr_t) (l->begin * width) * sizeof(float));
}

/* The same with its content; NULL stays NULL. */
static void *widened(lent *l, const void *from, int64_t width) {
  if (!from)
    return NULL;
  float *at = l->next;
  l->k->widen((const uint16_t *) from + l->begin * width, at,
              (l->end - l->begin) * width);
  return room(l, width);
}

/* A vector that all rows share. */
static void *widened_vector(lent *l, const void *from, int64_t n) {
  if (!from)
    return NULL;
  float *at = l->next;
  l->k->widen(from, at, n);
  l->next += n;
  return at;
}

static void narrowed(const lent *l, const void *rows, int64_t width, void *to) {
  uintptr_t at =
      (uintptr_t) rows + (uintptr_t) (l->begin * width) * sizeof(float);
  l->k->narrow((const float *) at, (uint16_t *) to + l->begin * width,
               (l->end - l->begin) * width);
}

/* Rows that fit the scratch when each takes `floats` of it, and enough for the
 * threads; 0: not even one. */
static int64_t rows_that_fit(int64_t floats, int64_t shared, int64_t most) {
  int64_t rows = (ZT_CPU_SCRATCH - shared) / (floats ? floats : 1);
  return rows > most ? most : rows < 0 ? 0 : rows;
}

static zt_status too_wide(int64_t d) {
  return zt_fail(ZT_ERR_CONFIG,
                 "rows of %" PRId64 " are too wide for bf16 on the "
                 "CPU; use train.precision = \"fp32\"",
                 d);
}

/* clang-format off */
#define FOR_ROWS(cpu, rows, floats, shared, d, statement)                      \
  do {                                                                         \
    int64_t fit_ = rows_that_fit(floats, shared, zt_cpu_rows(d));              \
    if (fit_ == 0)                                                             \
      return too_wide(d);                                                      \
    ZT_CPU_RANGES(cpu, rows, fit_, statement);                                 \
  } while (0)
/* clang-format on */

/* ---- Norm ---- */

/* Three matrices. */
int64_t zt_cpu_bf16_norm_block(const zt_norm *call) {
  int64_t block = ZT_CPU_NORM_BLOCK;
  while (block > 1 && 3 * block * call->d > ZT_CPU_SCRATCH)
    block /= 2;
  return block;
}

static void norm_forward(const zt_cpu_device *cpu, const zt_norm *call,
                         int64_t begin, int64_t end) {
  lent l = begin_rows(cpu, begin, end);
  zt_norm wide = *call;
  wide.x = widened(&l, call->x, call->d);
  wide.y = room(&l, call->d);
  cpu->k->norm_forward(&wide, begin, end);
  narrowed(&l, wide.y, call->d, call->y);
}

zt_status zt_cpu_bf16_norm_forward(const zt_cpu_device *cpu,
                                   const zt_norm *call) {
  FOR_ROWS(cpu, call->rows, 2 * call->d, 0, call->d,
           norm_forward(cpu, call, begin, end));
  return ZT_OK;
}

void zt_cpu_bf16_norm_backward(const zt_cpu_device *cpu, const zt_norm *call,
                               int64_t begin, int64_t end, float *partial) {
  lent l = begin_rows(cpu, begin, end);
  zt_norm wide = *call;
  wide.x = widened(&l, call->x, call->d);
  wide.dy = widened(&l, call->dy, call->d);
  wide.dx =
      call->accumulate_dx ? widened(&l, call->dx, call->d) : room(&l, call->d);
  cpu->k->norm_backward(&wide, begin, end, partial);
  narrowed(&l, wide.dx, call->d, call->dx);
}

/* ---- Element by element ---- */

static void activation(const zt_cpu_device *cpu, const zt_activation *call,
                       bool backward, int64_t begin, int64_t end) {
  int64_t d = call->d, in = call->gated ? 2 * d : d;
  lent l = begin_rows(cpu, begin, end);
  zt_activation wide = *call;
  wide.x = widened(&l, call->x, in);
  if (backward) {
    wide.dy = widened(&l, call->dy, d);
    wide.dx = room(&l, in);
    cpu->k->activation_backward(&wide, begin, end);
    narrowed(&l, wide.dx, in, call->dx);
  } else {
    wide.y = room(&l, d);
    cpu->k->activation_forward(&wide, begin, end);
    narrowed(&l, wide.y, d, call->y);
  }
}

zt_status zt_cpu_bf16_activation(const zt_cpu_device *cpu,
                                 const zt_activation *call, bool backward) {
  FOR_ROWS(cpu, call->rows, 5 * call->d, 0, call->d,
           activation(cpu, call, backward, begin, end));
  return ZT_OK;
}

static void drop(const zt_cpu_device *cpu, const zt_drop *call, int64_t begin,
                 int64_t end) {
  lent l = begin_rows(cpu, begin, end);
  zt_drop wide = *call;
  wide.x = widened(&l, call->x, call->d);
  wide.residual = widened(&l, call->residual, call->d);
  wide.y = room(&l, call->d);
  cpu->k->drop(&wide, begin, end);
  narrowed(&l, wide.y, call->d, call->y);
}

zt_status zt_cpu_bf16_drop(const zt_cpu_device *cpu, const zt_drop *call) {
  FOR_ROWS(cpu, call->rows, 3 * call->d, 0, call->d,
           drop(cpu, call, begin, end));
  return ZT_OK;
}

/* Rows of a wider matrix, one by one. */
static void rope(const zt_cpu_device *cpu, const zt_rope *call, int64_t begin,
                 int64_t end) {
  int64_t width = call->heads * call->head_dim;
  float *row = zt_cpu_scratch(cpu, zt_cpu_thread());
  for (int64_t r = begin; r < end; r++) {
    uint16_t *x = (uint16_t *) call->x.data + r * call->x.ld;
    zt_rope wide = *call;
    wide.x = (zt_matrix){row, width, ZT_FP32};
    wide.position = call->position + r;
    cpu->k->widen(x, row, width);
    cpu->k->rope(&wide, 0, 1);
    cpu->k->narrow(row, x, width);
  }
}

zt_status zt_cpu_bf16_rope(const zt_cpu_device *cpu, const zt_rope *call) {
  int64_t width = call->heads * call->head_dim;
  FOR_ROWS(cpu, call->rows, width, 0, width, rope(cpu, call, begin, end));
  return ZT_OK;
}

/* ---- Sums over rows ---- */

static void row_bias(const zt_cpu_device *cpu, const zt_row_bias *call,
                     int64_t begin, int64_t end) {
  lent l = begin_rows(cpu, begin, end);
  zt_row_bias wide = *call;
  wide.b = widened_vector(&l, call->b, call->n);
  wide.x = widened(&l, call->x, call->n);
  wide.y = room(&l, call->n);
  cpu->k->row_bias_forward(&wide, begin, end);
  narrowed(&l, wide.y, call->n, call->y);
}

zt_status zt_cpu_bf16_row_bias_forward(const zt_cpu_device *cpu,
                                       const zt_row_bias *call) {
  FOR_ROWS(cpu, call->rows, 2 * call->n, call->n, call->n,
           row_bias(cpu, call, begin, end));
  return ZT_OK;
}

/* Rows [at, at + n) of dy, all columns, in the scratch of the first thread. */
static float *widened_rows(const zt_cpu_device *cpu, const void *dy, int64_t d,
                           int64_t at, int64_t n) {
  float *rows = zt_cpu_scratch(cpu, 0);
  const uint16_t *from = (const uint16_t *) dy + at * d;
  ZT_CPU_RANGES(cpu, n * d, 1 << 14,
                cpu->k->widen(from + begin, rows + begin, end - begin));
  return rows;
}

zt_status zt_cpu_bf16_row_bias_backward(const zt_cpu_device *cpu,
                                        const zt_row_bias *call) {
  int64_t fit = rows_that_fit(call->n, 0, call->rows);
  if (fit == 0)
    return too_wide(call->n);
  if (fit > ZT_CPU_BIAS_ROWS)
    fit = fit / ZT_CPU_BIAS_ROWS * ZT_CPU_BIAS_ROWS;
  for (int64_t at = 0; at < call->rows; at += fit) {
    zt_row_bias wide = *call;
    wide.rows = call->rows - at < fit ? call->rows - at : fit;
    wide.dy = widened_rows(cpu, call->dy, call->n, at, wide.rows);
    ZT_CPU_RANGES(cpu, call->n, ZT_CPU_BIAS_COLUMNS,
                  cpu->k->row_bias_backward(&wide, begin, end));
  }
  return ZT_OK;
}

zt_status zt_cpu_bf16_embedding_backward(const zt_cpu_device *cpu,
                                         const zt_embedding *call) {
  int64_t fit = rows_that_fit(call->d, 0, call->rows);
  if (fit == 0)
    return too_wide(call->d);
  for (int64_t at = 0; at < call->rows; at += fit) {
    zt_embedding wide = *call;
    wide.rows = call->rows - at < fit ? call->rows - at : fit;
    wide.ids = call->ids + at;
    wide.dy = widened_rows(cpu, call->dy, call->d, at, wide.rows);
    ZT_CPU_RANGES(cpu, call->d, 64,
                  cpu->k->embedding_backward(&wide, begin, end));
  }
  return ZT_OK;
}

/* ---- Vectors ---- */

static void add(const zt_cpu_device *cpu, uint16_t *to, const uint16_t *from,
                int64_t n) {
  float *a = zt_cpu_scratch(cpu, zt_cpu_thread()), *b = a + n;
  cpu->k->widen(to, a, n);
  cpu->k->widen(from, b, n);
  cpu->k->add(a, b, n);
  cpu->k->narrow(a, to, n);
}

void zt_cpu_bf16_add(const zt_cpu_device *cpu, int64_t n, uint16_t *to,
                     const uint16_t *from) {
  ZT_CPU_RANGES(cpu, n, 1 << 14,
                add(cpu, to + begin, from + begin, end - begin));
}

void zt_cpu_bf16_embedding_forward(const zt_cpu_device *cpu,
                                   const zt_embedding *call) {
  const uint16_t *table = call->table;
  uint16_t *y = call->y;
#pragma omp parallel for schedule(static) num_threads(cpu->threads)
  for (int64_t r = 0; r < call->rows; r++) {
    const uint16_t *row = table + (int64_t) call->ids[r] * call->d;
    if (!call->accumulate)
      memcpy(y + r * call->d, row, (size_t) call->d * sizeof *row);
    else
      for (int64_t c = 0; c < call->d; c += 1 << 14)
        add(cpu, y + r * call->d + c, row + c,
            call->d - c < 1 << 14 ? call->d - c : 1 << 14);
  }
}
