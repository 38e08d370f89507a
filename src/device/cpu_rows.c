/* SPDX-License-Identifier: BSD-3-Clause */
/* Generation on the processor: products and attention in which every row is
 * computed by itself.  A BLAS picks its kernel by the number of rows, and with
 * it the order of a sum; here the order is fixed by the lengths of the sum. */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

/* Rows and columns that share loads.  They change speed and no bit. */
#ifdef __AVX512F__
enum { ROWS = 4, COLUMNS = 4 };
#else
enum { ROWS = 2, COLUMNS = 2 };
#endif
enum { WIDE = COLUMNS * ZT_LANES };

/* Sums run in whole vectors alone, so that contraction hits all or none. */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")

/* sums[r][c] = lane-wise products of row r of a with row c of b over k. */
static inline __attribute__((always_inline)) void
dots(int rows, int columns, int64_t k, const float *a, int64_t lda,
     const float *b, int64_t ldb, v16 sums[ROWS][COLUMNS]) {
  v16 sum[ROWS][COLUMNS] = {{{0}}};
  int64_t p = 0;
  for (; p + ZT_LANES <= k; p += ZT_LANES) {
    v16 x[COLUMNS];
    for (int c = 0; c < columns; c++)
      x[c] = v16_load(b + c * ldb + p);
    for (int r = 0; r < rows; r++) {
      v16 y = v16_load(a + r * lda + p);
      for (int c = 0; c < columns; c++)
        sum[r][c] += y * x[c];
    }
  }
  for (int r = 0; p < k && r < rows; r++)
    for (int c = 0; c < columns; c++)
      sum[r][c] += v16_load_part(a + r * lda + p, k - p, (v16){0}) *
                   v16_load_part(b + c * ldb + p, k - p, (v16){0});
  memcpy(sums, sum, sizeof sum);
}

/* sums[r] = row r of a times the `columns` first columns of b, [k, ldb]. */
static inline __attribute__((always_inline)) void
axpys(int rows, int64_t columns, int64_t k, const float *a, int64_t lda,
      const float *b, int64_t ldb, v16 sums[ROWS][COLUMNS]) {
  v16 sum[ROWS][COLUMNS] = {{{0}}};
  for (int64_t p = 0; p < k; p++) {
    v16 x[COLUMNS] = {{0}};
    if (columns == WIDE)
      for (int c = 0; c < COLUMNS; c++)
        x[c] = v16_load(b + p * ldb + c * ZT_LANES);
    else
      memcpy(x, b + p * ldb, (size_t) columns * sizeof *b);
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < COLUMNS; c++)
        sum[r][c] += a[r * lda + p] * x[c];
  }
  memcpy(sums, sum, sizeof sum);
}

/* Of fixed sizes, so that sums stay in registers: a function is not inlined
 * where other options hold. */
static void dots_of_all(int64_t k, const float *a, int64_t lda, const float *b,
                        int64_t ldb, v16 sums[ROWS][COLUMNS]) {
  dots(ROWS, COLUMNS, k, a, lda, b, ldb, sums);
}

static void dots_of_one(int64_t k, const float *a, const float *b,
                        v16 sums[ROWS][COLUMNS]) {
  dots(1, 1, k, a, k, b, k, sums);
}

static void axpys_of_all(int64_t columns, int64_t k, const float *a,
                         int64_t lda, const float *b, int64_t ldb,
                         v16 sums[ROWS][COLUMNS]) {
  if (columns == WIDE)
    axpys(ROWS, WIDE, k, a, lda, b, ldb, sums);
  else
    axpys(ROWS, columns, k, a, lda, b, ldb, sums);
}

static void axpys_of_one(int64_t columns, int64_t k, const float *a,
                         const float *b, int64_t ldb, v16 sums[ROWS][COLUMNS]) {
  if (columns == WIDE)
    axpys(1, WIDE, k, a, k, b, ldb, sums);
  else
    axpys(1, columns, k, a, k, b, ldb, sums);
}

/* y += p * v over n elements. */
static inline void add_scaled(float *y, const float *v, float p, int64_t n) {
  int64_t i = 0;
  for (; i + ZT_LANES <= n; i += ZT_LANES)
    v16_store(y + i, v16_load(y + i) + p * v16_load(v + i));
  if (i < n) {
    v16 sum = v16_load_part(y + i, n - i, (v16){0}) +
              p * v16_load_part(v + i, n - i, (v16){0});
    memcpy(y + i, &sum, (size_t) (n - i) * sizeof *y);
  }
}
#pragma GCC pop_options

static void put(const zt_gemm *call, int64_t i, int64_t j, float sum) {
  float *c = (float *) call->c.data + i * call->c.ld + j;
  float old = call->beta != 0 ? call->beta * *c : 0;
  *c = call->alpha * sum + old;
}

