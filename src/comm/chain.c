/* SPDX-License-Identifier: BSD-3-Clause */
#include "comm/chain.h"

#include "base/grid.h"

/* Buffers of a rank: one is received, one added to, one sent. */
enum { BUFFERS = 3 };

/* A chunk of the slice of one owner. */
typedef struct chunk {
  int owner;
  int64_t at, n;  /* elements of its slice; n = 0: there is no such chunk */
  int64_t number; /* from 0, in the order in which they begin */
} chunk;

/* Elements of a chunk.  Some chunks a slice keep all ranks of the chain busy;
 * very small ones would cost more to start than to move. */
static int64_t room_of(const zt_comm *comm, const zt_fold *call) {
  enum { CHUNKS_OF_A_SLICE = 8, LEAST = 4 * ZT_GRID };
  int64_t most =
      (int64_t) (zt_comm_fold_staging(comm) / sizeof(float)) / BUFFERS;
  int64_t room = call->slice / CHUNKS_OF_A_SLICE + 1;
  room = (room + ZT_GRID - 1) / ZT_GRID * ZT_GRID;
  if (room < LEAST)
    room = LEAST;
  return room < most ? room : most / ZT_GRID * ZT_GRID;
}

static int64_t chunks_of(const zt_comm *comm, const zt_fold *call) {
  int64_t room = room_of(comm, call);
  return (call->slice + room - 1) / room * comm->size;
}

/* Owners take turns, so that none waits for long and all links are in use. */
static chunk chunk_of(const zt_comm *comm, const zt_fold *call,
                      int64_t number) {
  if (number < 0 || number >= chunks_of(comm, call))
    return (chunk){0};
  int64_t room = room_of(comm, call), at = number / comm->size * room;
  return (chunk){.owner = (int) (number % comm->size),
                 .at = at,
                 .n = call->slice - at < room ? call->slice - at : room,
                 .number = number};
}

/* Where a contributor has the partial sum.  An owner at an end of the chain
 * uses the accumulator itself: nothing else is in it at that time. */
static float *partial_of(const zt_comm *comm, const zt_fold *call, chunk c) {
  bool at_an_end = comm->rank == 0 || comm->rank == call->contributors - 1;
  if (c.owner == comm->rank && at_an_end)
    return call->accumulator + c.at;
  return call->staging + c.number % BUFFERS * room_of(comm, call);
}

static void add_move(zt_chain_tick *now, const zt_comm *comm, bool send,
                     int peer, float *data, int64_t n) {
  if (n > 0 && peer != comm->rank)
    now->moves[now->n_moves++] = (zt_chain_move){send, peer, data, n};
}

int64_t zt_chain_ticks(const zt_comm *comm, const zt_fold *call) {
  return chunks_of(comm, call) + 2 * (int64_t) call->contributors;
}

/* Accumulators on their way to rank 0 come before what goes back to owners:
 * rank 0 may get both from one peer. */
void zt_chain_at(const zt_comm *comm, const zt_fold *call, int64_t tick,
                 zt_chain_tick *now) {
  const int rank = comm->rank, last = call->contributors - 1;
  *now = (zt_chain_tick){0};
  chunk begins = chunk_of(comm, call, tick);
  chunk ends = chunk_of(comm, call, tick - 2 * (last + 1));
  if (begins.n > 0 && begins.owner == rank)
    add_move(now, comm, true, 0, call->accumulator + begins.at, begins.n);
  if (rank <= last) {
    chunk in = chunk_of(comm, call, tick - 2 * rank);
    chunk here = chunk_of(comm, call, tick - 2 * rank - 1);
    chunk out = chunk_of(comm, call, tick - 2 * rank - 2);
    add_move(now, comm, false, rank == 0 ? in.owner : rank - 1,
             partial_of(comm, call, in), in.n);
    add_move(now, comm, true, rank == last ? out.owner : rank + 1,
             partial_of(comm, call, out), out.n);
    now->n_sum = here.n;
    now->sum = partial_of(comm, call, here);
    now->gradient = call->gradient + here.owner * call->slice + here.at;
  }
  if (ends.n > 0 && ends.owner == rank)
    add_move(now, comm, false, last, call->accumulator + ends.at, ends.n);
}

uint64_t zt_chain_bytes(const zt_comm *comm, const zt_fold *call) {
  const int rank = comm->rank, last = call->contributors - 1;
  int64_t slices = rank < last ? comm->size : rank == last ? comm->size - 1 : 0;
  slices += rank != 0;
  return (uint64_t) (slices * call->slice) * sizeof(float);
}
