/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Text to token ids and back.
 *
 *  A document is fed in pieces of any size, so it may be longer than memory.
 *  No end id is added: the caller knows where a document ends.  All functions
 *  are Local. */
#ifndef ZT_TOKENIZER_TOKENIZER_H
#define ZT_TOKENIZER_TOKENIZER_H

#include "base/status.h"
#include "base/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zt_tokenizer zt_tokenizer;

/** What a tokenizer's ids mean. */
typedef struct zt_vocabulary {
  int64_t size;          /* text becomes ids 0 .. size - 1 */
  int64_t pad, eos, unk; /* -1: none */
  int64_t sentinel; /* first sentinel of span corruption, the next ones count
                       down from it; may lie above size; -1: none */
  int64_t bos;      /* put before a text; -1: none */
} zt_vocabulary;

/** Takes the ids of a text as they come. */
typedef zt_status (*zt_id_sink)(void *context, const int32_t *ids, size_t n);

typedef struct zt_tokenizer_ops {
  zt_status (*encode)(zt_tokenizer *tokenizer, const char *text, size_t size,
                      bool last, zt_id_sink sink, void *context);
  zt_status (*decode)(zt_tokenizer *tokenizer, const int32_t *ids, size_t n,
                      zt_text *text);
  void (*destroy)(zt_tokenizer *tokenizer);
} zt_tokenizer_ops;

/** What every tokenizer has; an implementation puts its own fields after. */
struct zt_tokenizer {
  const zt_tokenizer_ops *ops;
  zt_vocabulary vocabulary;
  /* A text may be encoded in pieces, cut between a letter or digit of ASCII and
   * a line feed, with the same ids. */
  bool cuts_at_lines;
};

/** \param[in] name  "bytes", or the path of a tokenizer.json or a SentencePiece
 *                   model (a file of that name is "./bytes")
 *  \return ZT_ERR_NOINPUT, ZT_ERR_DATA if it is none, ZT_ERR_UNAVAILABLE if
 *          this build lacks the library for it, ZT_ERR_MEMORY. */
zt_status zt_tokenizer_open(const char *name, zt_tokenizer **tokenizer);
/** The same with a tokenizer_config.json that lies elsewhere.
 *  \param[in] config  its path; NULL: beside the tokenizer, if it is there */
zt_status zt_tokenizer_open_with(const char *name, const char *config,
                                 zt_tokenizer **tokenizer);
/** For implementations: the tokenizer_config.json of a tokenizer.
 *  \param[in]  path    of the tokenizer, beside which it lies
 *  \param[in]  where   its path; NULL: beside the tokenizer
 *  \param[out] config  json_decref() it; NULL: there is none
 *  \return ZT_ERR_DATA, ZT_ERR_IO, ZT_ERR_MEMORY. */
zt_status zt_tokenizer_config_read(const char *path, const char *where,
                                   json_t **config);
/** Sets *tokenizer to NULL; NULL is allowed. */
void zt_tokenizer_close(zt_tokenizer **tokenizer);

/** Encode the next piece of a document.  Text is not checked: bytes that are
 *  not UTF-8 are ordinary for "bytes" and unknown to SentencePiece; BPE
 *  reads U+FFFD.
 *  \param[in] last  the document ends with this piece
 *  \return what the sink returned if it failed; after a failure only close. */
zt_status zt_tokenizer_encode(zt_tokenizer *tokenizer, const char *text,
                              size_t size, bool last, zt_id_sink sink,
                              void *context);
/** Append the text of ids.  Ids that stand for no text (pad, end, unknown,
 *  sentinels, ids outside the vocabulary) are passed over.
 *  \return ZT_ERR_MEMORY. */
zt_status zt_tokenizer_decode(zt_tokenizer *tokenizer, const int32_t *ids,
                              size_t n, zt_text *text);

#endif
