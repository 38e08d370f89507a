/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The carrier `chain` of the ordered reduction, as a table of what each rank
 *  does when; how bytes move is the communicator's matter.
 *
 *  A chunk of an owner's accumulator goes to rank 0, from there rank by rank to
 *  the last contributor, each of which adds its gradient, and back to the
 *  owner.  A rank sends what the carrier `flat` makes it send, but to its right
 *  neighbour, so that a node of n ranks sends about one part in n to other
 *  nodes if its ranks are consecutive.
 *
 *  Work goes on by ticks.  Chunk i begins at tick i; at 2 r ticks later rank r
 *  receives it, then adds, then sends, while the chunks before and after it
 *  are on their way.  All functions are Local. */
#ifndef ZT_COMM_CHAIN_H
#define ZT_COMM_CHAIN_H

#include "comm/comm.h"

enum { ZT_CHAIN_MOVES = 4 }; /* most moves of a rank in a tick */

/** Elements that go from here to a rank, or come from it. */
typedef struct zt_chain_move {
  bool send;
  int peer;
  float *data; /* [n] */
  int64_t n;
} zt_chain_move;

/** What a rank does in a tick: its moves and its sum may run at once.  Between
 *  two ranks moves match in the order given here. */
typedef struct zt_chain_tick {
  int n_moves;
  zt_chain_move moves[ZT_CHAIN_MOVES];
  int64_t n_sum; /* 0: nothing to add */
  float *sum;    /* [n_sum] += gradient[0 .. n_sum) */
  const float *gradient;
} zt_chain_tick;

/** Ticks of a reduction, the same on every rank. */
int64_t zt_chain_ticks(const zt_comm *comm, const zt_fold *call);
/** \param[in] tick  0 .. zt_chain_ticks() - 1, to be done in order */
void zt_chain_at(const zt_comm *comm, const zt_fold *call, int64_t tick,
                 zt_chain_tick *now);
/** Bytes that this rank sends in a reduction. */
uint64_t zt_chain_bytes(const zt_comm *comm, const zt_fold *call);

#endif
