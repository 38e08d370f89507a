/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Who owns which elements of a unit.
 *
 *  Every unit is cut into equal slices, one a rank, whose length is a multiple
 *  of ZT_GRID; the last slices may be partly or wholly padding, which lives in
 *  memory only.  The same grid serves gradient norm, checksums and direct I/O,
 *  and its cells do not depend on the number of ranks. */
#ifndef ZT_LAYOUT_SHARD_H
#define ZT_LAYOUT_SHARD_H

#include "base/grid.h"
#include "layout/params.h"

#include <stdint.h>

/** Length of each rank's slice of a unit of numel elements, with padding. */
int64_t zt_shard_slice(int64_t numel, int ranks);
/** Elements [*begin, *end) of the unit that `count` consecutive ranks own,
 *  without padding; empty if all of it is padding. */
void zt_shard_range(int64_t numel, int ranks, int first, int count,
                    int64_t *begin, int64_t *end);

/** A rank's padded slices of all units, laid out one after the other: the
 *  shape of master weights, moments and gradient accumulators in memory. */
typedef struct zt_shard {
  int ranks, rank;
  int n_units;
  int64_t *slice; /* elements of the slice of each unit, padding included */
  int64_t *at;    /* where that slice starts in the shard */
  int64_t numel;  /* of the whole shard */
} zt_shard;

zt_status zt_shard_init(zt_shard *shard, const zt_params *params, int ranks,
                        int rank);
void zt_shard_free(zt_shard *shard);

/** The elements of a parameter that lie in the rank's slice of its unit.
 *  \param[out] first  one of them, in the parameter
 *  \param[out] at     its place in the slice
 *  \return how many; 0: none, then neither is set */
int64_t zt_shard_part(const zt_shard *shard, const zt_param *param,
                      int64_t *first, int64_t *at);

#endif
