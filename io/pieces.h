/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Even shares of a list of byte vectors: every rank gets as many bytes as the
 *  next, whatever the sizes of the vectors, in pieces that fit a buffer. */
#ifndef ZT_IO_PIECES_H
#define ZT_IO_PIECES_H

#include <stdbool.h>
#include <stdint.h>

/* Cuts inside a vector fall on multiples of this many bytes of it. */
enum { ZT_PIECE_GRAIN = 4096 };

/** An iterator; start it with zt_pieces_begin(). */
typedef struct zt_pieces {
  const int64_t *start; /* [count + 1] bytes of all vectors before each one */
  int count, index;
  int64_t at, end, most;
} zt_pieces;

/** One piece of one vector. */
typedef struct zt_piece {
  int index;     /* of the vector */
  int64_t at, n; /* bytes of it */
} zt_piece;

/** The share of one rank; Local.
 *  \param[in] start  [count + 1] running sum of the vectors' bytes, from 0
 *  \param[in] most   bytes of a piece, a multiple of ZT_PIECE_GRAIN */
void zt_pieces_begin(zt_pieces *pieces, const int64_t *start, int count,
                     int ranks, int rank, int64_t most);
/** The next piece, in order; false after the last.  Never an empty one. */
bool zt_pieces_next(zt_pieces *pieces, zt_piece *piece);

#endif
