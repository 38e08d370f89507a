/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Samples of the causal task.
 *
 *  Plain documents, packing: sample i is the window [i * L, (i + 1) * L) of the
 *  documents one after the other; a short tail is dropped.
 *  Pairs and documents with a mask, packing: a sample is as many whole
 *  documents, in the file's order, as fit into L tokens.
 *  No packing: sample i is document i.  A pair is a document too: its source,
 *  then its target.  A document that has to be whole and is longer than L is
 *  cut on the right, left out or an error, as the specification says.
 *
 *  Each token but the first of a sample is the label of the token before it; of
 *  a pair the target alone, of a masked document what the mask says.  With
 *  `documents`, and for pairs and masked documents in any case, the first token
 *  of a document is no label, and attention and positions begin there.
 *
 *  All functions are Local. */
#ifndef ZT_TRAIN_TEXTS_H
#define ZT_TRAIN_TEXTS_H

#include "base/settings.h"
#include "io/tokens.h"

typedef struct zt_texts_spec {
  int64_t length; /* tokens of a sample */
  bool packing;
  bool documents; /* plain windows end attention at documents */
  zt_too_long too_long;
  int64_t pad_id;
} zt_texts_spec;

typedef struct zt_texts zt_texts;

/** Where a sample goes, each [length]. */
typedef struct zt_text_row {
  int32_t *ids;    /* padded with the pad id */
  int32_t *labels; /* the next token, or ZT_NO_LABEL */
  int32_t *first;  /* the token that the document of a token begins with, as an
                      index in the sample; NULL: not asked for */
  int64_t tokens;  /* before the padding */
  int64_t targets; /* labels */
} zt_text_row;

/** \param[in] tokens  must stay open
 *  \return ZT_ERR_DATA for a file with less than one sample or with a document
 *          that is too long and must not be, ZT_ERR_IO, ZT_ERR_MEMORY. */
zt_status zt_texts_create(const zt_texts_spec *spec, const zt_tokens *tokens,
                          zt_texts **texts);
/** Sets *texts to NULL; NULL is allowed. */
void zt_texts_destroy(zt_texts **texts);
int64_t zt_texts_samples(const zt_texts *texts);
/** Fill a row.  Allocates nothing.  \return ZT_ERR_DATA, ZT_ERR_IO. */
zt_status zt_texts_read(zt_texts *texts, int64_t sample, zt_text_row *row);

#endif
