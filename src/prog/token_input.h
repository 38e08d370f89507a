/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Documents and pairs of documents from plain text and JSONL into a token
 *  file.  All functions are Local. */
#ifndef ZT_PROG_TOKEN_INPUT_H
#define ZT_PROG_TOKEN_INPUT_H

#include "io/token_writer.h"
#include "tokenizer/tokenizer.h"

typedef struct zt_token_input {
  /* Set by the caller. */
  const char *output;      /* path of the token file */
  bool replace;            /* it may exist already */
  bool jsonl;              /* whatever the names of the inputs say */
  const char *field;       /* key of a document; NULL: the usual ones */
  zt_tokenizer *tokenizer; /* NULL: the input is ids */
  zt_tokens_info info;     /* vocabulary, eos, pad, sentinel, tokenizer */
  bool eos_given;          /* the user names the end id */
  void (*progress)(const struct zt_token_input *input); /* now and then */
  void *context;                                        /* for progress */
  /* Found out. */
  zt_token_writer *writer; /* made for the first document; the caller's */
  int64_t bytes;           /* read so far */
  int64_t empty;           /* files of plain text left out */
} zt_token_input;

/** Add all that a file holds.  A name that ends in .jsonl or .json is JSONL,
 *  one object a line; of its keys the first there is of these is taken:
 *  "tokens" if it is an array, "text", "source" with "target".  .bin and .idx
 *  are token files of others (token_binary.h).  Any other file is one document
 *  of plain text.  "-" is standard input.  Text gets the end id, ids are taken
 *  as they are.
 *  \return ZT_ERR_NOINPUT, ZT_ERR_DATA naming file and line, ZT_ERR_USAGE for
 *          text without a tokenizer, or a failure of the writer. */
zt_status zt_token_input_add(zt_token_input *input, const char *path);
/** Say that a document or a pair comes next.  The first one decides what the
 *  file holds.
 *  \param[in] line  of the input, for the message
 *  \return ZT_ERR_DATA if the other kind came before; failures of the writer.
 */
zt_status zt_token_input_expect(zt_token_input *input, const char *path,
                                int64_t line, bool pairs);

#endif
