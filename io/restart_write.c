/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/format.h"
#include "io/output.h"
#include "io/restart_layout.h"
#include "io/restart_skeleton.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STAGED_CELLS = 256 }; /* 4 MiB: what is on its way to a file */

struct zt_restart_writer {
  char *dir;
  zt_comm *comm;
  const zt_params *params;
  zt_shard shard;
  int64_t *unit_numel; /* [units] */
  json_t *fixed;       /* what every manifest says */
  zt_part *parts;
  zt_hash *fronts; /* [parts] hash of everything before the checksums */
  int n_parts, mine;
  int64_t *part_start; /* [units + 1] first cell of each unit in my part */
  char *front;         /* the part's leader alone: the bytes before them */
  /* Checksums of this rank's cells: of each state [cells], in cell order. */
  uint64_t *sums[ZT_STATES];
  int64_t cells;
  float *staging;
};

/* ---- Preparation ---- */

/* Consecutive ranks share a part: those of a node, or a fixed number. */
static zt_status choose_parts(zt_restart_writer *w, int ranks_per_part) {
  size_t capacity = 0;
  for (int rank = 0; rank < w->comm->size;) {
    int first = rank, count = ranks_per_part;
    if (ranks_per_part == 0)
      zt_comm_node_range(w->comm, rank, &first, &count);
    if (count > w->comm->size - rank)
      count = w->comm->size - rank;
    if (!zt_grow(&w->parts, &capacity, (size_t) w->n_parts, sizeof *w->parts))
      return ZT_ERR_MEMORY;
    w->parts[w->n_parts] =
        (zt_part){.first = rank,
                  .ranks = count,
                  .cells = zt_part_cells(w->unit_numel, w->params->n_units,
                                         w->comm->size, rank, count, NULL)};
    if (w->comm->rank >= rank && w->comm->rank < rank + count)
      w->mine = w->n_parts;
    w->n_parts++;
    rank += count;
  }
  return ZT_OK;
}

static bool is_leader(const zt_restart_writer *w) {
  return w->comm->rank == w->parts[w->mine].first;
}

static zt_status prepare_memory(zt_restart_writer *w, int ranks_per_part) {
  size_t units = (size_t) w->params->n_units;
  ZT_TRY(zt_shard_init(&w->shard, w->params, w->comm->size, w->comm->rank));
  w->unit_numel = zt_calloc(units, sizeof *w->unit_numel);
  w->part_start = zt_calloc(units + 1, sizeof *w->part_start);
  w->staging = zt_calloc(STAGED_CELLS, ZT_CELL_BYTES);
  if (!w->unit_numel || !w->part_start || !w->staging)
    return ZT_ERR_MEMORY;
  for (size_t u = 0; u < units; u++)
    w->unit_numel[u] = w->params->units[u].numel;
  ZT_TRY(choose_parts(w, ranks_per_part));
  const zt_part *part = &w->parts[w->mine];
  zt_part_cells(w->unit_numel, w->params->n_units, w->comm->size, part->first,
                part->ranks, w->part_start);
  w->cells = zt_part_cells(w->unit_numel, w->params->n_units, w->comm->size,
                           w->comm->rank, 1, NULL);
  for (int s = 0; s < ZT_STATES; s++)
    if (!(w->sums[s] = zt_calloc((size_t) w->cells, sizeof *w->sums[s])))
      return ZT_ERR_MEMORY;
  w->fronts = zt_calloc((size_t) w->n_parts, sizeof *w->fronts);
  return w->fronts ? ZT_OK : ZT_ERR_MEMORY;
}

static zt_status make_directory(const char *dir) {
  if (mkdir(dir, 0777) == 0 || errno == EEXIST)
    return ZT_OK;
  return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot make the directory", dir);
}

