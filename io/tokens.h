/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Reading token files.
 *
 *  A file holds one stream of documents, or two (source and target) whose
 *  documents belong together in pairs.  HDF5 is asked once, at opening; reads
 *  go to the bytes of the file, so any thread may read.  Ids and document
 *  bounds are checked whenever they are read: what a read returns can be used
 *  as an index.  All functions are Local. */
#ifndef ZT_IO_TOKENS_H
#define ZT_IO_TOKENS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zt_tokens zt_tokens;

/* Streams.  A file without pairs has the first alone. */
enum { ZT_STREAM_TEXT = 0, ZT_STREAM_SOURCE = 0, ZT_STREAM_TARGET = 1 };

typedef struct zt_tokens_info {
  bool pairs;
  bool masked;        /* not with pairs: which tokens are learnt is stored */
  int64_t documents;  /* in each stream, at least 1 */
  int64_t tokens[2];  /* of each stream, at least 1 */
  int64_t vocabulary; /* ids are 0 .. vocabulary - 1 */
  int64_t eos, pad;   /* -1: none */
  int64_t sentinel;   /* the first one, counting down; -1: none */
  int width;          /* bytes of a stored id: 2 or 4 */
  char tokenizer[64]; /* what made the ids, "none" if they were given */
  uint64_t digest;    /* of all above and of the content, as recorded */
} zt_tokens_info;

/** \return ZT_ERR_NOINPUT, ZT_ERR_DATA naming file and reason, ZT_ERR_IO,
 *          ZT_ERR_MEMORY. */
zt_status zt_tokens_open(const char *path, zt_tokens **tokens);
/** Sets *tokens to NULL; NULL is allowed. */
void zt_tokens_close(zt_tokens **tokens);
const zt_tokens_info *zt_tokens_about(const zt_tokens *tokens);
/** The path it was opened by, for messages. */
const char *zt_tokens_path(const zt_tokens *tokens);

/** Tokens [first, first + n) of a stream, across documents.
 *  \param[out] ids  [n]
 *  \return ZT_ERR_DATA for an id outside the vocabulary, ZT_ERR_IO, also for a
 *          file that became shorter. */
zt_status zt_tokens_read(const zt_tokens *tokens, int stream, int64_t first,
                         int64_t n, int32_t *ids);
/** Which of the tokens [first, first + n) are learnt; of a masked file alone.
 *  \param[out] mask  [n] 1 or 0
 *  \return ZT_ERR_DATA for another value, ZT_ERR_IO. */
zt_status zt_tokens_read_mask(const zt_tokens *tokens, int64_t first, int64_t n,
                              uint8_t *mask);
/** Where documents first .. first + n - 1 of a stream begin and end.
 *  \param[out] bounds  [n + 1] document i is tokens [bounds[i], bounds[i + 1])
 *  \return ZT_ERR_DATA for impossible bounds, ZT_ERR_IO. */
zt_status zt_tokens_bounds(const zt_tokens *tokens, int stream, int64_t first,
                           int64_t n, int64_t *bounds);
/** The document that a token of a stream is in.
 *  \param[in] at  0 .. tokens - 1
 *  \return ZT_ERR_DATA for impossible bounds, ZT_ERR_IO. */
zt_status zt_tokens_find(const zt_tokens *tokens, int stream, int64_t at,
                         int64_t *document);
/** Where a document lies in its stream.
 *  \return ZT_ERR_DATA for impossible bounds, ZT_ERR_IO. */
zt_status zt_tokens_document(const zt_tokens *tokens, int stream, int64_t index,
                             int64_t *first, int64_t *n);

/** Read the whole file: ids, bounds, digest.  \return ZT_ERR_DATA, ZT_ERR_IO,
 *  ZT_ERR_MEMORY. */
zt_status zt_tokens_verify(const zt_tokens *tokens);

/** The digest of a file (FORMAT).
 *  \param[in] parts  XXH3-64 of the bytes of each dataset, in FORMAT's order;
 *                    two, three with a mask, four with pairs */
uint64_t zt_tokens_digest(const zt_tokens_info *info, const uint64_t parts[4]);

#endif
