/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/pieces.h"

/* The vector that holds a byte of all; the last one with that start, so that
 * empty vectors are passed over. */
static int find(const int64_t *start, int count, int64_t at) {
  int low = 0, high = count - 1;
  while (low < high) {
    int mid = low + (high - low + 1) / 2;
    if (start[mid] <= at)
      low = mid;
    else
      high = mid - 1;
  }
  return low;
}

/* Where the share of a rank begins. */
static int64_t cut(const int64_t *start, int count, int ranks, int rank) {
  int64_t total = start[count];
  if (rank == ranks)
    return total;
  int64_t at = total / ranks * rank + total % ranks * rank / ranks;
  int64_t from = start[find(start, count, at)];
  return from + (at - from) / ZT_PIECE_GRAIN * ZT_PIECE_GRAIN;
}

void zt_pieces_begin(zt_pieces *pieces, const int64_t *start, int count,
                     int ranks, int rank, int64_t most) {
  *pieces = (zt_pieces){.start = start, .count = count, .most = most};
  if (count == 0)
    return;
  pieces->at = cut(start, count, ranks, rank);
  pieces->end = cut(start, count, ranks, rank + 1);
  pieces->index = find(start, count, pieces->at);
}

bool zt_pieces_next(zt_pieces *p, zt_piece *piece) {
  if (p->at >= p->end)
    return false;
  while (p->start[p->index + 1] <= p->at)
    p->index++;
  int64_t from = p->start[p->index], to = p->start[p->index + 1];
  if (to > p->end)
    to = p->end;
  *piece = (zt_piece){.index = p->index, .at = p->at - from, .n = to - p->at};
  if (piece->n > p->most)
    piece->n = p->most;
  p->at += piece->n;
  return true;
}
