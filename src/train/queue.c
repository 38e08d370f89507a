/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/queue.h"

#include <string.h>

/* The rank that takes a prompt of `rows` tokens, -1: none can now. */
static int taker(const zt_queue *q, const int64_t *free, int64_t rows) {
  int best = -1;
  for (int r = 0; r < q->ranks; r++)
    if (free[r] > 0 && q->rows[r] + rows <= q->most_rows &&
        (best < 0 || free[r] > free[best]))
      best = r;
  return best;
}

bool zt_queue_give(zt_queue *q, int64_t *free, int rank, int64_t *taken,
                   int64_t *n) {
  const int64_t before = q->next;
  *n = 0;
  memset(q->rows, 0, (size_t) q->ranks * sizeof *q->rows);
  for (; q->next < q->count; q->next++) {
    int64_t rows = q->start[q->next + 1] - q->start[q->next];
    int to = taker(q, free, rows);
    if (to < 0)
      break;
    free[to]--;
    q->rows[to] += rows;
    if (to == rank)
      taken[(*n)++] = q->next;
  }
  return q->next > before;
}
