/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Tokens made by all ranks together.
 *
 *  Files are cut into parts of about a mebibyte, at ends of lines; each rank
 *  encodes every so many-th part, and rank 0 writes them in order.  The file
 *  does not depend on the number of ranks.  What cannot be cut (other trainers'
 *  tokens, standard input, plain text for SentencePiece, text without lines) is
 *  rank 0's alone, or one rank's if it is short. */
#ifndef ZT_PROG_TOKEN_SHARE_H
#define ZT_PROG_TOKEN_SHARE_H

#include "comm/comm.h"
#include "prog/token_input.h"

/** Add all that the files hold, as zt_token_input_add() does one by one.
 *  Collective.
 *  \param[in,out] input  rank 0's gets the writer
 *  \return agreed status. */
zt_status zt_token_share(zt_token_input *input, zt_comm *comm,
                         char *const *paths, int n);

#endif
