/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Added tokens: texts such as <|endoftext|> that are one id wherever they
 *  stand.  All functions are Local. */
#ifndef ZT_TOKENIZER_BPE_ADDED_H
#define ZT_TOKENIZER_BPE_ADDED_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zt_added_token {
  char *text;
  size_t size;
  int32_t id;
  bool special; /* stands for no text */
} zt_added_token;

typedef struct zt_added_tokens {
  zt_added_token *list; /* longest first */
  size_t count, capacity;
  size_t longest;   /* bytes */
  bool begins[256]; /* bytes that one begins with */
  int64_t id_end;   /* one more than the largest id */
} zt_added_tokens;

/** \param[in]  array  "added_tokens" of a tokenizer.json, NULL: none
 *  \param[out] added  zt_added_tokens_free() it, also after a failure
 *  \return ZT_ERR_DATA naming what is not known, ZT_ERR_MEMORY. */
zt_status zt_added_tokens_read(json_t *array, const char *path,
                               zt_added_tokens *added);
void zt_added_tokens_free(zt_added_tokens *added);
/** The first one in a text, the longest of those that begin there.
 *  \param[out] at  its place
 *  \return NULL if there is none. */
const zt_added_token *zt_added_tokens_find(const zt_added_tokens *added,
                                           const char *text, size_t size,
                                           size_t *at);
/** By its text or its id, NULL: none. */
const zt_added_token *zt_added_token_named(const zt_added_tokens *added,
                                           const char *text);
const zt_added_token *zt_added_token_of(const zt_added_tokens *added,
                                        int64_t id);

#endif
