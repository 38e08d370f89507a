/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The digest of a state: one number that is equal when all values are, on any
 *  number of ranks and in any order of work.
 *
 *  key = XXH3_64("PREFIX/NAME[d0,d1,...]"); h_i = mix((key + i * GOLDEN) xor
 *  u_i), where u_i are the 32 bits of element i widened exactly to fp32 and i
 *  is its row-major index; digest = sum over parameters of (key + sum of h_i),
 *  mod 2^64.  Tied names count once, by their canonical name.  Partial sums add
 *  up by plain unsigned addition; ranks add theirs by one all-reduce. */
#ifndef ZT_IO_DIGEST_H
#define ZT_IO_DIGEST_H

#include "base/dtype.h"
#include "layout/params.h"

#include <stddef.h>
#include <stdint.h>

/** The key of one parameter; all functions here are Local.
 *  \param[in] prefix  "parameters", "exp_avg", "exp_avg_sq" */
uint64_t zt_digest_key(const char *prefix, const char *name, int ndim,
                       const int64_t *dims);
/** The key of a text that counts by itself, such as "step=12". */
uint64_t zt_digest_text(const char *text);
/** Sum of h_i over n neighbouring elements; the key itself is not in it.
 *  \param[in] values  [n], need not be aligned
 *  \param[in] first   row-major index of the first one */
uint64_t zt_digest_add(uint64_t key, zt_dtype dtype, const void *values,
                       int64_t first, int64_t n);
/** What these elements of a parameter add to the digest: their h_i, and with
 *  the first element of all the key. */
uint64_t zt_digest_part(const char *prefix, const zt_param *param,
                        zt_dtype dtype, const void *values, int64_t first,
                        int64_t n);

#endif
