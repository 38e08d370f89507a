/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Collectives between ranks.
 *
 *  All functions are Collective unless they say Local: every rank calls them in
 *  the same order.  An error inside one cannot be agreed on any more, since the
 *  others may be waiting inside: what MPI reports ends all ranks at once
 *  (zt_fatal), and a caller does the same with what it is returned. */
#ifndef ZT_COMM_COMM_H
#define ZT_COMM_COMM_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zt_comm zt_comm;

typedef enum zt_reduction { ZT_SUM, ZT_MAX } zt_reduction;

enum { ZT_COMM_SLOTS = 4 }; /* all-gathers under way at once */

/** Ordered reduction of one unit's gradient to its owners: to the accumulator
 *  of slice s are added the pieces of rank 0, 1, ..., contributors - 1 in this
 *  order.  That is one left fold, whatever the number of ranks and the carrier.
 */
typedef struct zt_fold {
  const float *gradient; /* [ranks * slice] fp32, NULL if this rank has none,
                            which it has exactly if rank >= contributors */
  float *accumulator;    /* [slice] of this rank's slice, added to */
  int64_t slice;         /* elements of each slice */
  int contributors;      /* 1 .. ranks */
  float *staging;        /* zt_comm_fold_staging() bytes */
  /* to[0 .. n) += from[0 .. n), where the arrays above are */
  zt_status (*add)(void *context, int64_t n, float *to, const float *from);
  void *context;
} zt_fold;

typedef struct zt_comm_ops {
  const char *name;
  zt_status (*all_gather_start)(zt_comm *comm, int slot, const void *slice,
                                void *full, size_t bytes);
  zt_status (*all_gather_wait)(zt_comm *comm, int slot);
  zt_status (*fold)(zt_comm *comm, const zt_fold *call);
  /* Not asked for where `host` is another communicator. */
  zt_status (*all_reduce)(zt_comm *comm, int64_t *values, int count,
                          zt_reduction reduction);
  zt_status (*broadcast)(zt_comm *comm, void *bytes, size_t size, int root);
  /* OPTIONAL: device memory that it moves with less effort; Local.  NULL: any
   * serves. */
  zt_status (*allocate)(zt_comm *comm, size_t bytes, void **p);
  void (*release)(zt_comm *comm, void *p, size_t bytes);
  void (*abort)(zt_comm *comm, int exit_code);
  void (*destroy)(zt_comm *comm);
} zt_comm_ops;

/** What every communicator has; an implementation puts its own fields after. */
struct zt_comm {
  const zt_comm_ops *ops;
  int rank, size;
  int *node_of;  /* [size] lowest rank on the same node */
  zt_comm *host; /* what carries integers and bytes of host memory, if that is
                    another one; NULL: this one */
  /* Bytes this rank sent and ns it spent in collectives, for reports. */
  uint64_t gathered_bytes, reduced_bytes;
  int64_t inside_ns;
  bool counts_only; /* nobody is there; nothing to watch */
  bool chain;       /* carrier of reductions, the same on all ranks: pieces go
                       rank by rank (chain.h), else straight to their owner */
};

/** Gather equal slices: full[r * bytes ...] = slice of rank r.
 *  \param[in]  slot   0 .. ZT_COMM_SLOTS - 1, free
 *  \param[in]  slice  [bytes], must stay unchanged until the wait; may be its
 *                     own place in `full`
 *  \param[out] full   [size * bytes], not to be touched until the wait
 *  \param[in]  bytes  a multiple of 8,192 (ZT_GRID elements of two bytes) */
zt_status zt_comm_all_gather_start(zt_comm *comm, int slot, const void *slice,
                                   void *full, size_t bytes);
zt_status zt_comm_all_gather_wait(zt_comm *comm, int slot);

/** See zt_fold. */
zt_status zt_comm_fold(zt_comm *comm, const zt_fold *fold);
/** Bytes of staging that a fold needs at most.  Local. */
size_t zt_comm_fold_staging(const zt_comm *comm);

/** Integers only: their sum does not depend on the order. */
zt_status zt_comm_all_reduce(zt_comm *comm, int64_t *values, int count,
                             zt_reduction reduction);
zt_status zt_comm_broadcast(zt_comm *comm, void *bytes, size_t size, int root);

/** End all ranks at once with this exit code.  Local; does not return. */
void zt_comm_abort(zt_comm *comm, int exit_code);
/** Sets *comm to NULL; NULL is allowed. */
void zt_comm_destroy(zt_comm **comm);

/** Ranks first .. first + count - 1 around `rank` that are consecutive and on
 *  the same node.  Local. */
void zt_comm_node_range(const zt_comm *comm, int rank, int *first, int *count);
/** This rank among those on its node, however they are numbered.  Local.
 *  \param[out] count  ranks on the node
 *  \return 0 .. count - 1 */
int zt_comm_local_rank(const zt_comm *comm, int *count);

#endif
