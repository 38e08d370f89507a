/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The samples of a token file, one by one.
 *
 *  Span corruption, packing: sample i is the window [i * raw, (i + 1) * raw) of
 *  the documents one after the other, raw being the longest text whose source
 *  fits; a short tail is dropped.
 *  Span corruption, no packing: sample i is document i without its end id, cut
 *  on the right at raw tokens.
 *  Sequence to sequence: sample i is pair i; source and target are cut on the
 *  right, end id or not, at their lengths.
 *  Causal: train/texts.h, L being the target length.
 *
 *  All functions are Local. */
#ifndef ZT_TRAIN_SAMPLES_H
#define ZT_TRAIN_SAMPLES_H

#include "train/batch.h"
#include "train/span.h"

typedef struct zt_samples zt_samples;

/** Where a sample goes, as rows of a micro-batch, and how much it is. */
typedef struct zt_sample_row {
  int32_t *source, *target, *labels, *first;
  int64_t sources; /* tokens before the padding of the source */
  int64_t tokens;  /* unpadded, of source and target */
  int64_t targets; /* labels */
} zt_sample_row;

/** \param[in] tokens  must stay open
 *  \return as zt_batch_create(). */
zt_status zt_samples_create(const zt_batch_spec *spec, const zt_tokens *tokens,
                            zt_samples **samples);
/** Sets *samples to NULL; NULL is allowed. */
void zt_samples_destroy(zt_samples **samples);
int64_t zt_samples_count(const zt_samples *samples);
/** Allocates nothing.
 *  \param[in] draw  what the noise of span corruption is drawn by
 *  \return ZT_ERR_DATA, ZT_ERR_IO. */
zt_status zt_samples_read(zt_samples *samples, int64_t sample,
                          const zt_span_draw *draw, zt_sample_row *row);

#endif
