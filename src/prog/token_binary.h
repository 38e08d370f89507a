/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Token files of other trainers as input: llm.c's .bin and Megatron's .bin
 *  with .idx.  All functions are Local. */
#ifndef ZT_PROG_TOKEN_BINARY_H
#define ZT_PROG_TOKEN_BINARY_H

#include "prog/token_input.h"

#include <stdbool.h>

/** Whether the name is of such a file: it ends in .bin or .idx. */
bool zt_is_token_binary(const char *path);
/** Add all documents of one.
 *
 *  llm.c: the magic number tells the width of an id; documents begin with the
 *  end id (--eos, or else GPT-2's or Llama 3's by the magic number), and it
 *  stays where it stands.  Megatron: the documents of the index; the ids are in
 *  the .bin of the same name.
 *  \return ZT_ERR_NOINPUT; ZT_ERR_DATA naming file and place for a wrong magic
 *          number, version, type or length, or an id beyond the vocabulary;
 *          failures of the writer. */
zt_status zt_token_binary_add(zt_token_input *in, const char *path);

#endif
