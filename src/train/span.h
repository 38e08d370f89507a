/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Span corruption: the noise of T5's pre-training, noise density 0.15, mean
 *  span 3.
 *
 *  A raw text is cut into spans, text and noise in turn, beginning with text
 *  and ending with noise.  In the source each noise span is replaced by a
 *  sentinel; the target is the noise spans, each after its sentinel.  Sentinel
 *  k is the id first - k.  Both end with the end id.  Numbers of noise tokens
 *  and spans follow from the length alone; all divisions into so many spans are
 *  equally likely.  All functions are Local.
 *  Source: Raffel et al. 2020, t5.data.preprocessors.random_spans_noise_mask;
 *  Hugging Face's run_t5_mlm_flax. */
#ifndef ZT_TRAIN_SPAN_H
#define ZT_TRAIN_SPAN_H

#include <stdint.h>

/** What corruption makes of a raw text, in tokens. */
typedef struct zt_span_lengths {
  int64_t noise, spans; /* 0 if the text is too short to corrupt */
  int64_t source, target;
} zt_span_lengths;

enum { ZT_SPAN_LEAST_SOURCE = 3 }; /* two tokens: one, sentinel, end */

/** Neither source nor target is shorter for a longer text.  A text of less than
 *  two tokens is not corrupted: it is the source, the target is the end id. */
zt_span_lengths zt_span_measure(int64_t raw);
/** The longest raw text whose source fits.
 *  \param[in] source_length  at least ZT_SPAN_LEAST_SOURCE */
int64_t zt_span_raw_length(int64_t source_length);

/** Whose random numbers: nothing here depends on ranks. */
typedef struct zt_span_draw {
  uint64_t seed;
  uint32_t step, sample; /* index of the sample in the global batch */
} zt_span_draw;

/** Corrupt a text.
 *  \param[in]  raw       [n]
 *  \param[in]  sentinel  id of the first one
 *  \param[out] lengths   [2 * spans], scratch
 *  \param[out] source    [zt_span_measure(n).source]
 *  \param[out] target    [zt_span_measure(n).target] */
void zt_span_corrupt(const zt_span_draw *draw, const int32_t *raw, int64_t n,
                     int32_t sentinel, int32_t eos, int32_t *lengths,
                     int32_t *source, int32_t *target);

#endif
