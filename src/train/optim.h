/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  From accumulated gradients to new parameters: norm, clipping, and
 *  AdamW or Adafactor. */
#ifndef ZT_TRAIN_OPTIM_H
#define ZT_TRAIN_OPTIM_H

#include "base/settings.h"
#include "train/adafactor.h"

typedef struct zt_optim_options {
  zt_optimizer_kind kind;
  double beta1, beta2, eps;       /* AdamW */
  zt_adafactor_options adafactor; /* all but its weight decay */
  double weight_decay;
  bool decay_all;                /* else matrices alone, as Hugging Face does */
  double clip;                   /* largest norm, 0: no clipping */
  const char *freeze, *lr_scale; /* patterns (train/rates.h), NULL: none; they
                                    have to stay until the optimizer is made */
} zt_optim_options;

typedef struct zt_optim zt_optim;

/** Local.  \return ZT_ERR_MEMORY, ZT_ERR_CONFIG for the patterns. */
zt_status zt_optim_create(zt_zero3 *zero3, const zt_optim_options *options,
                          zt_optim **optim);
/** Local.  Sets *optim to NULL; NULL is allowed. */
void zt_optim_destroy(zt_optim **optim);

/** Bytes that it works with beside the state; of AdamW nothing to speak of.
 *  Local.  NULL is allowed. */
size_t zt_optim_bytes(const zt_optim *optim);

/** Who is asked before the state changes; NULL: nobody.  Local. */
void zt_optim_guard(zt_optim *optim, zt_before_change before, void *context);

/** Norm of the mean gradient, before clipping.
 *  Collective.  What is frozen does not count: its sums become zero.
 *  \param[in]  targets  in the global batch: what the sums are divided by
 *  \param[out] norm     NaN if any gradient is not finite
 *  \param[out] bad      then the first such parameter, else -1 */
zt_status zt_optim_norm(zt_optim *optim, int64_t targets, double *norm,
                        int *bad);

/** One step on this rank's slices.
 *  Collective; a failure cannot be agreed on: the caller aborts.
 *  \param[in] norm  from zt_optim_norm()
 *  \param[in] t     number of this update, from 1 */
zt_status zt_optim_update(zt_optim *optim, double norm, int64_t targets,
                          double lr, int64_t t);

#endif
