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

zt_status zt_cpu_gemm(zt_device *dev, const zt_gemm *call) {
  const zt_cpu_device *cpu = (const zt_cpu_device *) dev;
  int64_t rows, cols;
  choose_tiles(call, &rows, &cols);
  int64_t across = count_of(call->n, cols);
  int64_t tiles = count_of(call->m, rows) * across;
  int team = tiles > 1 && !is_small(call) ? cpu->threads : 1;
#pragma omp parallel for schedule(dynamic) num_threads(team)
  for (int64_t t = 0; t < tiles; t++) {
    int64_t i = t / across * rows, j = t % across * cols;
    run_tile(cpu, call, i, j, call->m - i < rows ? call->m - i : rows,
             call->n - j < cols ? call->n - j : cols);
  }
  return ZT_OK;
}
