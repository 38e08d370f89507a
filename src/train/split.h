/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Samples held out of a file: spread evenly over it, one in each of as many
 *  equal stretches, drawn by a key.  Either side is numbered in the order of
 *  the file, at no cost in memory.  All functions are Local. */
#ifndef ZT_TRAIN_SPLIT_H
#define ZT_TRAIN_SPLIT_H

#include <stdbool.h>
#include <stdint.h>

typedef struct zt_split {
  int64_t samples, held; /* all of them, and those held out */
  uint64_t key;
} zt_split;

/** \param[in] share  0: nothing is held out; else at least one sample is */
zt_split zt_split_of(int64_t samples, double share, uint64_t key);
/** Samples of a side. */
int64_t zt_split_count(const zt_split *split, bool held_out);
/** Which sample is the i-th of a side. */
int64_t zt_split_sample(const zt_split *split, bool held_out, int64_t i);

#endif
