/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/state.h"

#include "base/memory.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "train/adafactor.h"
#include "train/watch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIECE = ZT_RESTART_PIECE }; /* elements on their way */

/* A part of a parameter that lies in this rank's slice. */
typedef struct piece {
  int param;
  int64_t first; /* element of the parameter */
  int64_t at;    /* place in the shard */
  int64_t n;     /* at most PIECE */
} piece;

/* Calls visit() with every piece of this rank's shard, in order. */
static zt_status each_piece(const zt_zero3 *z,
                            zt_status (*visit)(void *context, const piece *),
                            void *context) {
  const zt_params *params = &z->model->params;
  for (int i = 0; i < params->count; i++) {
    const zt_param *p = &params->list[i];
    int64_t first, at, n = zt_shard_part(&z->shard, p, &first, &at);
    for (int64_t x = 0; x < n; x += PIECE) {
      piece part = {.param = i,
                    .first = first + x,
                    .at = z->shard.at[p->unit] + at + x,
                    .n = n - x < PIECE ? n - x : PIECE};
      ZT_TRY(visit(context, &part));
    }
  }
  return ZT_OK;
}

static float *state_of(const zt_zero3 *z, int state) {
  return state == ZT_MASTER    ? z->master
         : state == ZT_EXP_AVG ? z->exp_avg
                               : z->exp_avg_sq;
}

/* ---- Loading ---- */

typedef struct loading {
  zt_zero3 *zero3;
  zt_source *source;
  int *tensor_of; /* [parameters] */
  float *buffer;  /* [PIECE] host */
} loading;

static zt_status load_piece(void *context, const piece *part) {
  loading *l = context;
  ZT_TRY(zt_watch_pause());
  ZT_TRY(zt_source_read(l->source, l->tensor_of[part->param], part->first,
                        part->n, l->buffer));
  return zt_device_upload(l->zero3->dev, l->zero3->master + part->at, l->buffer,
                          (size_t) part->n * sizeof(float));
}

zt_status zt_state_load(zt_zero3 *zero3, zt_source *source) {
  const zt_params *params = &zero3->model->params;
  loading l = {.zero3 = zero3,
               .source = source,
               .tensor_of = zt_calloc((size_t) params->count, sizeof(int)),
               .buffer = zt_calloc(PIECE, sizeof(float))};
  zt_status status = l.tensor_of && l.buffer ? ZT_OK : ZT_ERR_MEMORY;
  if (status == ZT_OK)
    status = zt_source_bind(source, params, l.tensor_of);
  if (status == ZT_OK)
    status = each_piece(zero3, load_piece, &l);
  free(l.tensor_of);
  free(l.buffer);
  return zt_agree(zero3->comm, status);
}

/* ---- Digest ---- */

typedef struct digesting {
  const zt_zero3 *zero3;
  int state;
  float *buffer; /* [PIECE] host */
  uint64_t sum;
} digesting;

/* What the device holds of a parameter. */
static zt_status digest_piece(void *context, const piece *part) {
  digesting *d = context;
  zt_device *dev = d->zero3->dev;
  const zt_param *p = &d->zero3->model->params.list[part->param];
  float *there = state_of(d->zero3, d->state) + part->at;
  const float *values = zt_device_on_host(dev, there);
  ZT_TRY(zt_watch_pause());
  if (!values) {
    ZT_TRY(zt_device_download(dev, d->buffer, there,
                              (size_t) part->n * sizeof *d->buffer));
    values = d->buffer;
  }
  d->sum += zt_digest_part(zt_state_group(d->state), p, ZT_FP32, values,
                           part->first, part->n);
  return ZT_OK;
}

/* Every rank has them: the first one counts them. */
static zt_status digest_statistics(const zt_zero3 *z, uint64_t *sum) {
  zt_params table = {0};
  if (z->options.statistics == 0 || z->comm->rank != 0)
    return ZT_OK;
  ZT_TRY(zt_adafactor_stored(&z->model->params, &table));
  for (int i = table.units[table.n_units - 1].first; i < table.count; i++) {
    const zt_param *p = &table.list[i];
    *sum += zt_digest_part(zt_state_group(ZT_MASTER), p, ZT_FP32,
                           z->statistics + p->at, 0, p->numel);
  }
  zt_params_free(&table);
  return ZT_OK;
}

/* The sum of all ranks, with the step. */
static zt_status add_up(zt_comm *comm, uint64_t sum, int64_t step,
                        uint64_t *digest) {
  ZT_TRY(zt_comm_all_reduce(comm, (int64_t *) &sum, 1, ZT_SUM));
  if (step >= 0) {
    char text[32];
    snprintf(text, sizeof text, "step=%" PRId64, step);
    sum += zt_digest_text(text);
  }
  *digest = sum;
  return ZT_OK;
}

