/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Inside of an open restart, for the files that read one. */
#ifndef ZT_IO_RESTART_INSIDE_H
#define ZT_IO_RESTART_INSIDE_H

#include "io/direct.h"
#include "io/restart_layout.h"

#include <limits.h>

enum { ZT_READ_CELLS = ZT_RESTART_PIECE / ZT_GRID }; /* read at once */

typedef struct zt_restart_part {
  zt_part part;
  int64_t *start; /* [units + 1] first cell of each unit */
} zt_restart_part;

/** Where somebody reads; each thread has its own. */
typedef struct zt_restart_cursor {
  int part; /* that is open, -1: none */
  zt_direct file;
  char path[PATH_MAX]; /* of the part */
  float *cells;        /* [ZT_READ_CELLS * ZT_GRID], made when first needed */
} zt_restart_cursor;

typedef struct zt_restart_inside {
  int n_units, n_parts;
  int64_t *unit_numel, *unit_start; /* [units], [units + 1] */
  zt_restart_part *parts;
  zt_restart_cursor cursor;
} zt_restart_inside;

/** \param[in] flight  of the files it opens: shared by the cursors of several
 *                      threads, or NULL */
void zt_restart_cursor_init(zt_restart_cursor *cursor, sem_t *flight);
void zt_restart_cursor_close(zt_restart_cursor *cursor);

void zt_restart_inside_init(zt_restart *r);

/** Check the parameters, statistics and aliases of a manifest whose units are
 *  known: names, shapes, places; sets numel and statistics.  Local.
 *  \return ZT_ERR_DATA, ZT_ERR_MEMORY. */
zt_status zt_restart_check_manifest(zt_restart *r);

/** Cells of one state of a part, each verified.  Local.
 *  \param[in]  n      at most ZT_READ_CELLS, all of one unit
 *  \param[in]  flat   of their first element, for messages
 *  \param[out] cells  [n * ZT_GRID], best page-aligned; NULL: the cursor's own
 *  \return ZT_ERR_DATA naming part, cell and parameter; ZT_ERR_IO. */
zt_status zt_restart_read_cells(const zt_restart *r, zt_restart_cursor *cursor,
                                int part, int state, int64_t cell, int64_t n,
                                int64_t flat, float *cells);

#endif
