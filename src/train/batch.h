/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  From token files to the inputs of a step.
 *
 *  A step takes `batch` samples; place p of step s (from 1) takes the sample
 *  with running index g = (s - 1) * batch + p.  Sequential order: sample
 *  g mod n of the n samples of all files, one file after the other.  Shuffled:
 *  zt_permute(seed, g / n, n, g mod n), so every epoch meets each sample once.
 *  Shuffled with weights: of each 65,536 running indices in a row every file
 *  has its share, in an order drawn anew; the k-th one of a file takes its
 *  sample zt_permute(its key, k / n, n, k mod n), n being those of the file.
 *  What a place holds depends on the files, the specification and (s, p) alone,
 *  never on ranks or micro-batches.
 *
 *  Of the samples of each file a share can be held out (train/split.h); either
 *  these or the others are those of a batch.  What a sample is: samples.h.
 *
 *  All functions are Local. */
#ifndef ZT_TRAIN_BATCH_H
#define ZT_TRAIN_BATCH_H

#include "base/settings.h"
#include "base/status.h"
#include "io/tokens.h"

#include <stdbool.h>
#include <stdint.h>

enum { ZT_NO_LABEL = -100 }; /* as Hugging Face marks it */

typedef struct zt_batch_spec {
  zt_task task;
  int64_t source_length, target_length; /* tokens, with the end id; causal:
                                           source 0, target all of a sample */
  bool packing;                         /* not sequence to sequence */
  bool documents;       /* causal: attention ends at them, packed or not */
  zt_too_long too_long; /* causal */
  bool shuffled;
  int64_t batch; /* samples of the global batch */
  uint64_t seed;
  double hold_out;     /* share of the samples; 0: none */
  bool held_out;       /* they are meant, not the others */
  uint64_t split_seed; /* what they are drawn by */
  /* Of the model; -1 for an id it does not have. */
  int64_t vocabulary, pad_id, eos_id, start_id;
} zt_batch_spec;

typedef struct zt_batch zt_batch;

/** Inputs of neighbouring samples, in the caller's memory, row-major. */
typedef struct zt_micro_batch {
  int32_t *source;       /* [samples, source_length] padded with the pad id */
  int32_t *source_valid; /* [samples] tokens before the padding */
  int32_t *target;       /* [samples, target_length] decoder input: the start
                            id, then the labels, or causal: the text; pad id
                            where there is none */
  int32_t *labels;       /* [samples, target_length] or ZT_NO_LABEL */
  int32_t *first;        /* [samples, target_length] zt_text_row.first; NULL:
                            not asked for */
  int64_t tokens;        /* unpadded, of source and target (labels or text) */
  int64_t targets;       /* labels */
} zt_micro_batch;

/** Of one file or several.
 *  \param[in] tokens   [n] must stay open
 *  \param[in] weights  [n] above 0; NULL: all files as one
 *  \return ZT_ERR_CONFIG for lengths that do not do, ZT_ERR_DATA for a file
 *          that does not fit the task or the model or holds less than one
 *          sample, or for files that do not go together, ZT_ERR_MEMORY. */
zt_status zt_batch_create(const zt_batch_spec *spec, zt_tokens *const *tokens,
                          const double *weights, int n, zt_batch **batch);
/** Sets *batch to NULL; NULL is allowed. */
void zt_batch_destroy(zt_batch **batch);

/** Number of samples. */
int64_t zt_batch_samples(const zt_batch *batch);
/** Which sample stands at a place of a step (from 1): its number in all files,
 *  one after the other. */
int64_t zt_batch_sample(zt_batch *batch, int64_t step, int64_t place);

/** What a file gives. */
typedef struct zt_batch_share {
  const char *path;
  int64_t samples; /* of the file; neither held out nor left to others */
  double share;    /* of the places */
} zt_batch_share;

int zt_batch_files(const zt_batch *batch);
/** Places of the first steps that a file had; with weights alone, else -1. */
int64_t zt_batch_places(zt_batch *batch, int64_t steps, int file);
zt_batch_share zt_batch_share_of(const zt_batch *batch, int file);
/** Places [first, first + samples) of a step.  Allocates nothing.
 *  \param[in,out] micro  its arrays are filled
 *  \return ZT_ERR_DATA, ZT_ERR_IO. */
zt_status zt_batch_fill(zt_batch *batch, int64_t step, int64_t first,
                        int64_t samples, zt_micro_batch *micro);

#endif
