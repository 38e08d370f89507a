/* SPDX-License-Identifier: BSD-3-Clause */
/* Products of generation, in which every row is computed by itself.  A BLAS
 * picks its kernel by the number of rows, and with it the order of a sum; here
 * the order is fixed by the length of the sum, and rows share loads alone. */
#include "device/cpu_kernels.h"

#include "device/cpu_lanes.h"

/* Rows and columns of C whose sums are in registers at once.  They change speed
 * and no bit. */
#ifdef __AVX512F__
enum { ROWS = 4 };
#else
enum { ROWS = 1 };
#endif
enum { COLUMNS = 4, WIDE = COLUMNS * ZT_LANES };
/* Columns whose sums stay in the first cache while a single row is computed,
 * and elements that memory is asked for ahead of it: a page and a half. */
enum { STRIP = 4096, AHEAD = 1536 };
/* Rows from which a copy of columns of B pays. */
enum { MANY = 24 };

/* ROWS rows of A and COLUMNS or WIDE columns of B. */
typedef struct block {
  const float *a, *b;
  int64_t lda, ldb, k;
  const float *ahead; /* in the columns that come next: */
  int lines;          /* cache lines to fetch with each step of the sum */
} block;

/* Sums run in whole vectors alone, so that contraction hits all or none. */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")

/* out[r][c] = row r of a times row c of b. */
ZT_INLINE void dots(int rows, int columns, const block *x,
                    float out[ROWS][WIDE]) {
  lanes sum[ROWS][COLUMNS] = {{{{{0}}}}};
  int64_t p = 0;
  for (; p + ZT_LANES <= x->k; p += ZT_LANES) {
    if (x->lines == COLUMNS) /* all of them: in the order of memory */
      for (int l = 0; l < COLUMNS; l++)
        __builtin_prefetch(x->ahead + COLUMNS * p + l * ZT_LANES);
    else
      for (int l = 0; l < x->lines; l++)
        __builtin_prefetch(x->ahead + l * x->ldb + p);
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < columns; c++)
        lanes_add_product(&sum[r][c], lanes_load(x->a + r * x->lda + p),
                          lanes_load(x->b + c * x->ldb + p));
  }
  for (int r = 0; p < x->k && r < rows; r++)
    for (int c = 0; c < columns; c++)
      lanes_add_product(&sum[r][c],
                        lanes_load_part(x->a + r * x->lda + p, x->k - p),
                        lanes_load_part(x->b + c * x->ldb + p, x->k - p));
  for (int r = 0; r < rows; r++)
    lanes_sum_4(sum[r], out[r]);
}

/* out[r] = row r of a times the first columns of b, [k, ldb]. */
ZT_INLINE void axpys(int rows, int64_t columns, const block *x,
                     float out[ROWS][WIDE]) {
  lanes sum[ROWS][COLUMNS] = {{{{{0}}}}};
  for (int64_t p = 0; p < x->k; p++) {
    float part[WIDE] = {0};
    const float *from = x->b + p * x->ldb;
    for (int l = 0; l < x->lines; l++)
      __builtin_prefetch(x->ahead + p * x->ldb + l * ZT_LANES);
    if (columns < WIDE)
      from = memcpy(part, from, (size_t) columns * sizeof *from);
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < COLUMNS; c++)
        lanes_add_scaled(&sum[r][c], x->a[r * x->lda + p],
                         lanes_load(from + c * ZT_LANES));
  }
  for (int r = 0; r < rows; r++)
    for (int c = 0; c < COLUMNS; c++)
      lanes_store(out[r] + c * ZT_LANES, sum[r][c]);
}

/* Of fixed sizes, so that sums stay in registers. */
static void dots_of(int64_t rows, const block *x, float out[ROWS][WIDE]) {
  if (rows == ROWS)
    dots(ROWS, COLUMNS, x, out);
  else if (rows == 1)
    dots(1, COLUMNS, x, out);
  else if (rows == 2)
    dots(ROWS > 2 ? 2 : 1, COLUMNS, x, out);
  else
    dots(ROWS > 3 ? 3 : 1, COLUMNS, x, out);
}

static void axpys_of(int64_t rows, const block *x, float out[ROWS][WIDE]) {
  if (rows == ROWS)
    axpys(ROWS, WIDE, x, out);
  else if (rows == 1)
    axpys(1, WIDE, x, out);
  else if (rows == 2)
    axpys(ROWS > 2 ? 2 : 1, WIDE, x, out);
  else
    axpys(ROWS > 3 ? 3 : 1, WIDE, x, out);
}

/* One row alone, as fast as memory gives B: from its first byte to its last,
 * and asked for a little ahead (measured: 40 GB/s on one core, with blocks 27).
 * Each sum is added up in the order of the blocks. */
static void dots_in_order(const block *x, float out[COLUMNS]) {
  lanes sums[COLUMNS];
  for (int c = 0; c < COLUMNS; c++) {
    const float *from = x->b + c * x->ldb;
    lanes sum = {{{0}}};
    int64_t p = 0;
    for (; p + ZT_LANES <= x->k; p += ZT_LANES) {
      __builtin_prefetch(from + p + AHEAD);
      lanes_add_product(&sum, lanes_load(x->a + p), lanes_load(from + p));
    }
    if (p < x->k)
      lanes_add_product(&sum, lanes_load_part(x->a + p, x->k - p),
                        lanes_load_part(from + p, x->k - p));
    sums[c] = sum;
  }
  lanes_sum_4(sums, out);
}

