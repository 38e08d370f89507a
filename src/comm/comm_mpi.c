/* SPDX-License-Identifier: BSD-3-Clause */
#include "comm/comm_mpi.h"

#include "base/beat.h"
#include "base/memory.h"
#include "comm/agree.h"
#include "comm/chain.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Gather slices are multiples of this many bytes, so counts fit an int up to
 * 16 TiB a slice. */
enum { GRAIN = 8192 };

typedef struct mpi_comm {
  zt_comm base;
  MPI_Comm handle;
  MPI_Datatype grain;
  MPI_Request gather[ZT_COMM_SLOTS];
  MPI_Request *pieces; /* [2 * size + ZT_CHAIN_MOVES] */
} mpi_comm;

static zt_status fail_mpi(int error, const char *what) {
  char text[MPI_MAX_ERROR_STRING] = "";
  int length;
  MPI_Error_string(error, text, &length);
  return zt_fail(ZT_ERR_UNAVAILABLE, "MPI failed in %s: %.120s", what, text);
}

/* The others may be waiting inside: there is no way to agree any more. */
static void die(zt_comm *comm, int error, const char *what) {
  zt_fatal(comm, fail_mpi(error, what));
}

/* Every wait polls and soon gives up its turn: where ranks share cores, a rank
 * that spins inside MPI_Wait keeps the one it waits for from running
 * (measured: 8 ranks on 2 cores, 25 ms an all-reduce against 0.06 ms). */
#pragma GCC diagnostic push
/* MPICH's MPI_STATUSES_IGNORE is the address 1, which gcc takes seriously. */
#pragma GCC diagnostic ignored "-Wstringop-overflow"
static void wait_all(zt_comm *comm, int count, MPI_Request *requests,
                     const char *what) {
  enum { POLLS_BEFORE_YIELD = 100 };
  for (long polls = 0;; polls++) {
    int done = 0;
    int error = MPI_Testall(count, requests, &done, MPI_STATUSES_IGNORE);
    if (error != MPI_SUCCESS)
      die(comm, error, what);
    if (done)
      return;
    if (polls > POLLS_BEFORE_YIELD)
      sched_yield();
  }
}
#pragma GCC diagnostic pop

static zt_status mpi_gather_start(zt_comm *comm, int slot, const void *slice,
                                  void *full, size_t bytes) {
  mpi_comm *c = (mpi_comm *) comm;
  if (bytes % GRAIN != 0 || bytes / GRAIN > INT32_MAX)
    return zt_fail(ZT_ERR_INTERNAL, "all-gather of %zu bytes a rank", bytes);
  int count = (int) (bytes / GRAIN);
  const char *own = (const char *) full + (size_t) comm->rank * bytes;
  int error =
      MPI_Iallgather(slice == own ? MPI_IN_PLACE : slice, count, c->grain, full,
                     count, c->grain, c->handle, &c->gather[slot]);
  if (error != MPI_SUCCESS)
    die(comm, error, "all-gather");
  return ZT_OK;
}

static zt_status mpi_gather_wait(zt_comm *comm, int slot) {
  mpi_comm *c = (mpi_comm *) comm;
  wait_all(comm, 1, &c->gather[slot], "all-gather");
  return ZT_OK;
}

static void start_piece(mpi_comm *c, bool send, float *data, int64_t n,
                        int peer, MPI_Request *request) {
  int error =
      send ? MPI_Isend(data, (int) n, MPI_FLOAT, peer, 0, c->handle, request)
           : MPI_Irecv(data, (int) n, MPI_FLOAT, peer, 0, c->handle, request);
  if (error != MPI_SUCCESS)
    die(&c->base, error, "reduction");
}

/* Carrier `chain`. */
static zt_status fold_by_chain(zt_comm *comm, const zt_fold *call) {
  mpi_comm *c = (mpi_comm *) comm;
  zt_chain_tick now;
  for (int64_t tick = 0; tick < zt_chain_ticks(comm, call); tick++) {
    zt_chain_at(comm, call, tick, &now);
    for (int i = 0; i < now.n_moves; i++)
      start_piece(c, now.moves[i].send, now.moves[i].data, now.moves[i].n,
                  now.moves[i].peer, &c->pieces[i]);
    if (now.n_sum > 0)
      ZT_TRY(call->add(call->context, now.n_sum, now.sum, now.gradient));
    wait_all(comm, now.n_moves, c->pieces, "reduction");
    zt_beat_alive();
  }
  return ZT_OK;
}

/* Carrier `flat`: the pieces go straight to the owner, a chunk of every slice
 * at a time, and wait in the staging buffer until they are added in order. */
static zt_status mpi_fold(zt_comm *comm, const zt_fold *call) {
  mpi_comm *c = (mpi_comm *) comm;
  if (comm->size == 1)
    return call->add(call->context, call->slice, call->accumulator,
                     call->gradient);
  if (comm->chain)
    return fold_by_chain(comm, call);
  int64_t room = (int64_t) (zt_comm_fold_staging(comm) / sizeof(float)) /
                 call->contributors;
  if (room > INT32_MAX / 2)
    room = INT32_MAX / 2;
  for (int64_t at = 0; at < call->slice; at += room) {
    int64_t n = call->slice - at < room ? call->slice - at : room;
    int started = 0;
    for (int r = 0; r < call->contributors; r++)
      if (r != comm->rank)
        start_piece(c, false, call->staging + r * room, n, r,
                    &c->pieces[started++]);
    /* Each rank starts at its right neighbour, so that not all write to the
     * same owner at once. */
    for (int i = 1; call->gradient && i < comm->size; i++) {
      int owner = (comm->rank + i) % comm->size;
      start_piece(c, true, (float *) call->gradient + owner * call->slice + at,
                  n, owner, &c->pieces[started++]);
    }
    wait_all(comm, started, c->pieces, "reduction");
    zt_beat_alive();
    for (int r = 0; r < call->contributors; r++) {
      const float *piece = r == comm->rank
                               ? call->gradient + r * call->slice + at
                               : call->staging + r * room;
      ZT_TRY(call->add(call->context, n, call->accumulator + at, piece));
    }
  }
  return ZT_OK;
}

