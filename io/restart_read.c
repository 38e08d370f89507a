/* SPDX-License-Identifier: BSD-3-Clause */
/* The data of an open restart, each cell verified by whoever reads it. */
#include "base/memory.h"
#include "io/restart_inside.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- Cursors ---- */

enum { CELLS_BYTES = ZT_READ_CELLS * ZT_CELL_BYTES };

void zt_restart_cursor_init(zt_restart_cursor *cursor, sem_t *flight) {
  *cursor = (zt_restart_cursor){
      .part = -1, .file = {.fd = -1, .direct = -1, .flight = flight}};
}

void zt_restart_cursor_close(zt_restart_cursor *cursor) {
  zt_direct_close(&cursor->file);
  zt_direct_memory_free(cursor->cells, CELLS_BYTES);
  cursor->cells = NULL;
  cursor->part = -1;
}

static zt_status make_cells(float **cells) {
  *cells = zt_direct_memory(CELLS_BYTES);
  return *cells
             ? ZT_OK
             : zt_fail(ZT_ERR_MEMORY, "out of memory (%d bytes)", CELLS_BYTES);
}

static zt_status open_part(const zt_restart *r, zt_restart_cursor *c,
                           int part) {
  char name[32];
  sem_t *flight = c->file.flight;
  if (c->part == part)
    return ZT_OK;
  zt_direct_close(&c->file);
  c->part = -1;
  zt_part_name(part, name);
  ZT_TRY(zt_path(c->path, "%s/%s", r->path, name));
  zt_status status = zt_direct_open(&c->file, c->path, O_RDONLY);
  c->file.flight = flight;
  if (status != ZT_OK)
    return ZT_ERR_IO;
  c->part = part;
  return ZT_OK;
}

/* ---- Cells ---- */

static zt_status damaged_cell(const zt_restart *r, const char *path, int state,
                              int64_t cell, int64_t flat) {
  json_t *list = json_object_get(r->manifest, flat < r->numel - r->statistics
                                                  ? "parameters"
                                                  : "statistics");
  const char *name = "?";
  for (size_t i = 0; i < json_array_size(list); i++) {
    json_t *entry = json_array_get(list, i);
    if (json_integer_value(json_object_get(entry, "start")) > flat)
      break;
    name = json_string_value(json_object_get(entry, "name"));
  }
  return zt_fail(ZT_ERR_DATA, "%s: /%s, chunk %" PRId64 " (%.60s) is damaged",
                 path, zt_state_name(state), cell, name);
}

zt_status zt_restart_read_cells(const zt_restart *r, zt_restart_cursor *c,
                                int part, int state, int64_t cell, int64_t n,
                                int64_t flat, float *cells) {
  const zt_part *p = &r->inside->parts[part].part;
  uint64_t sums[ZT_READ_CELLS];
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_READ));
  ZT_TRY(open_part(r, c, part));
  if (!cells && !c->cells)
    ZT_TRY(make_cells(&c->cells));
  if (!cells)
    cells = c->cells;
  ZT_TRY(zt_direct_read(&c->file, cells, (size_t) n * ZT_CELL_BYTES,
                        p->data[state] + cell * ZT_CELL_BYTES));
  ZT_TRY(zt_direct_read(&c->file, sums, (size_t) n * sizeof *sums,
                        p->checksums + (state * p->cells + cell) * 8));
  for (int64_t i = 0; i < n; i++)
    if (zt_cell_checksum(cells + i * ZT_GRID) != sums[i])
      return damaged_cell(r, c->path, state, cell + i, flat + i * ZT_GRID);
  return ZT_OK;
}

/* ---- Elements ---- */

