/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Cutting text into words as the "pre_tokenizer" of a tokenizer.json says, by
 *  PCRE2.  All functions are Local. */
#ifndef ZT_TOKENIZER_BPE_SPLIT_H
#define ZT_TOKENIZER_BPE_SPLIT_H

#include "base/status.h"

#include <jansson.h>
#include <stddef.h>

typedef struct zt_bpe_split zt_bpe_split;

/** Takes the words of a text in order; together they are the text. */
typedef zt_status (*zt_word_sink)(void *context, const char *word, size_t size);

/** \param[in]  rule  "pre_tokenizer": ByteLevel, Split (isolated), Digits or a
 *                    Sequence of them
 *  \param[in]  path  for messages
 *  \param[out] split zt_bpe_split_destroy() it
 *  \return ZT_ERR_DATA naming what is not known, ZT_ERR_MEMORY. */
zt_status zt_bpe_split_create(json_t *rule, const char *path,
                              zt_bpe_split **split);
/** Sets *split to NULL; NULL is allowed. */
void zt_bpe_split_destroy(zt_bpe_split **split);

/** Cut a whole text into words.
 *  \param[in] text  [size] UTF-8
 *  \return what the sink returned, ZT_ERR_DATA if a pattern gives up. */
zt_status zt_bpe_split_text(zt_bpe_split *split, const char *text, size_t size,
                            zt_word_sink sink, void *context);
/** The last place at which a text may be cut without changing its words: behind
 *  a letter or digit, before white space or punctuation.  All patterns in use
 *  end a word there, whatever stands around.
 *  \return 0 if there is none. */
size_t zt_bpe_split_safe(zt_bpe_split *split, const char *text, size_t size);

#endif