static void row_block_by_dots(const zt_gemm *call, int64_t i, int64_t rows,
                              int64_t j, int64_t columns) {
  const float *a = (const float *) call->a.data + i * call->a.ld;
  const float *b = (const float *) call->b.data + j * call->b.ld;
  v16 sums[ROWS][COLUMNS];
  if (rows == ROWS && columns == COLUMNS) {
    dots_of_all(call->k, a, call->a.ld, b, call->b.ld, sums);
    for (int r = 0; r < ROWS; r++)
      for (int c = 0; c < COLUMNS; c++)
        put(call, i + r, j + c, v16_sum(sums[r][c]));
    return;
  }
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) {
      dots_of_one(call->k, a + r * call->a.ld, b + c * call->b.ld, sums);
      put(call, i + r, j + c, v16_sum(sums[0][0]));
    }
}

static void row_block_by_columns(const zt_gemm *call, int64_t i, int64_t rows,
                                 int64_t j, int64_t columns) {
  const float *a = (const float *) call->a.data + i * call->a.ld;
  const float *b = (const float *) call->b.data + j;
  int64_t at_once = rows == ROWS ? ROWS : 1;
  v16 sums[ROWS][COLUMNS];
  for (int64_t r = 0; r < rows; r += at_once, a += call->a.ld) {
    if (at_once == ROWS)
      axpys_of_all(columns, call->k, a, call->a.ld, b, call->b.ld, sums);
    else
      axpys_of_one(columns, call->k, a, b, call->b.ld, sums);
    for (int64_t x = 0; x < at_once; x++)
      for (int64_t c = 0; c < columns; c++)
        put(call, i + r + x, j + c, sums[x][c / ZT_LANES][c % ZT_LANES]);
  }
}

void zt_cpu_gemm_rows(const zt_gemm *call, int64_t begin, int64_t end) {
  int64_t step = call->transpose_b ? COLUMNS : WIDE;
  for (int64_t j = begin; j < end; j += step)
    for (int64_t i = 0; i < call->m; i += ROWS) {
      int64_t rows = call->m - i < ROWS ? call->m - i : ROWS;
      int64_t columns = end - j < step ? end - j : step;
      if (call->transpose_b)
        row_block_by_dots(call, i, rows, j, columns);
      else
        row_block_by_columns(call, i, rows, j, columns);
    }
}

/* ---- Attention ---- */

/* Row of k and v that holds key j. */
static int64_t row_of_key(const zt_row_attention *a, int64_t row, int64_t j) {
  int64_t at = a->base[row] + j;
  return a->place ? a->place[at] : at;
}

/* exp(x - largest) in place; returns the sum. */
static float exp_all(float *x, int64_t n) {
  float most = -INFINITY;
  v16 sum = {0};
  int64_t i = 0;
  for (int64_t j = 0; j < n; j++)
    most = x[j] > most ? x[j] : most;
  for (; i + ZT_LANES <= n; i += ZT_LANES) {
    for (int j = 0; j < ZT_LANES; j++)
      x[i + j] = exp_of(x[i + j] - most);
    sum += v16_load(x + i);
  }
  for (int64_t j = i; j < n; j++)
    x[j] = exp_of(x[j] - most);
  if (i < n)
    sum += v16_load_part(x + i, n - i, (v16){0});
  return v16_sum(sum);
}

void zt_cpu_row_attention_head(const zt_row_attention *a, int64_t row,
                               int64_t h, float *scores) {
  int64_t d = a->head_dim, keys = a->keys[row], position = a->position[row];
  int64_t column = h / (a->heads / a->kv_heads) * d;
  int64_t first = a->window ? position + 1 - a->window : 0;
  const float *q = (const float *) a->q.data + row * a->q.ld + h * d;
  const float *k = (const float *) a->k.data + column;
  const float *v = (const float *) a->v.data + column;
  const float *bias =
      a->bias ? a->bias + h * a->offsets + a->zero - position : NULL;
  float *y = (float *) a->y.data + row * a->y.ld + h * d;
  first = first < 0 ? 0 : first;
  for (int64_t j = first; j < keys; j++) {
    v16 sums[ROWS][COLUMNS];
    dots_of_one(d, q, k + row_of_key(a, row, j) * a->k.ld, sums);
    scores[j - first] = a->scale * v16_sum(sums[0][0]) + (bias ? bias[j] : 0);
  }
  float scale = 1 / exp_all(scores, keys - first);
  memset(y, 0, (size_t) d * sizeof *y);
  for (int64_t j = first; j < keys; j++)
    add_scaled(y, v + row_of_key(a, row, j) * a->v.ld,
               scores[j - first] * scale, d);
}
