/* SPDX-License-Identifier: BSD-3-Clause */
#include "comm/comm.h"

#include <stdlib.h>

/* Enough to keep a link busy; small beside a unit. */
enum { FOLD_STAGING = 4 << 20 };

zt_status zt_comm_all_gather_start(zt_comm *comm, int slot, const void *slice,
                                   void *full, size_t bytes) {
  ZT_TRY(zt_fault_check(ZT_FAULT_GATHER));
  comm->gathered_bytes += bytes * (size_t) (comm->size - 1);
  return comm->ops->all_gather_start(comm, slot, slice, full, bytes);
}

zt_status zt_comm_all_gather_wait(zt_comm *comm, int slot) {
  return comm->ops->all_gather_wait(comm, slot);
}

zt_status zt_comm_fold(zt_comm *comm, const zt_fold *call) {
  if (call->contributors < 1 || call->contributors > comm->size ||
      (call->gradient != NULL) != (comm->rank < call->contributors))
    return zt_fail(ZT_ERR_INTERNAL, "fold: wrong contributors");
  ZT_TRY(zt_fault_check(ZT_FAULT_REDUCE));
  if (call->gradient)
    comm->reduced_bytes +=
        (uint64_t) (comm->size - 1) * (uint64_t) call->slice * sizeof(float);
  return comm->ops->fold(comm, call);
}

size_t zt_comm_fold_staging(const zt_comm *comm) {
  return comm->size > 1 ? FOLD_STAGING : 0;
}

zt_status zt_comm_all_reduce(zt_comm *comm, int64_t *values, int count,
                             zt_reduction reduction) {
  return comm->ops->all_reduce(comm, values, count, reduction);
}

zt_status zt_comm_broadcast(zt_comm *comm, void *bytes, size_t size, int root) {
  return comm->ops->broadcast(comm, bytes, size, root);
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
