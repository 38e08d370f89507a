/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Writing token files of any size in constant memory.
 *
 *  The first stream's ids go straight to their place in the new file; all else
 *  is spooled beside it in files without a name, which vanish with the process,
 *  and copied at the end.  All functions are Local. */
#ifndef ZT_IO_TOKEN_WRITER_H
#define ZT_IO_TOKEN_WRITER_H

#include "io/tokens.h"

typedef struct zt_token_writer zt_token_writer;

/** Begin a file.
 *  \param[in] info     pairs, masked, vocabulary, eos, pad, sentinel and
 *                       tokenizer are taken, the rest is the writer's to find
 *                       out
 *  \param[in] replace  whether path may exist already
 *  \return ZT_ERR_CREATE, ZT_ERR_MEMORY. */
zt_status zt_token_writer_create(const char *path, const zt_tokens_info *info,
                                 bool replace, zt_token_writer **writer);
/** Add to the current document of a stream.
 *  \param[in] ids  [n], inside the vocabulary
 *  \return ZT_ERR_IO. */
zt_status zt_token_writer_add(zt_token_writer *writer, int stream,
                              const int32_t *ids, size_t n);
/** Which of the tokens that were added last are learnt; all of a masked file
 *  have to be told of.
 *  \return ZT_ERR_IO. */
zt_status zt_token_writer_mask(zt_token_writer *writer, bool learnt, size_t n);
/** The current document of a stream ends; it may be empty.
 *  \return ZT_ERR_IO. */
zt_status zt_token_writer_end(zt_token_writer *writer, int stream);
/** Counts so far. */
const zt_tokens_info *zt_token_writer_about(const zt_token_writer *writer);
/** Make the file whole and durable, and put it in its place.  With pairs, both
 *  streams must have as many documents.
 *  \return ZT_ERR_DATA if a stream holds no tokens, ZT_ERR_CREATE, ZT_ERR_IO.
 */
zt_status zt_token_writer_finish(zt_token_writer *writer);
/** Removes what is not finished.  Sets *writer to NULL; NULL is allowed. */
void zt_token_writer_destroy(zt_token_writer **writer);

#endif
