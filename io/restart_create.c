/* SPDX-License-Identifier: BSD-3-Clause */
/* Making a restart writer: parts, skeletons, blocks. */
#include "base/memory.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "io/output.h"
#include "io/restart_skeleton.h"
#include "io/restart_views.h"
#include "io/restart_writer.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

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
                  .states = w->states,
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

static zt_status make_keys(zt_restart_writer *w) {
  size_t n = (size_t) w->params->count;
  for (int s = 0; s < w->states; s++) {
    if (!(w->keys[s] = zt_calloc(n, sizeof *w->keys[s])))
      return ZT_ERR_MEMORY;
    for (size_t i = 0; i < n; i++) {
      const zt_param *p = &w->params->list[i];
      w->keys[s][i] =
          zt_digest_key(zt_state_group(s), p->name, p->ndim, p->dims);
    }
  }
  return ZT_OK;
}

static zt_status prepare_memory(zt_restart_writer *w,
                                const zt_restart_options *options) {
  size_t units = (size_t) w->params->n_units;
  ZT_TRY(zt_shard_init(&w->shard, w->params, w->comm->size, w->comm->rank));
  w->unit_numel = zt_calloc(units, sizeof *w->unit_numel);
  if (!w->unit_numel)
    return ZT_ERR_MEMORY;
  for (size_t u = 0; u < units; u++)
    w->unit_numel[u] = w->params->units[u].numel;
  ZT_TRY(choose_parts(w, options->ranks_per_part));
  w->fronts = zt_calloc((size_t) w->n_parts, sizeof *w->fronts);
  w->tables = zt_calloc((size_t) w->n_parts, sizeof *w->tables);
  if (!w->fronts || !w->tables)
    return ZT_ERR_MEMORY;
  ZT_TRY(make_keys(w));
  return zt_blocks_create(w, options->staging);
}

/* A restart is as durable as the names that lead to it. */
static zt_status make_directory(const char *dir) {
  struct stat st;
  if (stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
    return ZT_OK;
  if (mkdir(dir, 0777) == 0)
    return zt_sync_directory(dir);
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
  ZT_TRY(zt_restart_skeleton(w->params, w->comm->size, w->mine,
                             w->mine == 0 ? source : NULL, &w->parts[w->mine],
                             &w->front));
  w->fronts[w->mine] =
      zt_hash_bytes(w->front, (size_t) w->parts[w->mine].checksums);
  return ZT_OK;
}

static json_t *describe_param(const zt_restart_writer *w, int index) {
  const zt_param *p = &w->params->list[index];
  json_t *shape = json_array();
  for (int d = 0; d < p->ndim; d++)
    json_array_append_new(shape, json_integer(p->dims[d]));
  return json_pack("{s:s, s:o, s:I}", "name", p->name, "shape", shape, "start",
                   (json_int_t) (w->params->units[p->unit].start + p->at));
}

/* What every manifest says: the model, its units, parameters and names, and
 * what is kept of the optimizer where that is not the moments. */
static zt_status describe(zt_restart_writer *w, json_t *model,
                          const zt_source *source) {
  json_t *units = json_array(), *list = json_array(), *aliases = json_object();
  json_t *statistics = json_array();
  const bool moments = w->states == ZT_STATES;
  const int model_units = w->params->n_units - !moments;
  for (int u = 0; u < w->params->n_units; u++)
    json_array_append_new(
        units, json_pack("{s:s, s:I, s:I}", "name", w->params->units[u].name,
                         "start", (json_int_t) w->params->units[u].start,
                         "numel", (json_int_t) w->params->units[u].numel));
  for (int i = 0; i < w->params->count; i++)
    json_array_append_new(w->params->list[i].unit < model_units ? list
                                                                : statistics,
                          describe_param(w, i));
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
  if (w->fixed && !moments)
    json_object_update_new(w->fixed, json_pack("{s:[s], s:O}", "states",
                                               zt_state_name(ZT_MASTER),
                                               "statistics", statistics));
  json_decref(statistics);
  return w->fixed ? ZT_OK : zt_fail(ZT_ERR_MEMORY, "out of memory (manifest)");
}

/* Rank 0, which knows the manifest; once the layout of all parts is known. */
static zt_status make_views(zt_restart_writer *w) {
  if (w->comm->rank != 0)
    return ZT_OK;
  return zt_views_make(&(zt_views){.manifest = w->fixed,
                                   .unit_numel = w->unit_numel,
                                   .n_units = w->params->n_units,
                                   .states = w->states,
                                   .ranks = w->comm->size,
                                   .parts = w->parts,
                                   .n_parts = w->n_parts},
                       &w->views, &w->views_size);
}

zt_status zt_restart_writer_create(const char *dir, const zt_params *params,
                                   json_t *model, zt_source *source,
                                   const zt_restart_options *options,
                                   zt_comm *comm, zt_restart_writer **writer) {
  zt_restart_writer *w = zt_calloc(1, sizeof *w);
  ZT_TRY(zt_agree(comm, w ? ZT_OK : ZT_ERR_MEMORY));
  w->comm = comm;
  w->params = params;
  w->states = options->statistics ? 1 : ZT_STATES;
  w->dir = zt_strdup(dir);
  zt_status status = w->dir ? ZT_OK : ZT_ERR_MEMORY;
  if (status == ZT_OK)
    status = prepare_memory(w, options);
  if (status == ZT_OK && comm->rank == 0)
    status = describe(w, model, source);
  if (status == ZT_OK && comm->rank == 0)
    status = make_directory(dir);
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = zt_agree(comm, lay_out(w, source));
  if (status == ZT_OK)
    status = share_layout(w);
  if (status == ZT_OK)
    status = zt_agree(comm, make_views(w));
  if (status == ZT_OK)
    status = zt_agree(comm, zt_writer_thread_start(w));
  if (status != ZT_OK) {
    zt_restart_writer_destroy(&w);
    return status;
  }
  zt_writer_post(w, ZT_JOB_MEASURE);
  *writer = w;
  return ZT_OK;
}

void zt_restart_writer_destroy(zt_restart_writer **writer) {
  zt_restart_writer *w = *writer;
  if (!w)
    return;
  zt_writer_thread_stop(w);
  zt_blocks_destroy(w);
  for (int s = 0; s < ZT_STATES; s++)
    free(w->keys[s]);
  zt_shard_free(&w->shard);
  json_decref(w->fixed);
  free(w->dir);
  free(w->unit_numel);
  free(w->parts);
  free(w->fronts);
  free(w->front);
  free(w->views);
  free(w->tables);
  free(w->manifest);
  free(w);
  *writer = NULL;
}
