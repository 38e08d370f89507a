/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Documents, pairs of documents and conversations from plain text and JSONL
 *  into a token file.  All functions are Local. */
#ifndef ZT_PROG_TOKEN_INPUT_H
#define ZT_PROG_TOKEN_INPUT_H

#include "io/token_writer.h"
#include "prog/token_chat.h"
#include "prog/token_record.h"
#include "tokenizer/tokenizer.h"

/** What a file holds: one kind. */
typedef enum zt_tokens_kind {
  ZT_TOKENS_DOCUMENTS,
  ZT_TOKENS_PAIRS,
  ZT_TOKENS_CHATS /* documents with a mask */
} zt_tokens_kind;

typedef struct zt_token_input {
  /* Set by the caller. */
  const char *output;           /* path of the token file */
  bool replace;                 /* it may exist already */
  bool jsonl;                   /* whatever the names of the inputs say */
  const char *field;            /* key of a document; NULL: the usual ones */
  zt_tokenizer *tokenizer;      /* NULL: the input is ids */
  zt_tokens_info info;          /* vocabulary, eos, pad, sentinel, tokenizer */
  bool eos_given;               /* the user names the end id */
  int64_t bos;                  /* id before a document or prompt, -1: none */
  const zt_chat_template *chat; /* NULL: the one that suits the tokenizer */
  void (*progress)(const struct zt_token_input *input); /* now and then */
  void *context;                                        /* for progress */
  zt_token_record *record; /* where all goes; NULL: to the writer */
  /* Found out. */
  zt_token_writer *writer; /* made for the first document; the caller's */
  int64_t bytes;           /* read so far */
  int64_t empty;           /* files of plain text left out */
  bool chat_checked;       /* the tokenizer knows the template's marks */
} zt_token_input;

/** Add all that a file holds.  A name that ends in .jsonl or .json is JSONL,
 *  one object a line; of its keys the first there is of these is taken:
 *  "tokens" if it is an array, "text", "messages", "source" with "target",
 *  "prompt" with "completion". .bin and .idx are token files of others
 *  (token_binary.h). Any other file is one document of plain text. "-" is
 *  standard input. Text gets the begin id, if there is one, and the end id (of
 *  a pair source and target the end id, a prompt the begin id, a completion
 *  the end id); ids are taken as they are.
 *  \return ZT_ERR_NOINPUT, ZT_ERR_DATA naming file and line, ZT_ERR_USAGE for
 *          text without a tokenizer, or a failure of the writer. */
zt_status zt_token_input_add(zt_token_input *input, const char *path);
/** Whether a file is JSONL. */
bool zt_token_input_has_lines(const zt_token_input *input, const char *path);

/** A part of a regular file: lines of JSONL, or a piece of a plain text at
 *  whose bounds the tokenizer lets it be cut. */
typedef struct zt_token_part {
  const char *path;
  int64_t first, end, size; /* bytes; of the file */
  int64_t line;             /* of JSONL, before the part */
} zt_token_part;
/** Add a part; all of them in order are the file. */
zt_status zt_token_input_add_part(zt_token_input *input,
                                  const zt_token_part *part);

/** To the writer or the record, as its functions do. */
zt_status zt_token_put(zt_token_input *input, int stream, const int32_t *ids,
                       size_t n);
zt_status zt_token_put_mask(zt_token_input *input, bool learnt, size_t n);
zt_status zt_token_put_end(zt_token_input *input, int stream);
/** Say what comes next.  The first one decides what the file holds.
 *  \param[in] line  of the input, for the message
 *  \return ZT_ERR_DATA if another kind came before; failures of the writer.
 */
zt_status zt_token_input_expect(zt_token_input *input, const char *path,
                                int64_t line, zt_tokens_kind kind);

#endif
