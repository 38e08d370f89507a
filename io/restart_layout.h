/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Where each element of a restart lies: parts, grid cells, file offsets.
 *
 *  A part holds the slices of consecutive ranks.  Within it the slices of one
 *  unit are neighbours and make one segment, which begins on the grid, so that
 *  a cell of a unit is a cell of exactly one part whatever the ranks were. */
#ifndef ZT_IO_RESTART_LAYOUT_H
#define ZT_IO_RESTART_LAYOUT_H

#include "base/grid.h"
#include "base/text.h"
#include "io/restart.h"

enum { ZT_CELL_BYTES = ZT_GRID * sizeof(float) };

typedef struct zt_part {
  int first, ranks;        /* of the writing run */
  int states;              /* ZT_STATES, or ZT_MASTER alone */
  int64_t cells;           /* of each state */
  int64_t bytes;           /* of the file */
  int64_t checksums;       /* offset of /checksums */
  int64_t data[ZT_STATES]; /* offsets of the states */
} zt_part;

/** Ends the name of a restart while another one of its step takes its place. */
#define ZT_REPLACED ".replaced"

/** The version of a restart that holds so many states. */
const char *zt_restart_version(int states);
/** What a manifest calls the offset of a state: "master_at", ... */
const char *zt_state_place(int state);
/** "part-00012.h5" */
void zt_part_name(int index, char name[32]);

/** Cells of unit sizes cut for `ranks`, as ranks first .. first + count - 1
 *  hold them, and where those of each unit begin.
 *  \param[out] start  [n_units + 1] first cell of each unit; may be NULL
 *  \return their number. */
int64_t zt_part_cells(const int64_t *unit_numel, int n_units, int ranks,
                      int first, int count, int64_t *start);

/** Checksum of one cell, ZT_CELL_BYTES bytes; what is beyond the unit is 0. */
uint64_t zt_cell_checksum(const void *cell);
/** What entry `index` of a part's table adds to the part's table sum. */
uint64_t zt_table_mix(int64_t index, uint64_t checksum);

/* ---- The seal ---- */

/** A digest of bytes, XXH3-128. */
typedef struct zt_hash {
  uint64_t low, high;
} zt_hash;

zt_hash zt_hash_bytes(const void *bytes, size_t n);
/** The same of a file's first n bytes.  \return ZT_ERR_IO, ZT_ERR_MEMORY. */
zt_status zt_hash_file(int fd, const char *path, int64_t n, zt_hash *hash);

/** What COMMIT says of a part. */
typedef struct zt_part_seal {
  int64_t bytes;
  zt_hash front;  /* of everything before /checksums */
  uint64_t table; /* sum of zt_table_mix() over /checksums */
} zt_part_seal;

typedef struct zt_seal {
  const char *version; /* to format */
  int64_t manifest_bytes;
  zt_hash manifest;
  zt_part_seal *parts;
  int n_parts;
} zt_seal;

/** The text of COMMIT. */
void zt_seal_format(const zt_seal *seal, zt_text *text);
/** \param[out] seal     free() its parts
 *  \param[out] damaged  the last line does not fit the others; in all versions
 *                       it is made as it is now, so that a newer one is told
 *                       from a damaged one
 *  \return ZT_ERR_DATA naming what is wrong. */
zt_status zt_seal_parse(const char *path, const char *text, size_t size,
                        zt_seal *seal, bool *damaged);

#endif
