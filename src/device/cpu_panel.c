/* SPDX-License-Identifier: BSD-3-Clause */
/* Products of many rows, those of prompts, each row computed by itself: the
 * bits of cpu_rows.c.  What a block of columns has in each row of B lies on
 * another page; the rows read a copy in which it lies side by side. */
#include "device/cpu_kernels.h"

#include "device/cpu_lanes.h"

/* Rows and lanes of C whose sums are in registers at once.  They change speed
 * and no bit. */
#if defined(__AVX512F__)
enum { TALL = 6, ACROSS = 4 };
#elif defined(__AVX__)
enum { TALL = 6, ACROSS = 1 };
#else
enum { TALL = 2, ACROSS = 1 };
#endif
/* A panel: DEEP rows of WIDE columns of B, which stay in the second cache with
 * the sums of BATCH rows of C. */
enum { LINES = 4, WIDE = LINES * ZT_LANES, DEEP = 256, BATCH = 192 };

typedef struct product {
  const float *a; /* [rows, lda], of which k columns count */
  int64_t lda, k;
  const float *panel; /* [k, WIDE] */
  const float *next;  /* of the panel that follows: [k, ldb] */
  int64_t ldb;
  bool fetch; /* a line of each of its rows */
} product;

/* Contraction hits all sums or none. */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")

/* sums[r] += row r of a times the panel. */
ZT_INLINE void add_rows(int rows, const product *x, float (*sums)[WIDE]) {
  for (int first = 0; first < WIDE; first += ACROSS * ZT_LANES) {
    lanes sum[TALL][ACROSS];
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < ACROSS; c++)
        sum[r][c] = lanes_load(sums[r] + first + c * ZT_LANES);
    for (int64_t p = 0; p < x->k; p++) {
      const float *from = x->panel + p * WIDE + first;
      if (x->fetch)
        __builtin_prefetch(x->next + p * x->ldb);
      for (int r = 0; r < rows; r++)
        for (int c = 0; c < ACROSS; c++)
          lanes_add_scaled(&sum[r][c], x->a[r * x->lda + p],
                           lanes_load(from + c * ZT_LANES));
    }
    for (int r = 0; r < rows; r++)
      for (int c = 0; c < ACROSS; c++)
        lanes_store(sums[r] + first + c * ZT_LANES, sum[r][c]);
  }
}

/* As many rows as go at once.
 * \return how many */
static int64_t add_some(int64_t rows, const product *x, float (*sums)[WIDE]) {
  enum { FOUR = TALL > 4 ? 4 : 1, TWO = TALL > 2 ? 2 : 1 };
  if (rows >= TALL)
    return add_rows(TALL, x, sums), TALL;
  if (rows >= FOUR)
    return add_rows(FOUR, x, sums), FOUR;
  if (rows >= TWO)
    return add_rows(TWO, x, sums), TWO;
  return add_rows(1, x, sums), 1;
}

#pragma GCC pop_options

/* The first passes fetch what comes next, so that memory is never idle. */
static void add_panel(int64_t rows, product x, float (*sums)[WIDE]) {
  for (int64_t r = 0, pass = 0, n; r < rows; r += n, pass++) {
    x.fetch = pass < LINES;
    n = add_some(rows - r, &x, sums + r);
    x.a += n * x.lda;
    x.next += x.fetch ? ZT_LANES : 0;
  }
}

/* [rows, WIDE] of [rows, ldb], with zeros where its columns end. */
static void pack(const float *b, int64_t ldb, int64_t rows, int64_t columns,
                 float *panel) {
  for (int64_t p = 0; p < rows; p++)
    if (columns == WIDE)
      memcpy(panel + p * WIDE, b + p * ldb, WIDE * sizeof *b);
    else
      for (int64_t c = 0; c < WIDE; c++)
        panel[p * WIDE + c] = c < columns ? b[p * ldb + c] : 0;
}

void zt_cpu_gemm_panels(const zt_gemm *call, int64_t begin, int64_t end) {
  _Alignas(64) float panel[DEEP * WIDE], sums[BATCH][WIDE];
  const float *a = call->a.data, *b = call->b.data;
  product x = {.lda = call->a.ld, .panel = panel, .ldb = call->b.ld};
  for (int64_t i = 0; i < call->m; i += BATCH)
    for (int64_t j = begin; j < end; j += WIDE) {
      const int64_t rows = call->m - i < BATCH ? call->m - i : BATCH;
      const int64_t columns = end - j < WIDE ? end - j : WIDE;
      memset(sums, 0, sizeof sums);
      for (int64_t p = 0; p < call->k; p += DEEP) {
        const bool last = call->k - p <= DEEP;
        x.a = a + i * x.lda + p;
        x.k = last ? call->k - p : DEEP;
        x.next = b + j + (last ? WIDE : (p + DEEP) * x.ldb);
        pack(b + p * x.ldb + j, x.ldb, x.k, columns, panel);
        add_panel(rows, x, sums);
      }
      for (int64_t r = 0; r < rows; r++)
        zt_cpu_gemm_put(call, i + r, j, sums[r], columns);
    }
}
