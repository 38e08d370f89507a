/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/json.h"
#include "base/memory.h"
#include "comm/agree.h"
#include "io/format.h"
#include "io/output.h"
#include "io/restart_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST_COMMIT = 64 << 20 };

/* ---- The manifest ---- */

/* Fails with `damaged` set only where bytes are proven wrong. */
static zt_status read_units(zt_restart *r) {
  zt_restart_inside *in = r->inside;
  json_t *units = json_object_get(r->manifest, "units");
  int64_t start = 0;
  in->n_units = (int) json_array_size(units);
  if (in->n_units < 1)
    return zt_fail(ZT_ERR_DATA, "%s/%s: no units", r->path, ZT_MANIFEST);
  in->unit_numel = zt_calloc((size_t) in->n_units, sizeof *in->unit_numel);
  in->unit_start = zt_calloc((size_t) in->n_units + 1, sizeof(int64_t));
  if (!in->unit_numel || !in->unit_start)
    return ZT_ERR_MEMORY;
  for (int u = 0; u < in->n_units; u++) {
    ZT_TRY(zt_json_int(json_array_get(units, (size_t) u), r->path, "numel",
                       true, 1, INT64_MAX / 16, &in->unit_numel[u]));
    in->unit_start[u] = start;
    if (zt_add_overflows(start, in->unit_numel[u], &start))
      return zt_fail(ZT_ERR_DATA, "%s/%s: impossible sizes", r->path,
                     ZT_MANIFEST);
  }
  in->unit_start[in->n_units] = start;
  return ZT_OK;
}

static zt_status read_part(zt_restart *r, int index, json_t *json) {
  zt_restart_inside *in = r->inside;
  zt_part *p = &in->parts[index].part;
  int64_t first, ranks;
  static const char *const keys[] = {"master_at", "exp_avg_at",
                                     "exp_avg_sq_at"};
  ZT_TRY(zt_json_int(json, r->path, "first_rank", true, 0, r->ranks, &first));
  ZT_TRY(zt_json_int(json, r->path, "ranks", true, 1, r->ranks, &ranks));
  ZT_TRY(zt_json_int(json, r->path, "bytes", true, 1, INT64_MAX, &p->bytes));
  ZT_TRY(zt_json_int(json, r->path, "checksums_at", true, 1, p->bytes,
                     &p->checksums));
  for (int s = 0; s < ZT_STATES; s++)
    ZT_TRY(zt_json_int(json, r->path, keys[s], true, 0, p->bytes, &p->data[s]));
  p->first = (int) first;
  p->ranks = (int) ranks;
  in->parts[index].start =
      zt_calloc((size_t) in->n_units + 1, sizeof *in->parts[index].start);
  if (!in->parts[index].start)
    return ZT_ERR_MEMORY;
  p->cells = zt_part_cells(in->unit_numel, in->n_units, r->ranks, p->first,
                           p->ranks, in->parts[index].start);
  int expected =
      index ? in->parts[index - 1].part.first + in->parts[index - 1].part.ranks
            : 0;
  for (int s = 0; s < ZT_STATES; s++)
    if (p->first != expected ||
        p->data[s] > p->bytes - p->cells * ZT_CELL_BYTES)
      return zt_fail(ZT_ERR_DATA, "%s/%s: part %d cannot be", r->path,
                     ZT_MANIFEST, index);
  return ZT_OK;
}

static zt_status read_parts(zt_restart *r, int n_sealed) {
  zt_restart_inside *in = r->inside;
  json_t *parts = json_object_get(r->manifest, "parts");
  in->n_parts = (int) json_array_size(parts);
  in->parts = zt_calloc((size_t) in->n_parts, sizeof *in->parts);
  if (!in->parts)
    return ZT_ERR_MEMORY;
  if (in->n_parts < 1 || (n_sealed >= 0 && in->n_parts != n_sealed))
    return zt_fail(ZT_ERR_DATA, "%s/%s: %d parts, but the seal has %d", r->path,
                   ZT_MANIFEST, in->n_parts, n_sealed);
  for (int i = 0; i < in->n_parts; i++)
    ZT_TRY(read_part(r, i, json_array_get(parts, (size_t) i)));
  const zt_part *last = &in->parts[in->n_parts - 1].part;
  if (last->first + last->ranks != r->ranks)
    return zt_fail(ZT_ERR_DATA, "%s/%s: parts of %d ranks, but it has %d",
                   r->path, ZT_MANIFEST, last->first + last->ranks, r->ranks);
  return ZT_OK;
}

