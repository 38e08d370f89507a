/* SPDX-License-Identifier: BSD-3-Clause */
#include "cuda/comm_staged.h"

#include "base/memory.h"
#include "comm/agree.h"

#include <stdlib.h>

enum {
  BUFFER = 8 << 20, /* bytes of all ranks' parts together */
  GRAIN = 8192      /* bytes that an all-gather takes at least from a rank */
};

typedef struct staged_comm {
  zt_comm base; /* node_of is the host's */
  zt_device *dev;
  size_t part;   /* bytes of each rank's part, a multiple of GRAIN */
  char *own;     /* [part] */
  char *all;     /* [size * part] */
  float *pieces; /* what the host's reduction needs */
} staged_comm;

/* ---- Gather ---- */

/* Done when it has started: nothing of it runs beside the device. */
static zt_status staged_gather_start(zt_comm *comm, int slot, const void *slice,
                                     void *full, size_t bytes) {
  staged_comm *c = (staged_comm *) comm;
  zt_comm *host = comm->host;
  for (size_t at = 0; at < bytes; at += c->part) {
    size_t n = bytes - at < c->part ? bytes - at : c->part;
    ZT_TRY(zt_device_download(c->dev, c->own, (const char *) slice + at, n));
    ZT_TRY(host->ops->all_gather_start(host, slot, c->own, c->all, n));
    ZT_TRY(host->ops->all_gather_wait(host, slot));
    for (int r = 0; r < comm->size; r++)
      ZT_TRY(zt_device_upload(c->dev, (char *) full + (size_t) r * bytes + at,
                              c->all + (size_t) r * n, n));
  }
  return ZT_OK;
}

static zt_status staged_gather_wait(zt_comm *comm, int slot) {
  (void) comm, (void) slot;
  return ZT_OK;
}

/* ---- Reduction ---- */

/* A part of each slice, reduced as if it were a whole one. */
typedef struct part_fold {
  const staged_comm *comm;
  const zt_fold *whole;
  int64_t at; /* of the part in the slice */
} part_fold;

static zt_status add_part(void *context, int64_t at, const float *piece,
                          int64_t n) {
  const part_fold *part = context;
  const zt_fold *whole = part->whole;
  ZT_TRY(zt_device_upload(part->comm->dev, whole->staging, piece,
                          (size_t) n * sizeof *piece));
  return whole->add(whole->context, part->at + at, whole->staging, n);
}

static zt_status staged_fold(zt_comm *comm, const zt_fold *call) {
  staged_comm *c = (staged_comm *) comm;
  if (comm->size == 1)
    return call->add(call->context, 0, call->gradient, call->slice);
  int64_t room = (int64_t) (c->part / sizeof(float));
  float *gradient = call->gradient ? (float *) (void *) c->all : NULL;
  for (int64_t at = 0; at < call->slice; at += room) {
    int64_t n = call->slice - at < room ? call->slice - at : room;
    for (int r = 0; gradient && r < comm->size; r++)
      ZT_TRY(zt_device_download(c->dev, gradient + r * n,
                                call->gradient + r * call->slice + at,
                                (size_t) n * sizeof *gradient));
    part_fold part = {.comm = c, .whole = call, .at = at};
    ZT_TRY(comm->host->ops->fold(comm->host,
                                 &(zt_fold){.gradient = gradient,
                                            .slice = n,
                                            .contributors = call->contributors,
                                            .staging = c->pieces,
                                            .add = add_part,
                                            .context = &part}));
  }
  return ZT_OK;
}

/* ---- The end ---- */

static void staged_abort(zt_comm *comm, int exit_code) {
  comm->host->ops->abort(comm->host, exit_code);
}

static void staged_destroy(zt_comm *comm) {
  staged_comm *c = (staged_comm *) comm;
  free(c->own);
  free(c->all);
  free(c->pieces);
  free(c);
}

static const zt_comm_ops staged_ops = {
    .name = "mpi", /* what moves the data */
    .all_gather_start = staged_gather_start,
    .all_gather_wait = staged_gather_wait,
    .fold = staged_fold,
    .abort = staged_abort,
    .destroy = staged_destroy,
};

static zt_status make(staged_comm *c) {
  size_t size = (size_t) c->base.size;
  c->part = BUFFER / size / GRAIN * GRAIN;
  if (c->part < GRAIN)
    c->part = GRAIN;
  c->own = zt_calloc(c->part, 1);
  c->all = zt_calloc(size, c->part);
  c->pieces = zt_calloc(zt_comm_fold_staging(c->base.host) + 1, 1);
  return c->own && c->all && c->pieces ? ZT_OK : ZT_ERR_MEMORY;
}

zt_status zt_comm_staged_create(zt_comm *host, zt_device *dev, zt_comm **comm) {
  staged_comm *c = zt_calloc(1, sizeof *c);
  zt_status status = ZT_ERR_MEMORY;
  if (c) {
    c->base = (zt_comm){.ops = &staged_ops,
                        .rank = host->rank,
                        .size = host->size,
                        .node_of = host->node_of,
                        .host = host};
    c->dev = dev;
    status = make(c);
  }
  status = zt_agree(host, status);
  if (status == ZT_OK)
    *comm = &c->base;
  else if (c)
    staged_destroy(&c->base);
  return status;
}
