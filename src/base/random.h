/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Counter-based random numbers: no state, so a number depends on what it is
 *  for and never on rank, thread or order of use. */
#ifndef ZT_BASE_RANDOM_H
#define ZT_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

/** Philox4x32-10.
 *  \param[in]  key      64 bits, low word first
 *  \param[in]  counter  4 words
 *  \param[out] out      4 words
 *  Source: Salmon et al. 2011, Random123. */
void zt_philox(uint64_t key, const uint32_t counter[4], uint32_t out[4]);

/** Uniform in [0, n) from 64 random bits, n >= 1, bias below n / 2^64. */
uint64_t zt_below(uint32_t high, uint32_t low, uint64_t n);

/** Element i of a sequence of standard normal numbers named by key and stream
 *  (Box-Muller over Philox; counter words: i/2 low, i/2 high, stream). */
double zt_normal(uint64_t key, uint64_t stream, uint64_t i);
/** Elements first .. first + n - 1 of it, at half the cost. */
void zt_normal_fill(uint64_t key, uint64_t stream, uint64_t first, size_t n,
                    double *out);

/** Where a keyed permutation of [0, n) sends i: the order of samples in an
 *  epoch.  A Feistel network over the next power of four, walked until it lands
 *  below n. */
uint64_t zt_permute(uint64_t key, uint64_t epoch, uint64_t n, uint64_t i);

#endif
