/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  ZeRO-3: every rank keeps its slices of all units and nothing else of the
 *  model.
 *
 *  A micro-batch visits the stages of the model forward and then backward; on
 *  each visit the unit of the stage is gathered, used and forgotten.  Gradients
 *  are reduced, visit by visit, onto accumulators of the owners in the order of
 *  the micro-batches, so no bit depends on the number of ranks.
 *
 *  Collective unless it says Local.  Failures inside the functions that gather
 *  and reduce cannot be agreed on: the caller aborts. */
#ifndef ZT_TRAIN_ZERO3_H
#define ZT_TRAIN_ZERO3_H

#include "base/arena.h"
#include "comm/comm.h"
#include "device/device.h"
#include "layout/shard.h"
#include "model/model.h"

#include <stdbool.h>

/** Arena sizes in bytes; made by planning. */
typedef struct zt_zero3_sizes {
  size_t state;   /* device: master, moments, accumulators */
  size_t units;   /* device: gathered units, one gradient */
  size_t staging; /* device: pieces of a reduction under way */
  size_t host;    /* host: statistics of the optimizer */
} zt_zero3_sizes;

typedef struct zt_zero3_options {
  bool training;      /* else parameters alone */
  bool moments;       /* in training: with exp_avg and exp_avg_sq */
  int64_t statistics; /* number of what the optimizer keeps beside them */
  int prefetch;       /* units gathered ahead, 0 .. ZT_COMM_SLOTS - 1 */
  size_t keep;    /* bytes for units that, once gathered, stay until they are
                     forgotten: in the model's order, each that still fits */
  zt_dtype dtype; /* of gathered units: ZT_FP32, or ZT_BF16, which each owner
                     rounds to before the gather; vectors stay fp32 besides */
  float *master;  /* slices of another zt_zero3 of this model and communicator,
                     which are used in place of own ones; NULL: none */
} zt_zero3_options;

typedef struct zt_zero3 {
  const zt_model *model;
  zt_device *dev;
  zt_comm *comm;
  zt_zero3_options options;
  zt_shard shard; /* of this rank */
  /* This rank's slices, [shard.numel] fp32 on the device, unit u's slice at
   * shard.at[u]; elements beyond a unit's end are zero. */
  float *master, *exp_avg, *exp_avg_sq; /* NULL: not kept */
  float *statistics; /* [options.statistics] host, the same on every rank */
  /* Parameters of one dimension, [model->params.vectors] fp32 on the device,
   * valid while a unit is visited: in bf16 the weights of norms, which begin at
   * 1, would stay there until the master has moved by half of 2^-8.  NULL:
   * units are fp32. */
  float *vectors;
  /* Accumulated gradient of each stage's use of its unit: [slice of the unit];
   * the first use of a unit has the sum after zt_zero3_finish(). */
  float **accumulated; /* [stages] */
  struct zt_zero3_inside *inside;
} zt_zero3;

/** Slices of zeros.
 *  Local.
 *  \param[in] sizes  what planning found; NULL on a device that only counts
 *  \return ZT_ERR_MEMORY. */
zt_status zt_zero3_create(const zt_model *model, zt_device *dev, zt_comm *comm,
                          const zt_zero3_options *options,
                          const zt_zero3_sizes *sizes, zt_zero3 **zero3);
/** Local.  Sets *zero3 to NULL; NULL is allowed. */
void zt_zero3_destroy(zt_zero3 **zero3);
/** Most memory used since creation.  Local. */
zt_zero3_sizes zt_zero3_peak(const zt_zero3 *zero3);

/** The stages that will be visited, in this order: gathers are started ahead
 *  along it.  Replaces what is left of an earlier list.  Local.
 *  \param[in] stages  [n]; copied */
zt_status zt_zero3_plan_visits(zt_zero3 *zero3, const int *stages, int n);
/** The next stage on the list: its unit, gathered.
 *  \param[out] params  [unit] of options.dtype, valid until the next call */
zt_status zt_zero3_visit(zt_zero3 *zero3, const void **params);

/** Forget gathered units, which an update has made stale.  Local. */
void zt_zero3_forget_units(zt_zero3 *zero3);
/** Forget accumulated gradients too: begin a step.  Local. */
zt_status zt_zero3_begin_step(zt_zero3 *zero3);
/** A zeroed gradient for the unit of a stage.  Local.
 *  \param[out] gradient  fp32 [unit], valid until zt_zero3_reduce() */
zt_status zt_zero3_gradient(zt_zero3 *zero3, int stage, float **gradient);
/** Add the gradients of ranks 0 .. contributors - 1 to the accumulator of the
 *  stage; the others have none to give. */
zt_status zt_zero3_reduce(zt_zero3 *zero3, int stage, int contributors);
/** After the last micro-batch: add up the uses of each unit in forward order.
 *  Local. */
zt_status zt_zero3_finish(zt_zero3 *zero3);
/** The accumulated gradient of a unit's slice, after zt_zero3_finish(). */
float *zt_zero3_sum(const zt_zero3 *zero3, int unit);

#endif
