/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Prompts as people give them. */
#ifndef ZT_PROG_PROMPTS_H
#define ZT_PROG_PROMPTS_H

#include "model/model.h"
#include "tokenizer/tokenizer.h"
#include "train/generate.h"

typedef struct zt_prompt_options {
  const char *input;  /* JSONL file, "-": standard input; NULL: none */
  const char *text;   /* one prompt; NULL: none */
  const char *tokens; /* ids of one prompt, "1 2 3"; NULL: none */
} zt_prompt_options;

/** Read prompts on one rank.  Lines are {"text": ...}, {"tokens": [ids]} or
 *  {"source": text or ids, ...}; text gets the end id, ids are taken as they
 *  are.
 *  Local.
 *  \param[in]  tokenizer  NULL: ids alone can be taken
 *  \param[out] prompts    zt_sequences_free() it
 *  \return ZT_ERR_NOINPUT, ZT_ERR_DATA naming file and line, ZT_ERR_USAGE. */
zt_status zt_read_prompts(const zt_prompt_options *options,
                          zt_tokenizer *tokenizer, const zt_model *model,
                          zt_sequences *prompts);

/** Give rank 0's prompts to all.
 *  Collective.  \return agreed status. */
zt_status zt_share_prompts(zt_comm *comm, zt_sequences *prompts);

#endif
