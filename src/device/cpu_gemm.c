/* SPDX-License-Identifier: BSD-3-Clause */
/* Matrix products: CBLAS on one thread inside tiles of our own.
 *
 * The tiles are a function of the shape alone, so that the number of threads
 * changes no bits: a BLAS that splits a product over threads may split it
 * differently for each number of them. */
#include "device/cpu_device.h"

#include <cblas.h>

/* Measured on one Zen 5 and one Zen 4 core: from 256 x 256 on a tile runs at
 * more than 90 % of the rate of a large product; smaller ones pay for packing.
 * Several tiles are wanted even of a small product, for the threads. */
enum { TILE = 256, WANTED_TILES = 8 };

/* In bf16 a tile and the operands of a piece of k are fp32 in the scratch. */
enum { NARROW_TILE = 256, NARROW_K = 512 };
_Static_assert(NARROW_TILE *(2 * NARROW_K + NARROW_TILE) <= ZT_CPU_SCRATCH,
               "a tile and its operands fit the scratch");

/* Length of the pieces that n is cut into, at most `most`; all but the last are
 * equal and a multiple of 32. */
static int64_t piece_of(int64_t n, int64_t most) {
  int64_t pieces = (n + most - 1) / most;
  int64_t piece = (n + pieces - 1) / pieces;
  return (piece + 31) / 32 * 32;
}

static int64_t count_of(int64_t n, int64_t piece) {
  return (n + piece - 1) / piece;
}

/* Tile rows and columns.  Wide tiles first: with k long, packing is little. */
static void choose_tiles(const zt_gemm *call, int64_t *rows, int64_t *cols) {
  int64_t most = 4 * TILE;
  do {
    *rows = piece_of(call->m, most);
    *cols = piece_of(call->n, most);
    if (count_of(call->m, *rows) * count_of(call->n, *cols) >= WANTED_TILES)
      return;
    most /= 2;
  } while (most >= TILE / 2);
}

static bool is_small(const zt_gemm *call) {
  return call->k <= ZT_CPU_SMALL_K &&
         call->m * call->n * call->k <= ZT_CPU_SMALL_WORK;
}

static void run_tile(const zt_cpu_device *cpu, const zt_gemm *call, int64_t i,
                     int64_t j, int64_t m, int64_t n) {
  if (is_small(call)) {
    cpu->k->gemm_small(call, i, j, m, n);
    return;
  }
  const float *a = call->a.data, *b = call->b.data;
  float *c = (float *) call->c.data + i * call->c.ld + j;
  a += call->transpose_a ? i : i * call->a.ld;
  b += call->transpose_b ? j * call->b.ld : j;
  cblas_sgemm(CblasRowMajor, call->transpose_a ? CblasTrans : CblasNoTrans,
              call->transpose_b ? CblasTrans : CblasNoTrans, (int) m, (int) n,
              (int) call->k, call->alpha, a, (int) call->a.ld, b,
              (int) call->b.ld, call->beta, c, (int) call->c.ld);
}

/* ---- bf16 ---- */

/* A part of a matrix as fp32: where it lies, or widened. */
static const float *widened(const zt_cpu_device *cpu, const zt_matrix *from,
                            int64_t row, int64_t col, int64_t rows,
                            int64_t cols, float *room, int64_t *ld) {
  int64_t at = row * from->ld + col;
  *ld = from->ld;
  if (from->dtype == ZT_FP32)
    return (const float *) from->data + at;
  *ld = cols;
  for (int64_t r = 0; r < rows; r++)
    cpu->k->widen((const uint16_t *) from->data + at + r * from->ld,
                  room + r * cols, cols);
  return room;
}

static void narrowed(const zt_cpu_device *cpu, const float *tile, int64_t m,
                     int64_t n, const zt_matrix *to, int64_t i, int64_t j) {
  for (int64_t r = 0; r < m; r++)
    cpu->k->narrow(tile + r * n, (uint16_t *) to->data + (i + r) * to->ld + j,
                   n);
}

/* The sum over pieces of k is fp32 and rounded once. */
static void run_narrow_tile(const zt_cpu_device *cpu, const zt_gemm *call,
                            int64_t i, int64_t j, int64_t m, int64_t n) {
  float *room = zt_cpu_scratch(cpu, zt_cpu_thread());
  float *room_b = room + NARROW_TILE * NARROW_K;
  float *room_c = room_b + NARROW_TILE * NARROW_K;
  bool ta = call->transpose_a, tb = call->transpose_b;
  int64_t lda, ldb, ldc = n;
  float *c = room_c;
  if (call->c.dtype == ZT_FP32) {
    ldc = call->c.ld;
    c = (float *) call->c.data + i * ldc + j;
  } else if (call->beta != 0) {
    widened(cpu, &call->c, i, j, m, n, room_c, &ldc);
  }
  for (int64_t at = 0; at < call->k; at += NARROW_K) {
    int64_t k = call->k - at < NARROW_K ? call->k - at : NARROW_K;
    const float *a = widened(cpu, &call->a, ta ? at : i, ta ? i : at,
                             ta ? k : m, ta ? m : k, room, &lda);
    const float *b = widened(cpu, &call->b, tb ? j : at, tb ? at : j,
                             tb ? n : k, tb ? k : n, room_b, &ldb);
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans,
                tb ? CblasTrans : CblasNoTrans, (int) m, (int) n, (int) k,
                call->alpha, a, (int) lda, b, (int) ldb,
                at == 0 ? call->beta : 1, c, (int) ldc);
  }
  if (call->c.dtype == ZT_BF16)
    narrowed(cpu, c, m, n, &call->c, i, j);
}

zt_status zt_cpu_gemm(zt_device *dev, const zt_gemm *call) {
  const zt_cpu_device *cpu = (const zt_cpu_device *) dev;
  bool narrow = call->a.dtype == ZT_BF16;
  if (call->rows_alone) {
    zt_cpu_gemm_rows_alone(cpu, call);
    return ZT_OK;
  }
  int64_t rows = NARROW_TILE, cols = NARROW_TILE;
  if (!narrow)
    choose_tiles(call, &rows, &cols);
  int64_t across = count_of(call->n, cols);
  int64_t tiles = count_of(call->m, rows) * across;
  int team = tiles > 1 && (narrow || !is_small(call)) ? cpu->threads : 1;
#pragma omp parallel for schedule(dynamic) num_threads(team)
  for (int64_t t = 0; t < tiles; t++) {
    int64_t i = t / across * rows, j = t % across * cols;
    int64_t m = call->m - i < rows ? call->m - i : rows;
    int64_t n = call->n - j < cols ? call->n - j : cols;
    if (narrow)
      run_narrow_tile(cpu, call, i, j, m, n);
    else
      run_tile(cpu, call, i, j, m, n);
  }
  return ZT_OK;
}
