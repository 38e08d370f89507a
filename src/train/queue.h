/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Who works on which prompt.  Prompts are given out in order; the rule sees
 *  only what all ranks know, so that all come to the same answer.  All Local.
 */
#ifndef ZT_TRAIN_QUEUE_H
#define ZT_TRAIN_QUEUE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct zt_queue {
  int64_t count;        /* prompts */
  const int64_t *start; /* [count + 1] as in zt_sequences */
  int64_t next;         /* the first that nobody has */
  int ranks;
  int64_t most_rows; /* tokens of new prompts that a rank takes at once */
  int64_t *rows;     /* [ranks], scratch */
} zt_queue;

/** Give out prompts: each to the rank with the most free slots, of those the
 *  first.
 *  \param[in,out] free   [ranks] slots
 *  \param[in]     rank   whose part is wanted
 *  \param[out]    taken  [free[rank]] its prompts
 *  \param[out]    n      how many
 *  \return whether any rank took one */
bool zt_queue_give(zt_queue *queue, int64_t *free, int rank, int64_t *taken,
                   int64_t *n);

#endif