static zt_status read_manifest(zt_restart *r, int n_sealed) {
  json_t *m = r->manifest;
  int64_t ranks, grid;
  const char *digest;
  const struct {
    const char *key;
    int64_t *value;
  } integers[] = {{"step", &r->step},
                  {"updates", &r->updates},
                  {"epoch", &r->epoch},
                  {"position", &r->position},
                  {"metrics_bytes", &r->metrics_bytes}};
  for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
    ZT_TRY(zt_json_int(m, r->path, integers[i].key, true, 0, INT64_MAX,
                       integers[i].value));
  ZT_TRY(zt_json_int(m, r->path, "ranks", true, 1, INT_MAX, &ranks));
  ZT_TRY(zt_json_int(m, r->path, "grid", true, ZT_GRID, ZT_GRID, &grid));
  ZT_TRY(zt_json_string(m, r->path, "digest", true, &digest));
  if (sscanf(digest, "%16" SCNx64, &r->digest) != 1)
    return zt_fail(ZT_ERR_DATA, "%s/%s: bad digest", r->path, ZT_MANIFEST);
  r->ranks = (int) ranks;
  ZT_TRY(read_units(r));
  return read_parts(r, n_sealed);
}

/* ---- Verification ---- */

/* On rank 0: the seal, and the manifest that it seals. */
static zt_status read_sealed(zt_restart *r, zt_seal *seal, char **manifest,
                             bool *damaged) {
  char path[PATH_MAX], *text;
  size_t size;
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_OPEN));
  ZT_TRY(zt_path(path, "%s/%s", r->path, ZT_COMMIT));
  ZT_TRY(zt_read_file(path, MOST_COMMIT, &text, &size));
  zt_status status = zt_seal_parse(path, text, size, seal);
  free(text);
  if (status == ZT_ERR_DATA && !strstr(zt_last_error(), "newer"))
    *damaged = true;
  ZT_TRY(status);
  ZT_TRY(zt_path(path, "%s/%s", r->path, ZT_MANIFEST));
  status = zt_read_file(path, ZT_MOST_MANIFEST, manifest, &size);
  if (status == ZT_ERR_NOINPUT)
    *damaged = true;
  ZT_TRY(status);
  zt_hash hash = zt_hash_bytes(*manifest, size);
  if ((int64_t) size != seal->manifest_bytes ||
      memcmp(&hash, &seal->manifest, sizeof hash) != 0) {
    *damaged = true;
    return zt_fail(ZT_ERR_DATA, "%s: does not fit the seal in %s", path,
                   ZT_COMMIT);
  }
  return ZT_OK;
}

static zt_status mismatch(const zt_restart *r, int part, const char *what,
                          bool *damaged) {
  char name[32];
  zt_part_name(part, name);
  *damaged = true;
  return zt_fail(ZT_ERR_DATA, "%s/%s: %s does not fit the seal", r->path, name,
                 what);
}

/* The table of checksums, and the zeros up to the page where data begins. */
static zt_status sum_table(zt_restart *r, int part, int fd, const char *path,
                           uint64_t *sum, bool *zeros) {
  enum { PIECE = 1 << 15 };
  const zt_part *p = &r->inside->parts[part].part;
  int64_t entries = ZT_STATES * p->cells;
  int64_t words = (p->data[0] - p->checksums) / 8;
  uint64_t *buffer = zt_calloc(PIECE, sizeof *buffer);
  zt_status status = buffer ? ZT_OK : ZT_ERR_MEMORY;
  *sum = 0;
  *zeros = true;
  for (int64_t at = 0; at < words && status == ZT_OK; at += PIECE) {
    int64_t n = words - at < PIECE ? words - at : PIECE;
    status =
        zt_read_at(fd, path, buffer, (size_t) n * 8, p->checksums + at * 8);
    for (int64_t i = 0; i < n && status == ZT_OK; i++)
      if (at + i < entries)
        *sum += zt_table_mix(at + i, buffer[i]);
      else
        *zeros = *zeros && buffer[i] == 0;
  }
  free(buffer);
  return status;
}

