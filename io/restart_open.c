/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening a restart: seal, manifest and layout, verified before any data. */
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

/* All states, or those that the manifest lists: the first one alone. */
static zt_status read_states(zt_restart *r) {
  json_t *states = json_object_get(r->manifest, "states");
  const char *name = json_string_value(json_array_get(states, 0));
  r->states = states ? 1 : ZT_STATES;
  if (!states || (json_array_size(states) == 1 && name &&
                  !strcmp(name, zt_state_name(ZT_MASTER))))
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA, "%s/%s: these states cannot be", r->path,
                 ZT_MANIFEST);
}

static zt_status read_part(zt_restart *r, int index, json_t *json) {
  zt_restart_inside *in = r->inside;
  zt_part *p = &in->parts[index].part;
  int64_t first, ranks;
  p->states = r->states;
  ZT_TRY(zt_json_int(json, r->path, "first_rank", true, 0, r->ranks, &first));
  ZT_TRY(zt_json_int(json, r->path, "ranks", true, 1, r->ranks, &ranks));
  ZT_TRY(zt_json_int(json, r->path, "bytes", true, 1, INT64_MAX, &p->bytes));
  ZT_TRY(zt_json_int(json, r->path, "checksums_at", true, 1, p->bytes,
                     &p->checksums));
  for (int s = 0; s < p->states; s++)
    ZT_TRY(zt_json_int(json, r->path, zt_state_place(s), true, 0, p->bytes,
                       &p->data[s]));
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
  for (int s = 0; s < p->states; s++)
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

/* Restarts of version 1.0, and of runs without evaluations, have none. */
static zt_status read_evaluation(zt_restart *r) {
  json_t *best = json_object_get(r->manifest, "best");
  r->evaluated = r->best_step = -1;
  ZT_TRY(zt_json_int(r->manifest, r->path, "evaluated", false, 0, INT64_MAX,
                     &r->evaluated));
  if (!best)
    return ZT_OK;
  ZT_TRY(zt_json_int(best, r->path, "step", true, 0, r->step, &r->best_step));
  return zt_json_real(best, r->path, "loss", true, &r->best_loss);
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
  ZT_TRY(read_evaluation(r));
  ZT_TRY(read_units(r));
  ZT_TRY(read_states(r));
  ZT_TRY(read_parts(r, n_sealed));
  return zt_restart_check_manifest(r);
}

/* ---- Verification ---- */

zt_status zt_restart_agree(zt_comm *comm, zt_status status, bool *damaged) {
  int64_t proven = status != ZT_OK && *damaged;
  ZT_TRY(zt_comm_all_reduce(comm, &proven, 1, ZT_MAX));
  if (proven && !*damaged)
    status = ZT_OK;
  *damaged = proven != 0;
  return zt_agree(comm, status);
}

/* One of the two small files, which belong to every restart: where the
 * directory can be looked into and it is not there, that is damage. */
static zt_status read_small(const zt_restart *r, const char *name, size_t most,
                            char **text, size_t *size, bool *damaged) {
  char path[PATH_MAX];
  struct stat st;
  ZT_TRY(zt_path(path, "%s/%s", r->path, name));
  zt_status status = zt_read_file(path, most, text, size);
  if (status == ZT_ERR_NOINPUT && stat(path, &st) != 0 && errno == ENOENT &&
      stat(r->path, &st) == 0 && S_ISDIR(st.st_mode)) {
    *damaged = true;
    return zt_fail(ZT_ERR_DATA, "%s: is missing: no restart, or a damaged one",
                   path);
  }
  if (status == ZT_ERR_DATA) /* longer than any can be */
    *damaged = true;
  return status;
}

/* On rank 0: the seal, and the manifest that it seals. */
static zt_status read_sealed(zt_restart *r, zt_seal *seal, char **manifest,
                             bool *damaged) {
  char path[PATH_MAX], *text;
  size_t size;
  ZT_TRY(read_small(r, ZT_COMMIT, MOST_COMMIT, &text, &size, damaged));
  ZT_TRY(zt_path(path, "%s/%s", r->path, ZT_COMMIT));
  zt_status status = zt_seal_parse(path, text, size, seal, damaged);
  free(text);
  ZT_TRY(status);
  ZT_TRY(
      read_small(r, ZT_MANIFEST, ZT_MOST_MANIFEST, manifest, &size, damaged));
  zt_hash hash = zt_hash_bytes(*manifest, size);
  if ((int64_t) size != seal->manifest_bytes ||
      memcmp(&hash, &seal->manifest, sizeof hash) != 0) {
    *damaged = true;
    return zt_fail(ZT_ERR_DATA, "%s/%s: does not fit the seal in %s", r->path,
                   ZT_MANIFEST, ZT_COMMIT);
  }
  return ZT_OK;
}

/* A whole restart under the name of another one. */
static zt_status check_name(const zt_restart *r, bool *damaged) {
  int64_t step;
  int used = 0;
  if (sscanf(r->name, "step-%" SCNd64 "%n", &step, &used) != 1 ||
      r->name[used] || step == r->step)
    return ZT_OK;
  *damaged = true;
  return zt_fail(ZT_ERR_DATA, "%s: this is the restart of step %" PRId64,
                 r->path, r->step);
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
  int64_t entries = p->states * p->cells;
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
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
      *damaged = errno == ENOENT;
      return zt_fail_errno(*damaged ? ZT_ERR_DATA : ZT_ERR_IO,
                           "%s: cannot open", path);
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
  ZT_TRY(zt_restart_agree(r->comm, status, damaged));
  ZT_TRY(share(r, seal, manifest));
  status = zt_fault_check(ZT_FAULT_RESTART_OPEN);
  if (status == ZT_OK)
    status = zt_json_parse(*manifest, (size_t) seal->manifest_bytes, r->path,
                           &r->manifest);
  if (status == ZT_OK)
    status = read_manifest(r, seal->n_parts);
  if (status == ZT_OK)
    status = check_name(r, damaged);
  ZT_TRY(zt_restart_agree(r->comm, status, damaged));
  status = verify_parts(r, seal->parts, damaged);
  return zt_restart_agree(r->comm, status, damaged);
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
  if (damaged)
    *damaged = proven;
  if (status != ZT_OK)
    zt_restart_close(&r);
  else
    *restart = r;
  return status;
}

void zt_restart_inside_init(zt_restart *r) {
  const char *slash = strrchr(r->path, '/');
  snprintf(r->name, sizeof r->name, "%.31s", slash ? slash + 1 : r->path);
  zt_restart_cursor_init(&r->inside->cursor, NULL);
}

void zt_restart_close(zt_restart **restart) {
  zt_restart *r = *restart;
  if (!r)
    return;
  zt_restart_inside *in = r->inside;
  if (in) {
    zt_restart_cursor_close(&in->cursor);
    for (int i = 0; in->parts && i < in->n_parts; i++)
      free(in->parts[i].start);
    free(in->parts);
    free(in->unit_numel);
    free(in->unit_start);
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