/* Elements begin .. end - 1 of a unit, all in one part. */
static zt_status read_in_part(const zt_restart *r, zt_restart_cursor *c,
                              int state, int unit, int part, int64_t begin,
                              int64_t end, float *values) {
  const zt_restart_inside *in = r->inside;
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
    /* Whole cells go straight to where they are wanted. */
    bool whole = begin == at && stop == at + n * ZT_GRID &&
                 (uintptr_t) values % ZT_DIRECT_ALIGN == 0;
    ZT_TRY(zt_restart_read_cells(
        r, c, part, state, in->parts[part].start[unit] + cell, n,
        in->unit_start[unit] + at, whole ? values : NULL));
    if (!whole)
      memcpy(values, c->cells + (begin - at),
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

static zt_status read_elements(const zt_restart *r, zt_restart_cursor *c,
                               int state, int64_t begin, int64_t count,
                               float *values) {
  const zt_restart_inside *in = r->inside;
  int64_t end = begin + count;
  while (begin < end) {
    int unit = unit_at(in, begin);
    int64_t numel = in->unit_numel[unit], at = begin - in->unit_start[unit];
    int rank = (int) (at / zt_shard_slice(numel, r->ranks));
    int part = part_of(in, rank);
    int64_t first, last;
    zt_shard_range(numel, r->ranks, in->parts[part].part.first,
                   in->parts[part].part.ranks, &first, &last);
    int64_t stop =
        last < end - in->unit_start[unit] ? last : end - in->unit_start[unit];
    ZT_TRY(read_in_part(r, c, state, unit, part, at, stop, values));
    values += stop - at;
    begin += stop - at;
  }
  return ZT_OK;
}

zt_status zt_restart_read(zt_restart *restart, int state, int64_t begin,
                          int64_t count, float *values) {
  return read_elements(restart, &restart->inside->cursor, state, begin, count,
                       values);
}

/* ---- A whole shard ---- */

/* Disk, checksums and whoever takes the values work at the same time. */
typedef struct shard_read {
  const zt_restart *restart;
  const zt_params *params;
  const zt_shard *shard;
  const zt_restart_sink *sink;
  pthread_mutex_t next_lock, put_lock;
  sem_t flight;
  int state, unit;  /* of the next piece, under next_lock */
  int64_t at;       /* in the unit's slice */
  zt_status status; /* of the first failure */
  char message[ZT_MESSAGE_SIZE];
} shard_read;

/* A piece of one unit's slice, without padding. */
typedef struct shard_piece {
  int state;
  int64_t flat, at, n; /* in the flat space, in the shard */
} shard_piece;

/* In the order of the file, so that the disk reads on. */
static bool next_piece(shard_read *job, shard_piece *piece) {
  bool found = false;
  pthread_mutex_lock(&job->next_lock);
  while (!found && job->status == ZT_OK && job->state < job->restart->states) {
    const zt_unit *unit = &job->params->units[job->unit];
    int64_t begin, end;
    zt_shard_range(unit->numel, job->shard->ranks, job->shard->rank, 1, &begin,
                   &end);
    int64_t left = end - begin - job->at;
    *piece =
        (shard_piece){.state = job->state,
                      .flat = unit->start + begin + job->at,
                      .at = job->shard->at[job->unit] + job->at,
                      .n = left < ZT_RESTART_PIECE ? left : ZT_RESTART_PIECE};
    found = left > 0;
    job->at += ZT_RESTART_PIECE;
    if (job->at >= end - begin) {
      job->at = 0;
      job->unit = (job->unit + 1) % job->params->n_units;
      job->state += job->unit == 0;
    }
  }
  pthread_mutex_unlock(&job->next_lock);
  return found;
}

static void stop_reading(shard_read *job, zt_status status) {
  pthread_mutex_lock(&job->next_lock);
  if (job->status == ZT_OK) {
    job->status = status;
    snprintf(job->message, sizeof job->message, "%s", zt_last_error());
  }
  pthread_mutex_unlock(&job->next_lock);
}

static zt_status read_pieces(shard_read *job, zt_restart_cursor *cursor,
                             float **buffer) {
  const zt_restart_sink *sink = job->sink;
  shard_piece p;
  while (next_piece(job, &p)) {
    float *values = sink->place(sink->context, p.state, p.at);
    if (!values && !*buffer)
      ZT_TRY(make_cells(buffer));
    if (!values)
      values = *buffer;
    ZT_TRY(read_elements(job->restart, cursor, p.state, p.flat, p.n, values));
    pthread_mutex_lock(&job->put_lock);
    zt_status status = sink->put(sink->context, p.state, p.at, p.n, values);
    pthread_mutex_unlock(&job->put_lock);
    ZT_TRY(status);
  }
  return ZT_OK;
}

static void *read_hand(void *argument) {
  shard_read *job = argument;
  zt_restart_cursor cursor;
  zt_restart_cursor_init(&cursor, &job->flight);
  float *buffer = NULL;
  zt_status status = read_pieces(job, &cursor, &buffer);
  if (status != ZT_OK)
    stop_reading(job, status);
  zt_direct_memory_free(buffer, CELLS_BYTES);
  zt_restart_cursor_close(&cursor);
  return NULL;
}

zt_status zt_restart_read_shard(const zt_restart *restart,
                                const zt_params *params, const zt_shard *shard,
                                const zt_restart_sink *sink) {
  shard_read job = {
      .restart = restart, .params = params, .shard = shard, .sink = sink};
  pthread_t helpers[ZT_HANDS];
  bool helps[ZT_HANDS] = {false};
  pthread_mutex_init(&job.next_lock, NULL);
  pthread_mutex_init(&job.put_lock, NULL);
  sem_init(&job.flight, 0, ZT_FLIGHT);
  for (int i = 1; i < ZT_HANDS; i++)
    helps[i] = pthread_create(&helpers[i], NULL, read_hand, &job) == 0;
  read_hand(&job);
  for (int i = 1; i < ZT_HANDS; i++)
    if (helps[i])
      pthread_join(helpers[i], NULL);
  pthread_mutex_destroy(&job.next_lock);
  pthread_mutex_destroy(&job.put_lock);
  sem_destroy(&job.flight);
  return job.status == ZT_OK ? ZT_OK : zt_fail(job.status, "%s", job.message);
}