static zt_status verify_open_part(zt_restart *r, int part, int fd,
                                  const char *path, const zt_part_seal *seal,
                                  bool *damaged) {
  const zt_part *p = &r->inside->parts[part].part;
  struct stat st;
  zt_hash front;
  uint64_t table;
  bool zeros;
  if (fstat(fd, &st) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot stat", path);
  if (st.st_size != seal->bytes || st.st_size != p->bytes)
    return mismatch(r, part, "its size", damaged);
  ZT_TRY(zt_hash_file(fd, path, p->checksums, &front));
  if (memcmp(&front, &seal->front, sizeof front) != 0)
    return mismatch(r, part, "its header", damaged);
  if (p->cells == 0)
    return ZT_OK;
  ZT_TRY(sum_table(r, part, fd, path, &table, &zeros));
  if (table != seal->table || !zeros)
    return mismatch(r, part, "its checksum table", damaged);
  return ZT_OK;
}

/* Ranks share the parts; a part that is not there is damage. */
static zt_status verify_parts(zt_restart *r, const zt_part_seal *seals,
                              bool *damaged) {
  for (int i = r->comm->rank; i < r->inside->n_parts; i += r->comm->size) {
    char name[32], path[PATH_MAX];
    zt_part_name(i, name);
    ZT_TRY(zt_path(path, "%s/%s", r->path, name));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      *damaged = errno == ENOENT;
      return zt_fail_errno(ZT_ERR_DATA, "%s: cannot open", path);
    }
    zt_status status = verify_open_part(r, i, fd, path, &seals[i], damaged);
    close(fd);
    ZT_TRY(status);
  }
  return ZT_OK;
}

/* ---- Opening ---- */

/* Rank 0's manifest and part seals on every rank. */
static zt_status share(zt_restart *r, zt_seal *seal, char **manifest) {
  int64_t sizes[2] = {0, 0};
  if (r->comm->rank == 0) {
    sizes[0] = seal->manifest_bytes;
    sizes[1] = seal->n_parts;
  }
  ZT_TRY(zt_comm_broadcast(r->comm, sizes, sizeof sizes, 0));
  size_t seals = (size_t) sizes[1] * sizeof *seal->parts;
  zt_status status = ZT_OK;
  if (r->comm->rank != 0) {
    *manifest = zt_calloc((size_t) sizes[0] + 1, 1);
    seal->parts = zt_calloc((size_t) sizes[1], sizeof *seal->parts);
    if (!*manifest || !seal->parts)
      status = ZT_ERR_MEMORY;
  }
  ZT_TRY(zt_agree(r->comm, status));
  seal->manifest_bytes = sizes[0];
  seal->n_parts = (int) sizes[1];
  ZT_TRY(zt_comm_broadcast(r->comm, *manifest, (size_t) sizes[0], 0));
  return zt_comm_broadcast(r->comm, seal->parts, seals, 0);
}

static zt_status open_all(zt_restart *r, zt_seal *seal, char **manifest,
                          bool *damaged) {
  zt_status status = ZT_OK;
  if (r->comm->rank == 0)
    status = read_sealed(r, seal, manifest, damaged);
  ZT_TRY(zt_agree(r->comm, status));
  ZT_TRY(share(r, seal, manifest));
  status = zt_json_parse(*manifest, (size_t) seal->manifest_bytes, r->path,
                         &r->manifest);
  if (status == ZT_OK)
    status = read_manifest(r, seal->n_parts);
  ZT_TRY(zt_agree(r->comm, status));
  return zt_agree(r->comm, verify_parts(r, seal->parts, damaged));
}