/* sums[0 .. n - 1] += scale * from. */
ZT_INLINE void axpy(int64_t n, float scale, const float *from, int64_t ahead,
                    float *sums) {
  for (int64_t c = 0; c < n; c += ZT_LANES) {
    lanes sum = lanes_load(sums + c);
    __builtin_prefetch(from + c + ahead);
    lanes_add_scaled(&sum, scale, lanes_load(from + c));
    lanes_store(sums + c, sum);
  }
}

/* sums[0 .. columns - 1] = the row times those columns of b, [k, ldb]. */
static void axpys_in_order(int64_t columns, const block *x, float *sums) {
  const int64_t rows = columns < AHEAD ? AHEAD / columns : 1;
  memset(sums, 0, (size_t) columns * sizeof *sums);
  for (int64_t p = 0; p < x->k; p++) {
    const float *from = x->b + p * x->ldb;
    if (columns == x->ldb)
      axpy(columns, x->a[p], from, AHEAD, sums);
    else /* other threads have the columns between */
      axpy(columns, x->a[p], from, rows * x->ldb, sums);
  }
}

/* The last columns, fewer than a kernel takes at once. */
static void last_dots(int64_t rows, int64_t columns, const block *x,
                      float out[ROWS][WIDE]) {
  for (int64_t r = 0; r < rows; r++)
    for (int64_t c = 0; c < columns; c++) {
      float one[ROWS][WIDE];
      block of = {.a = x->a + r * x->lda, .b = x->b + c * x->ldb, .k = x->k};
      dots(1, 1, &of, one);
      out[r][c] = one[0][0];
    }
}

static void last_axpys(int64_t rows, int64_t columns, const block *x,
                       float out[ROWS][WIDE]) {
  for (int64_t r = 0; r < rows; r++) {
    block of = {.a = x->a + r * x->lda, .b = x->b, .ldb = x->ldb, .k = x->k};
    axpys(1, columns, &of, out + r);
  }
}
#pragma GCC pop_options

void zt_cpu_gemm_put(const zt_gemm *call, int64_t i, int64_t j,
                     const float *sums, int64_t columns) {
  float *c = (float *) call->c.data + i * call->c.ld + j;
  for (int64_t x = 0; x < columns; x++)
    c[x] = call->alpha * sums[x] + (call->beta != 0 ? call->beta * c[x] : 0);
}

/* Each pass over a block of columns fetches a share of the next block, so that
 * memory is never idle while rows are computed. */
static void look_ahead(const zt_gemm *call, int64_t i, block *x) {
  int64_t passes = (call->m + ROWS - 1) / ROWS;
  int64_t first, lines = passes < COLUMNS ? COLUMNS / passes : 1;
  first = i / ROWS * lines;
  x->lines = first + lines <= COLUMNS ? (int) lines : 0;
  x->ahead = x->b + (call->transpose_b ? (COLUMNS + first) * x->ldb
                                       : WIDE + first * ZT_LANES);
}

/* The columns of a single row, but for a few at the end.
 * \return the first column that is left */
static int64_t one_row(const zt_gemm *call, block *x, int64_t begin,
                       int64_t end) {
  _Alignas(64) float sums[STRIP]; /* else each access costs two lines */
  int64_t j = begin;
  x->a = call->a.data;
  if (call->transpose_b)
    for (; j + COLUMNS <= end; j += COLUMNS) {
      x->b = (const float *) call->b.data + j * x->ldb;
      dots_in_order(x, sums);
      zt_cpu_gemm_put(call, 0, j, sums, COLUMNS);
    }
  else
    for (int64_t n; (n = (end - j) / WIDE * WIDE) > 0; j += n) {
      n = n < STRIP ? n : STRIP;
      x->b = (const float *) call->b.data + j;
      axpys_in_order(n, x, sums);
      zt_cpu_gemm_put(call, 0, j, sums, n);
    }
  return j;
}

void zt_cpu_gemm_rows(const zt_gemm *call, int64_t begin, int64_t end) {
  const bool across = call->transpose_b;
  const int64_t step = across ? COLUMNS : WIDE;
  block x = {.lda = call->a.ld, .ldb = call->b.ld, .k = call->k};
  float sums[ROWS][WIDE];
  if (!across && call->m >= MANY) {
    zt_cpu_gemm_panels(call, begin, end);
    return;
  }
  if (call->m == 1)
    begin = one_row(call, &x, begin, end);
  for (int64_t j = begin; j < end; j += step)
    for (int64_t i = 0; i < call->m; i += ROWS) {
      int64_t rows = call->m - i < ROWS ? call->m - i : ROWS;
      int64_t columns = end - j < step ? end - j : step;
      x.a = (const float *) call->a.data + i * x.lda;
      x.b = (const float *) call->b.data + (across ? j * x.ldb : j);
      look_ahead(call, i, &x);
      if (columns == step)
        (across ? dots_of : axpys_of)(rows, &x, sums);
      else
        (across ? last_dots : last_axpys)(rows, columns, &x, sums);
      for (int64_t r = 0; r < rows; r++)
        zt_cpu_gemm_put(call, i + r, j, sums[r], columns);
    }
}
