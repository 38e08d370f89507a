/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Choosing a token by its logits.  A draw depends on the seed, the prompt and
 *  the token's number alone, so never on ranks, slots or the order of work.
 *  All Local. */
#ifndef ZT_TRAIN_SAMPLE_H
#define ZT_TRAIN_SAMPLE_H

#include <stdint.h>

typedef struct zt_sampling {
  double temperature; /* 0: the best token always */
  int64_t top_k;      /* among so many of the best; 0: all */
  double top_p;       /* among the fewest that have this share; 1: all */
  uint64_t seed;
} zt_sampling;

/** The token for these logits.  Equal logits stand in order of their ids.
 *  \param[in,out] logits  [n]; changed; -INFINITY: never chosen
 *  \param[in]     room    [n], scratch
 *  \param[in]     prompt, token  what the draw is for */
int32_t zt_sample(const zt_sampling *sampling, float *logits, int64_t n,
                  int32_t *room, int64_t prompt, int64_t token);

#endif