/* Layout is known to the leaders: an integer sum brings it to all. */
static zt_status share_layout(zt_restart_writer *w) {
  enum { FIELDS = 4 + ZT_STATES };
  size_t n = (size_t) w->n_parts;
  int64_t *table = zt_calloc(n * FIELDS, sizeof *table);
  ZT_TRY(zt_agree(w->comm, table ? ZT_OK : ZT_ERR_MEMORY));
  if (is_leader(w)) {
    const zt_part *p = &w->parts[w->mine];
    const zt_hash *hash = &w->fronts[w->mine];
    int64_t *t = table + w->mine * FIELDS;
    memcpy(t, &hash->low, sizeof *t);
    memcpy(t + 1, &hash->high, sizeof *t);
    t[2] = p->bytes;
    t[3] = p->checksums;
    memcpy(t + 4, p->data, sizeof p->data);
  }
  zt_status status =
      zt_comm_all_reduce(w->comm, table, (int) (n * FIELDS), ZT_SUM);
  for (size_t i = 0; i < n && status == ZT_OK; i++) {
    const int64_t *t = table + i * FIELDS;
    memcpy(&w->fronts[i].low, t, sizeof *t);
    memcpy(&w->fronts[i].high, t + 1, sizeof *t);
    w->parts[i].bytes = t[2];
    w->parts[i].checksums = t[3];
    memcpy(w->parts[i].data, t + 4, sizeof w->parts[i].data);
  }
  free(table);
  return status;
}

static zt_status lay_out(zt_restart_writer *w, zt_source *source) {
  if (!is_leader(w))
    return ZT_OK;
  ZT_TRY(zt_restart_skeleton(w->dir, w->params, w->comm->size, w->mine,
                             w->mine == 0 ? source : NULL, &w->parts[w->mine],
                             &w->front));
  w->fronts[w->mine] =
      zt_hash_bytes(w->front, (size_t) w->parts[w->mine].checksums);
  return ZT_OK;
}

/* What every manifest says: the model, its units, parameters and names. */
static zt_status describe(zt_restart_writer *w, json_t *model,
                          const zt_source *source) {
  json_t *units = json_array(), *list = json_array(), *aliases = json_object();
  for (int u = 0; u < w->params->n_units; u++)
    json_array_append_new(
        units, json_pack("{s:s, s:I, s:I}", "name", w->params->units[u].name,
                         "start", (json_int_t) w->params->units[u].start,
                         "numel", (json_int_t) w->params->units[u].numel));
  for (int i = 0; i < w->params->count; i++) {
    const zt_param *p = &w->params->list[i];
    json_t *shape = json_array();
    for (int d = 0; d < p->ndim; d++)
      json_array_append_new(shape, json_integer(p->dims[d]));
    json_array_append_new(
        list,
        json_pack("{s:s, s:o, s:I}", "name", p->name, "shape", shape, "start",
                  (json_int_t) (w->params->units[p->unit].start + p->at)));
  }
  /* An export has the names of the source, also those that are tied. */
  for (int i = 0; i < source->n_tensors; i++) {
    const char *name = source->tensors[i].name;
    int param = zt_params_find_any(w->params, name);
    if (param >= 0 && strcmp(w->params->list[param].name, name) != 0)
      json_object_set_new(aliases, name,
                          json_string(w->params->list[param].name));
  }
  w->fixed = json_pack("{s:O, s:o, s:o, s:o}", "model", model, "units", units,
                       "parameters", list, "aliases", aliases);
  return w->fixed ? ZT_OK : zt_fail(ZT_ERR_MEMORY, "out of memory (manifest)");
}

