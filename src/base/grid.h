/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The one grid: slice edges, partial sums of the gradient norm, checksums and
 *  direct I/O all lie on multiples of ZT_GRID elements of a unit. */
#ifndef ZT_BASE_GRID_H
#define ZT_BASE_GRID_H

#include <stdint.h>

enum { ZT_GRID = 4096 }; /* elements */

/** Grid cells that cover n elements. */
static inline int64_t zt_grid_cells(int64_t n) {
  return (n + ZT_GRID - 1) / ZT_GRID;
}

#endif
