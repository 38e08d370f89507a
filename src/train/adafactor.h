/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Adafactor, as Hugging Face Transformers has it for T5: second moments of a
 *  matrix are kept as means of its rows and columns, those of other parameters
 *  as they are.  No first moment.
 *
 *  These statistics are O(rows + columns), so every rank holds all of them; the
 *  sums they are made of run over slices of all ranks, as integers, and have
 *  the same bits on any number of ranks.
 *
 *  Source: Shazeer and Stern 2018; transformers.optimization.Adafactor. */
#ifndef ZT_TRAIN_ADAFACTOR_H
#define ZT_TRAIN_ADAFACTOR_H

#include "train/zero3.h"

typedef struct zt_adafactor_options {
  double decay_rate;     /* beta2 of update t is 1 - t^-decay_rate */
  double clip_threshold; /* largest RMS of a tensor's update */
  double eps1, eps2;     /* added to squares; least RMS of a parameter */
  bool scale_parameter;  /* the rate is a share of the parameter's RMS */
  double weight_decay;
} zt_adafactor_options;

/** Called before elements at .. at + n - 1 of the shard change, in rising
 *  order. */
typedef zt_status (*zt_before_change)(void *context, int64_t at, int64_t n);

/** Number of the statistics of all parameters: of a matrix its rows and then
 *  its columns, of others all elements; in canonical order.  Local. */
int64_t zt_adafactor_statistics(const zt_params *params);
/** What a restart holds: the parameters, and a last unit of statistics, named
 *  after their parameter.
 *  Local.  \param[out] stored  zt_params_free() it */
zt_status zt_adafactor_stored(const zt_params *params, zt_params *stored);

typedef struct zt_adafactor zt_adafactor;

/** Local.
 *  \param[in] rates   [params] factors of the learning rate, 0: frozen
 *  \param[in] decays  [params] whether a parameter decays
 *  \return ZT_ERR_MEMORY. */
zt_status zt_adafactor_create(zt_zero3 *zero3,
                              const zt_adafactor_options *options,
                              const double *rates, const bool *decays,
                              zt_adafactor **adafactor);
/** Local.  Sets *adafactor to NULL; NULL is allowed. */
void zt_adafactor_destroy(zt_adafactor **adafactor);
/** Bytes that it works with, on host and device.  Local. */
size_t zt_adafactor_bytes(const zt_adafactor *adafactor);

/** One step.  The accumulated gradients become the updates.
 *  Collective.
 *  \param[in] scale   what accumulated gradients are multiplied by
 *  \param[in] t       number of this update, from 1
 *  \param[in] before  NULL: nobody is asked
 *  \return local status: the caller aborts. */
zt_status zt_adafactor_update(zt_adafactor *adafactor, float scale, double lr,
                              int64_t t, zt_before_change before,
                              void *context);

#endif