zt_status zt_restart_writer_create(const char *dir, const zt_params *params,
                                   json_t *model, zt_source *source,
                                   int ranks_per_part, zt_comm *comm,
                                   zt_restart_writer **writer) {
  zt_restart_writer *w = zt_calloc(1, sizeof *w);
  ZT_TRY(zt_agree(comm, w ? ZT_OK : ZT_ERR_MEMORY));
  w->comm = comm;
  w->params = params;
  w->dir = zt_strdup(dir);
  zt_status status = w->dir ? ZT_OK : ZT_ERR_MEMORY;
  if (status == ZT_OK)
    status = prepare_memory(w, ranks_per_part);
  if (status == ZT_OK && comm->rank == 0)
    status = describe(w, model, source);
  if (status == ZT_OK && comm->rank == 0)
    status = make_directory(dir);
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = zt_agree(comm, lay_out(w, source));
  if (status == ZT_OK)
    status = share_layout(w);
  if (status != ZT_OK) {
    zt_restart_writer_destroy(&w);
    return status;
  }
  *writer = w;
  return ZT_OK;
}

void zt_restart_writer_destroy(zt_restart_writer **writer) {
  zt_restart_writer *w = *writer;
  if (!w)
    return;
  for (int s = 0; s < ZT_STATES; s++)
    free(w->sums[s]);
  zt_shard_free(&w->shard);
  json_decref(w->fixed);
  free(w->dir);
  free(w->unit_numel);
  free(w->part_start);
  free(w->parts);
  free(w->fronts);
  free(w->front);
  free(w->staging);
  free(w);
  *writer = NULL;
}

/* ---- Parts ---- */

static zt_status part_path(const char *dir, int part, char path[PATH_MAX]) {
  char name[32];
  zt_part_name(part, name);
  return zt_path(path, "%s/%s", dir, name);
}

/* The leader makes the file, with room for all of it. */
static zt_status create_part(const zt_restart_writer *w, const char *dir) {
  char path[PATH_MAX];
  const zt_part *part = &w->parts[w->mine];
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_LAYOUT));
  ZT_TRY(part_path(dir, w->mine, path));
  zt_output out = {.temporary = path,
                   .fd =
                       open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666)};
  if (out.fd < 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", path);
  zt_status status = zt_output_reserve(&out, part->bytes);
  if (status == ZT_OK)
    status = zt_write_at(out.fd, path, w->front, (size_t) part->checksums, 0);
  if (close(out.fd) != 0 && status == ZT_OK)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
  return status;
}

/* Neighbouring cells of one state, from memory into the part. */
static zt_status write_cells(zt_restart_writer *w, const zt_restart_save *save,
                             int fd, const char *path, int state, int64_t at,
                             int64_t cell, int64_t n, uint64_t *sums) {
  const zt_part *part = &w->parts[w->mine];
  for (int64_t i = 0; i < n; i += STAGED_CELLS) {
    int64_t m = n - i < STAGED_CELLS ? n - i : STAGED_CELLS;
    ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_WRITE));
    ZT_TRY(save->read(save->context, state, at + i * ZT_GRID, m * ZT_GRID,
                      w->staging));
    for (int64_t c = 0; c < m; c++)
      sums[i + c] = zt_cell_checksum(w->staging + c * ZT_GRID);
    ZT_TRY(zt_write_at(fd, path, w->staging, (size_t) m * ZT_CELL_BYTES,
                       part->data[state] + (cell + i) * ZT_CELL_BYTES));
  }
  return zt_write_at(fd, path, sums, (size_t) n * sizeof *sums,
                     part->checksums +
                         (state * part->cells + cell) * (int64_t) sizeof *sums);
}

/* This rank's slices of one state; adds to the part's table sum. */
static zt_status write_state(zt_restart_writer *w, const zt_restart_save *save,
                             int fd, const char *path, int state,
                             uint64_t *table) {
  const zt_part *part = &w->parts[w->mine];
  uint64_t *sums = w->sums[state];
  for (int u = 0; u < w->params->n_units; u++) {
    int64_t begin, end, first, last;
    zt_shard_range(w->unit_numel[u], w->comm->size, w->comm->rank, 1, &begin,
                   &end);
    zt_shard_range(w->unit_numel[u], w->comm->size, part->first, part->ranks,
                   &first, &last);
    int64_t n = zt_grid_cells(end - begin);
    int64_t cell = w->part_start[u] + (begin - first) / ZT_GRID;
    if (n == 0)
      continue;
    ZT_TRY(
        write_cells(w, save, fd, path, state, w->shard.at[u], cell, n, sums));
    for (int64_t c = 0; c < n; c++)
      *table += zt_table_mix(state * part->cells + cell + c, sums[c]);
    sums += n;
  }
  return ZT_OK;
}