static zt_status mpi_all_reduce(zt_comm *comm, int64_t *values, int count,
                                zt_reduction reduction) {
  mpi_comm *c = (mpi_comm *) comm;
  MPI_Request request;
  int error = MPI_Iallreduce(MPI_IN_PLACE, values, count, MPI_INT64_T,
                             reduction == ZT_SUM ? MPI_SUM : MPI_MAX, c->handle,
                             &request);
  if (error != MPI_SUCCESS)
    die(comm, error, "all-reduce");
  wait_all(comm, 1, &request, "all-reduce");
  return ZT_OK;
}

static zt_status mpi_broadcast(zt_comm *comm, void *bytes, size_t size,
                               int root) {
  mpi_comm *c = (mpi_comm *) comm;
  enum { PIECE = 1 << 30 };
  for (size_t at = 0; at < size; at += PIECE) {
    size_t n = size - at < PIECE ? size - at : PIECE;
    MPI_Request request;
    int error = MPI_Ibcast((char *) bytes + at, (int) n, MPI_BYTE, root,
                           c->handle, &request);
    if (error != MPI_SUCCESS)
      die(comm, error, "broadcast");
    wait_all(comm, 1, &request, "broadcast");
    zt_beat_alive();
  }
  return ZT_OK;
}

static void mpi_abort(zt_comm *comm, int exit_code) {
  MPI_Abort(((mpi_comm *) comm)->handle, exit_code);
}

static void mpi_destroy(zt_comm *comm) {
  mpi_comm *c = (mpi_comm *) comm;
  if (c->grain != MPI_DATATYPE_NULL)
    MPI_Type_free(&c->grain);
  if (c->handle != MPI_COMM_NULL)
    MPI_Comm_free(&c->handle);
  free(comm->node_of);
  free(c->pieces);
  free(c);
}

static const zt_comm_ops mpi_ops = {
    .name = "mpi",
    .all_gather_start = mpi_gather_start,
    .all_gather_wait = mpi_gather_wait,
    .fold = mpi_fold,
    .all_reduce = mpi_all_reduce,
    .broadcast = mpi_broadcast,
    .abort = mpi_abort,
    .destroy = mpi_destroy,
};

/* Host names lie under Slurm's and MPI's test set-ups; shared memory does not.
 */
static int find_nodes(mpi_comm *c) {
  MPI_Comm node;
  int error = MPI_Comm_split_type(c->handle, MPI_COMM_TYPE_SHARED, 0,
                                  MPI_INFO_NULL, &node);
  if (error != MPI_SUCCESS)
    return error;
  int leader = c->base.rank;
  error = MPI_Bcast(&leader, 1, MPI_INT, 0, node);
  if (error == MPI_SUCCESS)
    error = MPI_Allgather(&leader, 1, MPI_INT, c->base.node_of, 1, MPI_INT,
                          c->handle);
  MPI_Comm_free(&node);
  return error;
}

zt_status zt_comm_mpi_create(MPI_Comm parent, zt_comm **comm) {
  mpi_comm *c = zt_calloc(1, sizeof *c);
  if (!c)
    return ZT_ERR_MEMORY;
  c->base.ops = &mpi_ops;
  c->handle = MPI_COMM_NULL;
  c->grain = MPI_DATATYPE_NULL;
  int error = MPI_Comm_dup(parent, &c->handle);
  if (error == MPI_SUCCESS) {
    MPI_Comm_set_errhandler(c->handle, MPI_ERRORS_RETURN);
    MPI_Comm_rank(c->handle, &c->base.rank);
    MPI_Comm_size(c->handle, &c->base.size);
    size_t size = (size_t) c->base.size;
    c->base.node_of = zt_calloc(size, sizeof *c->base.node_of);
    c->pieces = zt_calloc(2 * size + ZT_CHAIN_MOVES, sizeof(MPI_Request));
    if (!c->base.node_of || !c->pieces) {
      mpi_destroy(&c->base);
      return ZT_ERR_MEMORY;
    }
    for (int i = 0; i < ZT_COMM_SLOTS; i++)
      c->gather[i] = MPI_REQUEST_NULL;
    error = find_nodes(c);
  }
  if (error == MPI_SUCCESS)
    error = MPI_Type_contiguous(GRAIN, MPI_BYTE, &c->grain);
  if (error == MPI_SUCCESS)
    error = MPI_Type_commit(&c->grain);
  if (error != MPI_SUCCESS) {
    zt_status status = fail_mpi(error, "start-up");
    mpi_destroy(&c->base);
    return status;
  }
  *comm = &c->base;
  return ZT_OK;
}

MPI_Comm zt_comm_mpi_handle(const zt_comm *comm) {
  if (comm->host)
    comm = comm->host;
  return ((const mpi_comm *) comm)->handle;
}
