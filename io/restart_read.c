/* SPDX-License-Identifier: BSD-3-Clause */
/* The data of an open restart, each cell verified by whoever reads it. */
#include "base/memory.h"
#include "io/output.h"
#include "io/restart_inside.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The part that holds the slice of a rank. */
static int part_of(const zt_restart_inside *in, int rank) {
  int low = 0, high = in->n_parts - 1;
  while (low < high) {
    int mid = (low + high + 1) / 2;
    if (in->parts[mid].part.first <= rank)
      low = mid;
    else
      high = mid - 1;
  }
  return low;
}

static zt_status open_part(zt_restart *r, int part) {
  zt_restart_inside *in = r->inside;
  char name[32];
  if (in->open_part == part)
    return ZT_OK;
  if (in->fd >= 0)
    close(in->fd);
  in->open_part = -1;
  zt_part_name(part, name);
  ZT_TRY(zt_path(in->part_path, "%s/%s", r->path, name));
  in->fd = open(in->part_path, O_RDONLY | O_CLOEXEC);
  if (in->fd < 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot open", in->part_path);
  in->open_part = part;
  return ZT_OK;
}

static zt_status damaged_cell(const zt_restart *r, int state, int64_t cell,
                              int64_t flat) {
  json_t *list = json_object_get(r->manifest, "parameters");
  const char *name = "?";
  for (size_t i = 0; i < json_array_size(list); i++) {
    json_t *entry = json_array_get(list, i);
    if (json_integer_value(json_object_get(entry, "start")) > flat)
      break;
    name = json_string_value(json_object_get(entry, "name"));
  }
  return zt_fail(ZT_ERR_DATA, "%s: /%s, chunk %" PRId64 " (%.60s) is damaged",
                 r->inside->part_path, zt_state_name(state), cell, name);
}

zt_status zt_restart_read_cells(zt_restart *r, int part, int state,
                                int64_t cell, int64_t n, int64_t flat) {
  zt_restart_inside *in = r->inside;
  const zt_part *p = &in->parts[part].part;
  uint64_t sums[ZT_READ_CELLS];
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_READ));
  if (!in->cells && !(in->cells = zt_calloc(ZT_READ_CELLS, ZT_CELL_BYTES)))
    return ZT_ERR_MEMORY;
  ZT_TRY(open_part(r, part));
  ZT_TRY(zt_read_at(in->fd, in->part_path, in->cells,
                    (size_t) n * ZT_CELL_BYTES,
                    p->data[state] + cell * ZT_CELL_BYTES));
  ZT_TRY(zt_read_at(in->fd, in->part_path, sums, (size_t) n * sizeof *sums,
                    p->checksums + (state * p->cells + cell) * 8));
  for (int64_t c = 0; c < n; c++)
    if (zt_cell_checksum(in->cells + c * ZT_GRID) != sums[c])
      return damaged_cell(r, state, cell + c, flat + c * ZT_GRID);
  return ZT_OK;
}

/* Elements begin .. end - 1 of a unit, all in one part. */
static zt_status read_in_part(zt_restart *r, int state, int unit, int part,
                              int64_t begin, int64_t end, float *values) {
  zt_restart_inside *in = r->inside;
  const zt_part *p = &in->parts[part].part;
  int64_t first, last;
  zt_shard_range(in->unit_numel[unit], r->ranks, p->first, p->ranks, &first,
                 &last);
  while (begin < end) {
    int64_t cell = (begin - first) / ZT_GRID;
    int64_t at = first + cell * ZT_GRID; /* of the first cell, in the unit */
    int64_t n = zt_grid_cells(end - at);
    if (n > ZT_READ_CELLS)
      n = ZT_READ_CELLS;
    int64_t stop = at + n * ZT_GRID < end ? at + n * ZT_GRID : end;
    ZT_TRY(zt_restart_read_cells(r, part, state,
                                 in->parts[part].start[unit] + cell, n,
                                 in->unit_start[unit] + at));
    memcpy(values, in->cells + (begin - at),
           (size_t) (stop - begin) * sizeof *values);
    values += stop - begin;
    begin = stop;
  }
  return ZT_OK;
}

static int unit_at(const zt_restart_inside *in, int64_t flat) {
  int low = 0, high = in->n_units - 1;
  while (low < high) {
    int mid = (low + high + 1) / 2;
    if (in->unit_start[mid] <= flat)
      low = mid;
    else
      high = mid - 1;
  }
  return low;
}

zt_status zt_restart_read(zt_restart *restart, int state, int64_t begin,
                          int64_t count, float *values) {
  zt_restart_inside *in = restart->inside;
  int64_t end = begin + count;
  while (begin < end) {
    int unit = unit_at(in, begin);
    int64_t numel = in->unit_numel[unit], at = begin - in->unit_start[unit];
    int rank = (int) (at / zt_shard_slice(numel, restart->ranks));
    int part = part_of(in, rank);
    int64_t first, last;
    zt_shard_range(numel, restart->ranks, in->parts[part].part.first,
                   in->parts[part].part.ranks, &first, &last);
    int64_t stop =
        last < end - in->unit_start[unit] ? last : end - in->unit_start[unit];
    ZT_TRY(read_in_part(restart, state, unit, part, at, stop, values));
    values += stop - at;
    begin += stop - at;
  }
  return ZT_OK;
}
