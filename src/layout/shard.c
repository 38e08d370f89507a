/* SPDX-License-Identifier: BSD-3-Clause */
#include "layout/shard.h"

#include "base/memory.h"

#include <stdlib.h>

int64_t zt_shard_slice(int64_t numel, int ranks) {
  int64_t cells = zt_grid_cells(numel);
  return (cells + ranks - 1) / ranks * ZT_GRID;
}

void zt_shard_range(int64_t numel, int ranks, int first, int count,
                    int64_t *begin, int64_t *end) {
  int64_t slice = zt_shard_slice(numel, ranks);
  int64_t b = first * slice, e = (first + count) * slice;
  *begin = b < numel ? b : numel;
  *end = e < numel ? e : numel;
}

zt_status zt_shard_init(zt_shard *shard, const zt_params *params, int ranks,
                        int rank) {
  size_t n = (size_t) params->n_units;
  *shard = (zt_shard){.ranks = ranks,
                      .rank = rank,
                      .n_units = params->n_units,
                      .slice = zt_calloc(n, sizeof *shard->slice),
                      .at = zt_calloc(n, sizeof *shard->at)};
  if (!shard->slice || !shard->at) {
    zt_shard_free(shard);
    return ZT_ERR_MEMORY;
  }
  for (size_t u = 0; u < n; u++) {
    shard->slice[u] = zt_shard_slice(params->units[u].numel, ranks);
    shard->at[u] = shard->numel;
    shard->numel += shard->slice[u];
  }
  return ZT_OK;
}

void zt_shard_free(zt_shard *shard) {
  free(shard->slice);
  free(shard->at);
  *shard = (zt_shard){0};
}

int64_t zt_shard_part(const zt_shard *shard, const zt_param *param,
                      int64_t *first, int64_t *at) {
  int64_t slice = shard->slice[param->unit], begin = slice * shard->rank;
  int64_t from = param->at > begin ? param->at : begin;
  int64_t end = param->at + param->numel;
  if (end > begin + slice)
    end = begin + slice;
  if (from >= end)
    return 0;
  *first = from - param->at;
  *at = from - begin;
  return end - from;
}