zt_status zt_restart_open(const char *path, zt_comm *comm, zt_restart **restart,
                          bool *damaged) {
  bool proven = false;
  zt_seal seal = {0};
  char *manifest = NULL;
  zt_restart *r = zt_calloc(1, sizeof *r);
  zt_status status = r ? ZT_OK : ZT_ERR_MEMORY;
  if (r) {
    r->comm = comm;
    r->path = zt_strdup(path);
    r->inside = zt_calloc(1, sizeof *r->inside);
    if (!r->path || !r->inside)
      status = ZT_ERR_MEMORY;
    else
      zt_restart_inside_init(r);
  }
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = open_all(r, &seal, &manifest, &proven);
  free(manifest);
  free(seal.parts);
  if (status != ZT_OK) {
    /* All must know, since all fall back together. */
    int64_t word = proven;
    char message[ZT_MESSAGE_SIZE];
    snprintf(message, sizeof message, "%s", zt_last_error());
    ZT_TRY(zt_comm_all_reduce(comm, &word, 1, ZT_MAX));
    if (damaged)
      *damaged = word != 0;
    zt_restart_close(&r);
    return zt_fail(status, "%s", message);
  }
  if (damaged)
    *damaged = false;
  *restart = r;
  return ZT_OK;
}

void zt_restart_inside_init(zt_restart *r) {
  const char *slash = strrchr(r->path, '/');
  snprintf(r->name, sizeof r->name, "%.31s", slash ? slash + 1 : r->path);
  r->inside->open_part = -1;
  r->inside->fd = -1;
}

void zt_restart_close(zt_restart **restart) {
  zt_restart *r = *restart;
  if (!r)
    return;
  zt_restart_inside *in = r->inside;
  if (in) {
    if (in->fd >= 0)
      close(in->fd);
    for (int i = 0; in->parts && i < in->n_parts; i++)
      free(in->parts[i].start);
    free(in->parts);
    free(in->unit_numel);
    free(in->unit_start);
    free(in->cells);
    free(in);
  }
  json_decref(r->manifest);
  free(r->path);
  free(r);
  *restart = NULL;
}

zt_status zt_restart_check_params(const zt_restart *restart,
                                  const zt_params *params) {
  json_t *list = json_object_get(restart->manifest, "parameters");
  bool same = json_array_size(list) == (size_t) params->count;
  for (int i = 0; same && i < params->count; i++) {
    json_t *entry = json_array_get(list, (size_t) i);
    json_t *shape = json_object_get(entry, "shape");
    const char *name = json_string_value(json_object_get(entry, "name"));
    const zt_param *p = &params->list[i];
    same = name && !strcmp(name, p->name) &&
           json_array_size(shape) == (size_t) p->ndim;
    for (int d = 0; same && d < p->ndim; d++)
      same =
          json_integer_value(json_array_get(shape, (size_t) d)) == p->dims[d];
    if (!same)
      return zt_fail(ZT_ERR_DATA,
                     "%s: its parameter %d is %s, but the model has %s there",
                     restart->path, i, name ? name : "?", p->name);
  }
  return same ? ZT_OK
              : zt_fail(ZT_ERR_DATA,
                        "%s: its parameters are not those of the model",
                        restart->path);
}

/* ---- Data ---- */

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

/* n cells of the open part into the buffer, each verified. */
static zt_status read_cells(zt_restart *r, int state, int64_t cell, int64_t n,
                            int64_t flat) {
  zt_restart_inside *in = r->inside;
  const zt_part *p = &in->parts[in->open_part].part;
  uint64_t sums[ZT_READ_CELLS];
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_READ));
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
  ZT_TRY(open_part(r, part));
  zt_shard_range(in->unit_numel[unit], r->ranks, p->first, p->ranks, &first,
                 &last);
  while (begin < end) {
    int64_t cell = (begin - first) / ZT_GRID;
    int64_t at = first + cell * ZT_GRID; /* of the first cell, in the unit */
    int64_t n = zt_grid_cells(end - at);
    if (n > ZT_READ_CELLS)
      n = ZT_READ_CELLS;
    int64_t stop = at + n * ZT_GRID < end ? at + n * ZT_GRID : end;
    ZT_TRY(read_cells(r, state, in->parts[part].start[unit] + cell, n,
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
  if (!in->cells && !(in->cells = zt_calloc(ZT_READ_CELLS, ZT_CELL_BYTES)))
    return ZT_ERR_MEMORY;
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
