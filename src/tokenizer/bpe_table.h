/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Vocabulary and merges of a byte-level BPE model, and the encoding of single
 *  words by them.  All functions are Local. */
#ifndef ZT_TOKENIZER_BPE_TABLE_H
#define ZT_TOKENIZER_BPE_TABLE_H

#include "base/status.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zt_bpe_table zt_bpe_table;

/** Ids as they are found. */
typedef struct zt_bpe_ids {
  int32_t *list;
  size_t count, capacity;
} zt_bpe_ids;

/** \param[in]  model  "model" of a tokenizer.json: "vocab", "merges",
 *                     "ignore_merges"
 *  \param[in]  path   for messages
 *  \param[out] table  zt_bpe_table_destroy() it
 *  \return ZT_ERR_DATA, ZT_ERR_MEMORY. */
zt_status zt_bpe_table_create(json_t *model, const char *path,
                              zt_bpe_table **table);
/** Sets *table to NULL; NULL is allowed. */
void zt_bpe_table_destroy(zt_bpe_table **table);

/** One more than the largest id. */
int64_t zt_bpe_table_size(const zt_bpe_table *table);
/** The id of a token by its bytes, -1: none. */
int32_t zt_bpe_table_find(const zt_bpe_table *table, const char *bytes,
                          size_t size);
/** Bytes of a token, which belong to the table; NULL if there is none. */
const char *zt_bpe_table_bytes(const zt_bpe_table *table, int64_t id,
                               size_t *size);
/** Append the ids of a word.  A byte that the vocabulary lacks is left out, as
 *  in the reference.  Words are remembered: a table serves one thread.
 *  \return ZT_ERR_MEMORY. */
zt_status zt_bpe_table_encode(zt_bpe_table *table, const char *word,
                              size_t size, zt_bpe_ids *ids);

#endif