zt_status zt_state_digest(zt_zero3 *zero3, int64_t step, uint64_t *digest) {
  digesting d = {.zero3 = zero3, .buffer = zt_calloc(PIECE, sizeof(float))};
  zt_status status = d.buffer ? ZT_OK : ZT_ERR_MEMORY;
  int states = step >= 0 && zero3->options.moments ? ZT_STATES : 1;
  for (d.state = 0; d.state < states && status == ZT_OK; d.state++)
    status = each_piece(zero3, digest_piece, &d);
  free(d.buffer);
  if (status == ZT_OK && step >= 0)
    status = digest_statistics(zero3, &d.sum);
  ZT_TRY(zt_agree(zero3->comm, status));
  return add_up(zero3->comm, d.sum, step, digest);
}

/* ---- Resuming ---- */

static float *resume_place(void *context, int state, int64_t at) {
  const zt_zero3 *z = ((digesting *) context)->zero3;
  return zt_device_on_host(z->dev, state_of(z, state) + at);
}

/* The piece goes to the device and counts as it stands there. */
static zt_status resume_piece(void *context, int state, int64_t at, int64_t n,
                              const float *values) {
  digesting *d = context;
  const zt_zero3 *z = d->zero3;
  const zt_params *params = &z->model->params;
  int u = 0;
  float *to = state_of(z, state) + at;
  if (to != values)
    ZT_TRY(zt_device_upload(z->dev, to, values, (size_t) n * sizeof *values));
  while (at >= z->shard.at[u] + z->shard.slice[u])
    u++;
  int64_t in_unit = z->shard.slice[u] * z->shard.rank + at - z->shard.at[u];
  d->state = state;
  while (n > 0) {
    int i = zt_params_at(params, params->units[u].start + in_unit);
    const zt_param *p = &params->list[i];
    piece part = {.param = i, .first = in_unit - p->at, .at = at};
    part.n = p->numel - part.first < n ? p->numel - part.first : n;
    ZT_TRY(digest_piece(d, &part));
    in_unit += part.n;
    at += part.n;
    n -= part.n;
  }
  return ZT_OK;
}

/* Read by the first rank, for all. */
static zt_status resume_statistics(zt_zero3 *z, zt_restart *restart,
                                   uint64_t *sum) {
  const int64_t n = z->options.statistics;
  if (n == 0 || z->comm->rank != 0)
    return ZT_OK;
  ZT_TRY(zt_restart_read(restart, ZT_MASTER, restart->numel - n, n,
                         z->statistics));
  return digest_statistics(z, sum);
}

bool zt_state_is_alike(const zt_zero3 *zero3, const zt_restart *restart) {
  return restart->statistics == zero3->options.statistics &&
         (restart->states == ZT_STATES) == zero3->options.moments;
}

zt_status zt_state_resume(zt_zero3 *zero3, zt_restart *restart,
                          uint64_t *digest, bool *damaged) {
  digesting d = {.zero3 = zero3, .buffer = zt_calloc(PIECE, sizeof(float))};
  zt_status status =
      d.buffer
          ? zt_restart_read_shard(restart, &zero3->model->params, &zero3->shard,
                                  &(zt_restart_sink){.place = resume_place,
                                                     .put = resume_piece,
                                                     .context = &d})
          : ZT_ERR_MEMORY;
  free(d.buffer);
  if (status == ZT_OK)
    status = resume_statistics(zero3, restart, &d.sum);
  *damaged = status == ZT_ERR_DATA;
  ZT_TRY(zt_restart_agree(zero3->comm, status, damaged));
  if (zero3->options.statistics > 0)
    ZT_TRY(zt_comm_broadcast(
        zero3->comm, zero3->statistics,
        (size_t) zero3->options.statistics * sizeof *zero3->statistics, 0));
  return add_up(zero3->comm, d.sum, restart->step, digest);
}

/* ---- Saving ---- */

/* This rank's slice of the statistics is the last one of what is stored. */
static void read_statistics(const zt_zero3 *z, int64_t at, int64_t n,
                            float *values) {
  const int64_t all = z->options.statistics;
  int64_t from = zt_shard_slice(all, z->shard.ranks) * z->shard.rank + at;
  int64_t there = from < all ? all - from : 0;
  there = there < n ? there : n;
  memcpy(values, z->statistics + (there ? from : 0),
         (size_t) there * sizeof *values);
  memset(values + there, 0, (size_t) (n - there) * sizeof *values);
}

zt_status zt_state_read(void *zero3, int state, int64_t at, int64_t n,
                        float *values) {
  const zt_zero3 *z = zero3;
  if (at >= z->shard.numel) {
    read_statistics(z, at - z->shard.numel, n, values);
    return ZT_OK;
  }
  return zt_device_download(z->dev, values, state_of(z, state) + at,
                            (size_t) n * sizeof *values);
}
