/* SPDX-License-Identifier: BSD-3-Clause */
#include "comm/comm.h"

#include "base/beat.h"
#include "base/clock.h"
#include "comm/chain.h"

#include <stdlib.h>

/* Enough to keep a link busy; small beside a unit. */
enum { FOLD_STAGING = 4 << 20 };

/* ---- Collectives ---- */

/* One under way: its number, size, begin and name. */
typedef struct call {
  int64_t number, bytes, began;
  const char *what;
} call;

/* Of all communicators together: every rank calls all of them in one order, so
 * the same number is the same collective.  When all stand still that tells who
 * is late. */
static int64_t calls;

static call enter(const zt_comm *comm, const char *what, size_t bytes) {
  call c = {.what = what, .bytes = (int64_t) bytes};
  if (comm->counts_only)
    return c;
  c.number = ++calls;
  zt_beat_call(what, c.number, c.bytes, false);
  c.began = zt_clock_ns();
  return c;
}

static zt_status leave(zt_comm *comm, const call *c, zt_status status) {
  if (comm->counts_only)
    return status;
  comm->inside_ns += zt_clock_ns() - c->began;
  zt_beat_call(c->what, c->number, c->bytes, true);
  return status;
}

static zt_comm *host_of(zt_comm *comm) {
  return comm->host ? comm->host : comm;
}

zt_status zt_comm_all_gather_start(zt_comm *comm, int slot, const void *slice,
                                   void *full, size_t bytes) {
  ZT_TRY(zt_fault_check(ZT_FAULT_GATHER));
  if (zt_fault_check(ZT_FAULT_ORDER) != ZT_OK)
    return ZT_OK; /* left out: what follows is not what the others do */
  comm->gathered_bytes += bytes * (size_t) (comm->size - 1);
  enter(comm, "start of a gather", bytes); /* returns at once */
  return comm->ops->all_gather_start(comm, slot, slice, full, bytes);
}

zt_status zt_comm_all_gather_wait(zt_comm *comm, int slot) {
  call c = enter(comm, "gather", 0);
  return leave(comm, &c, comm->ops->all_gather_wait(comm, slot));
}

zt_status zt_comm_fold(zt_comm *comm, const zt_fold *fold) {
  if (fold->contributors < 1 || fold->contributors > comm->size ||
      (fold->gradient != NULL) != (comm->rank < fold->contributors))
    return zt_fail(ZT_ERR_INTERNAL, "fold: wrong contributors");
  ZT_TRY(zt_fault_check(ZT_FAULT_REDUCE));
  if (comm->chain && comm->size > 1)
    comm->reduced_bytes += zt_chain_bytes(comm, fold);
  else if (fold->gradient)
    comm->reduced_bytes +=
        (uint64_t) (comm->size - 1) * (uint64_t) fold->slice * sizeof(float);
  call c =
      enter(comm, "reduction", (size_t) fold->slice * sizeof *fold->gradient);
  return leave(comm, &c, comm->ops->fold(comm, fold));
}

zt_status zt_comm_all_reduce(zt_comm *comm, int64_t *values, int count,
                             zt_reduction reduction) {
  call c = enter(comm, "all-reduce", (size_t) count * sizeof *values);
  zt_comm *host = host_of(comm);
  return leave(comm, &c, host->ops->all_reduce(host, values, count, reduction));
}

zt_status zt_comm_broadcast(zt_comm *comm, void *bytes, size_t size, int root) {
  call c = enter(comm, "broadcast", size);
  zt_comm *host = host_of(comm);
  return leave(comm, &c, host->ops->broadcast(host, bytes, size, root));
}

/* ---- The rest ---- */

size_t zt_comm_fold_staging(const zt_comm *comm) {
  return comm->size > 1 ? FOLD_STAGING : 0;
}

void zt_comm_abort(zt_comm *comm, int exit_code) {
  comm->ops->abort(comm, exit_code);
  abort();
}

void zt_comm_destroy(zt_comm **comm) {
  if (!*comm)
    return;
  (*comm)->ops->destroy(*comm);
  *comm = NULL;
}

void zt_comm_node_range(const zt_comm *comm, int rank, int *first, int *count) {
  int node = comm->node_of[rank], low = rank, high = rank;
  while (low > 0 && comm->node_of[low - 1] == node)
    low--;
  while (high + 1 < comm->size && comm->node_of[high + 1] == node)
    high++;
  *first = low;
  *count = high - low + 1;
}

int zt_comm_local_rank(const zt_comm *comm, int *count) {
  int local = 0;
  *count = 0;
  for (int r = 0; r < comm->size; r++)
    if (comm->node_of[r] == comm->node_of[comm->rank]) {
      local += r < comm->rank;
      ++*count;
    }
  return local;
}
