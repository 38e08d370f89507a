/* SPDX-License-Identifier: BSD-3-Clause */
#include "comm/comm_null.h"

#include "base/memory.h"

#include <stdlib.h>
#include <unistd.h>

static zt_status null_gather_start(zt_comm *comm, int slot, const void *slice,
                                   void *full, size_t bytes) {
  (void) comm, (void) slot, (void) slice, (void) full, (void) bytes;
  return ZT_OK;
}

static zt_status null_gather_wait(zt_comm *comm, int slot) {
  (void) comm, (void) slot;
  return ZT_OK;
}

static zt_status null_fold(zt_comm *comm, const zt_fold *call) {
  (void) comm;
  for (int r = 0; r < call->contributors; r++)
    ZT_TRY(call->add(call->context, call->slice, call->accumulator,
                     call->staging));
  return ZT_OK;
}

static zt_status null_all_reduce(zt_comm *comm, int64_t *values, int count,
                                 zt_reduction reduction) {
  (void) comm, (void) values, (void) count, (void) reduction;
  return ZT_OK;
}

static zt_status null_broadcast(zt_comm *comm, void *bytes, size_t size,
                                int root) {
  (void) comm, (void) bytes, (void) size, (void) root;
  return ZT_OK;
}

static void null_abort(zt_comm *comm, int exit_code) {
  (void) comm;
  _exit(exit_code);
}

static void null_destroy(zt_comm *comm) {
  free(comm->node_of);
  free(comm);
}

static const zt_comm_ops null_ops = {
    .name = "null",
    .all_gather_start = null_gather_start,
    .all_gather_wait = null_gather_wait,
    .fold = null_fold,
    .all_reduce = null_all_reduce,
    .broadcast = null_broadcast,
    .abort = null_abort,
    .destroy = null_destroy,
};

zt_status zt_comm_null_create(int rank, int size, zt_comm **comm) {
  zt_comm *c = zt_calloc(1, sizeof *c);
  if (!c)
    return ZT_ERR_MEMORY;
  *c = (zt_comm){
      .ops = &null_ops, .rank = rank, .size = size, .counts_only = true};
  c->node_of = zt_calloc((size_t) size, sizeof *c->node_of);
  if (!c->node_of) {
    free(c);
    return ZT_ERR_MEMORY;
  }
  *comm = c;
  return ZT_OK;
}
