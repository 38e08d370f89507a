/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  From accumulated gradients to new parameters: norm, clipping, AdamW. */
#ifndef ZT_TRAIN_OPTIM_H
#define ZT_TRAIN_OPTIM_H

#include "train/zero3.h"

/** Sum of fp64 numbers of all ranks, the same bits in whatever order and on
 *  however many ranks they lie: each is cut to a common grid, 68 bits below the
 *  largest exponent, and added as integers.
 *  Collective.
 *  \param[in]  values  [n] not negative; an infinity or NaN makes *sum NaN
 *  \param[out] sum     relative error <= n_total * 2^-68 */
zt_status zt_exact_sum(zt_comm *comm, const double *values, int64_t n,
                       double *sum);

typedef struct zt_adamw_options {
  double beta1, beta2, eps, weight_decay;
  bool decay_all;                /* else matrices alone, as Hugging Face does */
  double clip;                   /* largest norm, 0: no clipping */
  const char *freeze, *lr_scale; /* patterns (train/rates.h), NULL: none; they
                                    have to stay until the optimizer is made */
} zt_adamw_options;

typedef struct zt_optim zt_optim;

/** Called before elements at .. at + n - 1 of the shard change, in rising
 *  order. */
typedef zt_status (*zt_before_change)(void *context, int64_t at, int64_t n);

/** Local.  \return ZT_ERR_MEMORY, ZT_ERR_CONFIG for the patterns. */
zt_status zt_optim_create(zt_zero3 *zero3, const zt_adamw_options *options,
                          zt_optim **optim);
/** Local.  Sets *optim to NULL; NULL is allowed. */
void zt_optim_destroy(zt_optim **optim);

/** Who is asked before the state changes; NULL: nobody.  Local. */
void zt_optim_guard(zt_optim *optim, zt_before_change before, void *context);

/** Norm of the mean gradient, before clipping.
 *  Collective.  What is frozen does not count: its sums become zero.
 *  \param[in]  targets  in the global batch: what the sums are divided by
 *  \param[out] norm     NaN if any gradient is not finite
 *  \param[out] bad      then the first such parameter, else -1 */
zt_status zt_optim_norm(zt_optim *optim, int64_t targets, double *norm,
                        int *bad);

/** One AdamW step on this rank's slices.
 *  Local.
 *  \param[in] norm  from zt_optim_norm()
 *  \param[in] t     number of this update, from 1 */
zt_status zt_optim_update(zt_optim *optim, double norm, int64_t targets,
                          double lr, int64_t t);

#endif
