/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Conversations into a masked token file: what the assistant says is learnt,
 *  with the mark that ends it.  All functions are Local. */
#ifndef ZT_PROG_TOKEN_CHAT_H
#define ZT_PROG_TOKEN_CHAT_H

#include "base/status.h"

#include <jansson.h>
#include <stdint.h>

struct zt_token_input;
typedef struct zt_chat_template zt_chat_template;

/** By its name, "chatml" or "llama3".  \return ZT_ERR_USAGE. */
zt_status zt_chat_template_named(const char *name,
                                 const zt_chat_template **format);
/** Add a conversation as a document.  Without a template in the input the one
 *  is taken whose marks the tokenizer knows.
 *  \param[in] path, line  of the input, for messages
 *  \param[in] messages    [{"role": ..., "content": ...}, ...]
 *  \return ZT_ERR_DATA, ZT_ERR_USAGE without a template, failures of the
 *          writer. */
zt_status zt_token_chat_add(struct zt_token_input *input, const char *path,
                            int64_t line, const json_t *messages);

#endif
