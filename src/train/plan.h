/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What a run will take, before anything of it is allocated: one step on a
 *  device and a communicator that only count. */
#ifndef ZT_TRAIN_PLAN_H
#define ZT_TRAIN_PLAN_H

#include "base/settings.h"
#include "base/text.h"
#include "io/restart.h"
#include "train/step.h"

typedef struct zt_plan {
  int ranks;
  int64_t parameters;
  zt_step_sizes sizes; /* of rank 0, which has the most to do */
  size_t answers;      /* bytes: generation while evaluating */
  size_t saves;        /* bytes: restarts on their way to disk */
  size_t total;        /* bytes of a rank: all of these */
  size_t on_device;    /* of them, 0 where the device has the host's memory */
  int64_t micro_batches, rounds;
  double idle;                /* share of ranks x rounds */
  double flops;               /* of rank 0's matrix products in a step */
  uint64_t gathered, reduced; /* bytes rank 0 sends in a step */
  int64_t restart_bytes;      /* of one restart, all ranks */
  int64_t largest_unit;       /* elements */
} zt_plan;

/** Whether the model can learn the task that the settings ask for, and takes
 *  samples of that length.  Local.
 *  \return ZT_ERR_CONFIG naming the key. */
zt_status zt_plan_check_task(const zt_settings *settings,
                             const zt_model *model);

/** The options of a step as the settings have them, for a model. */
zt_step_options zt_step_options_of(const zt_settings *settings,
                                   const zt_model *model);

/** The samples a model takes, as the settings have them. */
zt_batch_spec zt_batch_spec_of(const zt_settings *settings,
                               const zt_model *model);

/** Local.
 *  \param[in] like  the device planned for
 *  \return ZT_ERR_MEMORY, ZT_ERR_CONFIG. */
zt_status zt_plan_make(const zt_model *model, const zt_step_options *options,
                       const zt_device *like, int ranks, zt_plan *plan);

/** How restarts are written, as the settings have it. */
zt_restart_options zt_restart_options_of(const zt_settings *settings);

/** Add what saves take.  Local.
 *  \param[in] config_bytes  of the files beside the weights; 0 if unknown
 *  \return ZT_ERR_MEMORY. */
zt_status zt_plan_add_saves(zt_plan *plan, const zt_model *model,
                            const zt_settings *settings, int64_t config_bytes);

/** Add what evaluation by generation takes, if train.eval_generate asks for it.
 *  Local.
 *  \return ZT_ERR_CONFIG, ZT_ERR_MEMORY. */
zt_status zt_plan_add_answers(zt_plan *plan, const zt_model *model,
                              const zt_settings *settings,
                              const zt_device *like);

/** Tables for people, or one JSON object. */
void zt_plan_format(const zt_plan *plan, bool json, zt_text *text);

/** Whether `ranks_here` ranks of this plan fit into the memory of this node,
 *  and one into that of its device.  Local.
 *  \param[in] dev  NULL: there is none to ask
 *  \return ZT_ERR_MEMORY naming both figures and ways out. */
zt_status zt_plan_check_memory(const zt_plan *plan, zt_device *dev,
                               int ranks_here);

#endif
