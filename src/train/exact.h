/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Sums of all ranks' fp64 numbers, the same bits in whatever order and on
 *  however many ranks they lie: each is cut to a common grid, 68 bits below the
 *  largest exponent, and added as integers.  Collective. */
#ifndef ZT_TRAIN_EXACT_H
#define ZT_TRAIN_EXACT_H

#include "comm/comm.h"

/** Several sums at once, in two small all-reduces.
 *  \param[in]  values  [n] not negative; an infinity or NaN makes its sum NaN
 *  \param[in]  of      [n] which sum a value belongs to; NULL: all to sum 0
 *  \param[in]  work    [3 * n_sums]
 *  \param[out] sums    [n_sums], relative error <= n_total * 2^-68 */
zt_status zt_exact_sums(zt_comm *comm, const double *values, const int *of,
                        int64_t n, int n_sums, int64_t *work, double *sums);
/** One of them. */
zt_status zt_exact_sum(zt_comm *comm, const double *values, int64_t n,
                       double *sum);

#endif
