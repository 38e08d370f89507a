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
  size_t part;    /* bytes of each rank's part, a multiple of GRAIN */
  char *own;      /* [part] */
  char *all;      /* [size * part] */
  float *staging; /* what the host's reduction needs */
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

static zt_status add_on_host(void *context, int64_t n, float *to,
                             const float *from) {
  (void) context;
  for (int64_t i = 0; i < n; i++)
    to[i] += from[i];
  return ZT_OK;
}

/* A part of every slice at a time: gradients and the accumulator come to the
 * host, which reduces them with the same bits as the device would. */
static zt_status staged_fold(zt_comm *comm, const zt_fold *call) {
  staged_comm *c = (staged_comm *) comm;
  if (comm->size == 1)
    return call->add(call->context, call->slice, call->accumulator,
                     call->gradient);
  int64_t room = (int64_t) (c->part / sizeof(float));
  float *gradient = call->gradient ? (float *) (void *) c->all : NULL;
  float *sum = (float *) (void *) c->own;
  comm->host->chain = comm->chain;
  for (int64_t at = 0; at < call->slice; at += room) {
    int64_t n = call->slice - at < room ? call->slice - at : room;
    size_t bytes = (size_t) n * sizeof *sum;
    for (int r = 0; gradient && r < comm->size; r++)
      ZT_TRY(zt_device_download(c->dev, gradient + r * n,
                                call->gradient + r * call->slice + at, bytes));
    ZT_TRY(zt_device_download(c->dev, sum, call->accumulator + at, bytes));
    ZT_TRY(comm->host->ops->fold(comm->host,
                                 &(zt_fold){.gradient = gradient,
                                            .accumulator = sum,
                                            .slice = n,
                                            .contributors = call->contributors,
                                            .staging = c->staging,
                                            .add = add_on_host}));
    ZT_TRY(zt_device_upload(c->dev, call->accumulator + at, sum, bytes));
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
  free(c->staging);
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
  c->staging = zt_calloc(zt_comm_fold_staging(c->base.host) + 1, 1);
  return c->own && c->all && c->staging ? ZT_OK : ZT_ERR_MEMORY;
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
