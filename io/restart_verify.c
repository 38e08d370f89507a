/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading all of a restart to see that it is what was written. */
#include "base/memory.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "io/restart_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* A parameter, as the digest counts it. */
typedef struct counted {
  int64_t start, numel; /* in the global flat space */
  uint64_t key[ZT_STATES];
} counted;

typedef struct verification {
  zt_restart *restart;
  counted *params; /* in flat order */
  int n_params;
  uint64_t digest;
  int64_t damaged; /* cells */
  char first[ZT_MESSAGE_SIZE];
} verification;

/* ---- Parameters ---- */

/* The manifest was checked when it was opened. */
static void count_parameter(counted *p, json_t *entry) {
  const char *name = json_string_value(json_object_get(entry, "name"));
  json_t *shape = json_object_get(entry, "shape"), *dim;
  int64_t dims[ZT_MAX_DIMS];
  size_t d;
  p->start = json_integer_value(json_object_get(entry, "start"));
  p->numel = 1;
  json_array_foreach(shape, d, dim) {
    dims[d] = json_integer_value(dim);
    p->numel *= dims[d];
  }
  for (int s = 0; s < ZT_STATES; s++)
    p->key[s] = zt_digest_key(zt_state_group(s), name,
                              (int) json_array_size(shape), dims);
}

static zt_status count_parameters(verification *v) {
  json_t *list = json_object_get(v->restart->manifest, "parameters"), *entry;
  json_t *more = json_object_get(v->restart->manifest, "statistics");
  size_t i, n = json_array_size(list) + json_array_size(more);
  v->params = zt_calloc(n, sizeof *v->params);
  if (!v->params)
    return ZT_ERR_MEMORY;
  json_array_foreach(list, i, entry) {
    count_parameter(&v->params[v->n_params++], entry);
  }
  json_array_foreach(more, i, entry) {
    count_parameter(&v->params[v->n_params++], entry);
  }
  return ZT_OK;
}

/* ---- Cells ---- */

/* What verified elements add, those at flat .. end - 1. */
static void digest_cells(verification *v, int state, int64_t flat,
                         int64_t end) {
  const float *values = v->restart->inside->cursor.cells;
  int low = 0, high = v->n_params - 1;
  while (low < high) {
    int mid = (low + high + 1) / 2;
    if (v->params[mid].start <= flat)
      low = mid;
    else
      high = mid - 1;
  }
  for (const counted *p = &v->params[low]; flat < end; p++) {
    int64_t stop = p->start + p->numel < end ? p->start + p->numel : end;
    v->digest += zt_digest_add(p->key[state], ZT_FP32, values, flat - p->start,
                               stop - flat);
    if (flat == p->start)
      v->digest += p->key[state];
    values += stop - flat;
    flat = stop;
  }
}

/* n cells of a unit in a part, from its cell `at` on. */
static zt_status verify_cells(verification *v, int part, int state, int unit,
                              int64_t at, int64_t n) {
  const zt_restart_inside *in = v->restart->inside;
  const zt_restart_part *p = &in->parts[part];
  int64_t begin, end;
  zt_shard_range(in->unit_numel[unit], v->restart->ranks, p->part.first,
                 p->part.ranks, &begin, &end);
  begin += at * ZT_GRID;
  if (end > begin + n * ZT_GRID)
    end = begin + n * ZT_GRID;
  zt_status status = zt_restart_read_cells(
      v->restart, &v->restart->inside->cursor, part, state, p->start[unit] + at,
      n, in->unit_start[unit] + begin, NULL);
  if (status == ZT_OK)
    digest_cells(v, state, in->unit_start[unit] + begin,
                 in->unit_start[unit] + end);
  if (status != ZT_ERR_DATA)
    return status;
  if (n == 1) {
    if (v->damaged++ == 0)
      snprintf(v->first, sizeof v->first, "%s", zt_last_error());
    return ZT_OK;
  }
  for (int64_t i = 0; i < n; i++) /* which ones? */
    ZT_TRY(verify_cells(v, part, state, unit, at + i, 1));
  return ZT_OK;
}

/* This rank's even share of all cells. */
static zt_status verify_share(verification *v) {
  const zt_restart_inside *in = v->restart->inside;
  const zt_comm *comm = v->restart->comm;
  int64_t total = 0, index = 0;
  for (int i = 0; i < in->n_parts; i++)
    total += v->restart->states * in->parts[i].part.cells;
  const int64_t begin = total * comm->rank / comm->size;
  const int64_t end = total * (comm->rank + 1) / comm->size;
  for (int i = 0; i < in->n_parts; i++)
    for (int s = 0; s < v->restart->states; s++)
      for (int u = 0; u < in->n_units; u++) {
        int64_t n = in->parts[i].start[u + 1] - in->parts[i].start[u];
        int64_t at = begin > index ? begin - index : 0;
        int64_t stop = end - index < n ? end - index : n;
        for (; at < stop; at += ZT_READ_CELLS)
          ZT_TRY(verify_cells(v, i, s, u, at,
                              stop - at < ZT_READ_CELLS ? stop - at
                                                        : ZT_READ_CELLS));
        index += n;
      }
  return ZT_OK;
}

/* ---- The whole ---- */

static zt_status judge(verification *v) {
  const zt_restart *r = v->restart;
  int64_t damaged = v->damaged;
  char text[32];
  ZT_TRY(zt_comm_all_reduce(r->comm, &damaged, 1, ZT_SUM));
  if (damaged > 0) {
    zt_status status =
        v->damaged ? zt_fail(ZT_ERR_DATA, "%s", v->first) : ZT_OK;
    status = zt_agree(r->comm, status);
    if (damaged == 1)
      return status;
    snprintf(v->first, sizeof v->first, "%s", zt_last_error());
    return zt_fail(status, "%.400s; %" PRId64 " chunks are damaged in all",
                   v->first, damaged);
  }
  ZT_TRY(zt_comm_all_reduce(r->comm, (int64_t *) &v->digest, 1, ZT_SUM));
  snprintf(text, sizeof text, "step=%" PRId64, r->step);
  v->digest += zt_digest_text(text);
  if (v->digest == r->digest)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%s: damaged: digest %016" PRIx64 ", but %016" PRIx64
                 " was recorded",
                 r->path, v->digest, r->digest);
}

zt_status zt_restart_verify(zt_restart *restart) {
  verification v = {.restart = restart};
  zt_status status = count_parameters(&v);
  if (status == ZT_OK)
    status = verify_share(&v);
  status = zt_agree(restart->comm, status);
  if (status == ZT_OK)
    status = judge(&v);
  free(v.params);
  return status;
}
