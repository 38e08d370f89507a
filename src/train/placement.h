/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Where a run computes: job and life, nodes, ranks and the cores they are
 *  bound to. */
#ifndef ZT_TRAIN_PLACEMENT_H
#define ZT_TRAIN_PLACEMENT_H

#include "base/text.h"
#include "comm/comm.h"

typedef struct zt_placement {
  const char *job, *node_list; /* SLURM_JOB_ID, SLURM_JOB_NODELIST; "": none */
  int64_t life;                /* SLURM_RESTART_COUNT, 0 in the first life */
  char host[65];               /* of rank 0 */
  char cores[96];              /* that rank 0 may run on: "0-3,8" */
  int64_t nodes;
  int64_t least_ranks, most_ranks; /* on a node */
  int64_t least_cores, most_cores; /* of a rank */
} zt_placement;

/** Collective.  The same on every rank but for host and cores. */
zt_status zt_placement_take(zt_comm *comm, zt_placement *placement);
/** "job 17 (n[0-1]), life 2; rank 0 on n0; 4 ranks on 2 nodes, 2 a node; 8
 *  cores a rank, rank 0 has 0-7".  Local. */
void zt_placement_format(const zt_placement *placement, int ranks,
                         zt_text *text);

#endif