static zt_status write_slices(zt_restart_writer *w, const zt_restart_save *save,
                              const char *dir, uint64_t *table) {
  char path[PATH_MAX];
  ZT_TRY(part_path(dir, w->mine, path));
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot open", path);
  zt_status status = ZT_OK;
  for (int s = 0; s < ZT_STATES && status == ZT_OK; s++)
    status = write_state(w, save, fd, path, s, table);
  if (status == ZT_OK)
    status = zt_fault_check(ZT_FAULT_RESTART_SYNC);
  if (status == ZT_OK)
    status = zt_sync(fd, path);
  if (close(fd) != 0 && status == ZT_OK)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
  return status;
}

/* ---- Manifest and seal ---- */

static zt_status make_manifest(const zt_restart_writer *w,
                               const zt_restart_save *save, char **text) {
  char digest[17], version[16];
  snprintf(digest, sizeof digest, "%016" PRIx64, save->digest);
  snprintf(version, sizeof version, "%d.%d", ZT_RESTART_MAJOR,
           ZT_RESTART_MINOR);
  json_t *parts = json_array();
  for (int i = 0; i < w->n_parts; i++) {
    const zt_part *p = &w->parts[i];
    char name[32];
    zt_part_name(i, name);
    json_array_append_new(
        parts,
        json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "file", name,
                  "first_rank", p->first, "ranks", p->ranks, "cells",
                  (json_int_t) p->cells, "bytes", (json_int_t) p->bytes,
                  "checksums_at", (json_int_t) p->checksums, "master_at",
                  (json_int_t) p->data[ZT_MASTER], "exp_avg_at",
                  (json_int_t) p->data[ZT_EXP_AVG], "exp_avg_sq_at",
                  (json_int_t) p->data[ZT_EXP_AVG_SQ]));
  }
  json_t *m = json_pack(
      "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:i, s:i, s:o, s:O, s:O}",
      "format", ZT_FORMAT_RESTART, "version", version, "step",
      (json_int_t) save->step, "updates", (json_int_t) save->updates, "epoch",
      (json_int_t) save->epoch, "position", (json_int_t) save->position,
      "metrics_bytes", (json_int_t) save->metrics_bytes, "digest", digest,
      "ranks", w->comm->size, "grid", (int) ZT_GRID, "parts", parts,
      "configuration", save->configuration, "provenance", save->provenance);
  if (m)
    json_object_update(m, w->fixed);
  *text = m ? json_dumps(m, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
  json_decref(m);
  return *text ? ZT_OK : zt_fail(ZT_ERR_MEMORY, "out of memory (manifest)");
}

/* A small file, durable. */
static zt_status write_file(const char *dir, const char *name, const char *text,
                            size_t n) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/%s", dir, name));
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", path);
  zt_status status = zt_write_at(fd, path, text, n, 0);
  if (status == ZT_OK)
    status = zt_sync(fd, path);
  if (close(fd) != 0 && status == ZT_OK)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
  return status;
}

static zt_status write_seal(const zt_restart_writer *w, const char *dir,
                            const char *manifest, const uint64_t *tables) {
  zt_seal seal = {.manifest_bytes = (int64_t) strlen(manifest),
                  .manifest = zt_hash_bytes(manifest, strlen(manifest)),
                  .n_parts = w->n_parts};
  seal.parts = zt_calloc((size_t) w->n_parts, sizeof *seal.parts);
  if (!seal.parts)
    return ZT_ERR_MEMORY;
  for (int i = 0; i < w->n_parts; i++)
    seal.parts[i] = (zt_part_seal){
        .bytes = w->parts[i].bytes, .front = w->fronts[i], .table = tables[i]};
  zt_text text = {0};
  zt_seal_format(&seal, &text);
  zt_status status = text.failed
                         ? zt_fail(ZT_ERR_MEMORY, "out of memory (seal)")
                         : write_file(dir, ZT_COMMIT, text.data, text.size);
  zt_text_free(&text);
  free(seal.parts);
  return status;
}

/* The rename that makes it a restart.  Should one of this step stand there, it
 * goes only when the new one has taken its place. */
static zt_status put_in_place(const char *dir, const char *final) {
  if (rename(dir, final) == 0)
    return zt_sync_directory(final);
  if (errno != EEXIST && errno != ENOTEMPTY)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot rename", dir);
  if (renameat2(AT_FDCWD, dir, AT_FDCWD, final, RENAME_EXCHANGE) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot replace", final);
  ZT_TRY(zt_sync_directory(final));
  zt_restart_remove(dir);
  return ZT_OK;
}

static zt_status commit(const zt_restart_writer *w, const zt_restart_save *save,
                        const char *dir, const char *final,
                        const uint64_t *tables, int64_t *bytes) {
  char *manifest;
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_SEAL));
  ZT_TRY(make_manifest(w, save, &manifest));
  zt_status status = write_file(dir, ZT_MANIFEST, manifest, strlen(manifest));
  if (status == ZT_OK)
    status = write_seal(w, dir, manifest, tables);
  *bytes = (int64_t) strlen(manifest);
  free(manifest);
  ZT_TRY(status);
  char inside[PATH_MAX];
  ZT_TRY(zt_path(inside, "%s/.", dir));
  ZT_TRY(zt_sync_directory(inside));
  return put_in_place(dir, final);
}

/* ---- A save ---- */

static zt_status write_all(zt_restart_writer *w, const zt_restart_save *save,
                           const char *dir, const char *final, uint64_t *tables,
                           int64_t *bytes) {
  bool root = w->comm->rank == 0;
  if (root)
    zt_restart_remove(dir);
  ZT_TRY(zt_agree(w->comm, root ? make_directory(dir) : ZT_OK));
  ZT_TRY(zt_agree(w->comm, is_leader(w) ? create_part(w, dir) : ZT_OK));
  ZT_TRY(zt_agree(w->comm, write_slices(w, save, dir, &tables[w->mine])));
  ZT_TRY(zt_comm_all_reduce(w->comm, (int64_t *) tables, w->n_parts, ZT_SUM));
  return zt_agree(w->comm,
                  root ? commit(w, save, dir, final, tables, bytes) : ZT_OK);
}

zt_status zt_restart_write(zt_restart_writer *writer,
                           const zt_restart_save *save, int64_t *bytes) {
  char dir[PATH_MAX], final[PATH_MAX];
  ZT_TRY(zt_path(final, "%s/step-%09" PRId64, writer->dir, save->step));
  ZT_TRY(zt_path(dir, "%s.tmp", final));
  uint64_t *tables = zt_calloc((size_t) writer->n_parts, sizeof *tables);
  ZT_TRY(zt_agree(writer->comm, tables ? ZT_OK : ZT_ERR_MEMORY));
  *bytes = 0;
  zt_status status = write_all(writer, save, dir, final, tables, bytes);
  for (int i = 0; i < writer->n_parts; i++)
    *bytes += writer->parts[i].bytes;
  if (status != ZT_OK && writer->comm->rank == 0) {
    char message[ZT_MESSAGE_SIZE];
    snprintf(message, sizeof message, "%s", zt_last_error());
    zt_restart_remove(dir);
    status = zt_fail(status, "%s", message);
  }
  free(tables);
  return status;
}
