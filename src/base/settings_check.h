/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What concerns more than one key of a configuration, and what a program
 *  needs. */
#ifndef ZT_BASE_SETTINGS_CHECK_H
#define ZT_BASE_SETTINGS_CHECK_H

#include "base/settings.h"

/** What a program cannot do without. */
enum {
  ZT_NEED_RUN = 1,     /* run.dir */
  ZT_NEED_DATA = 2,    /* data.train */
  ZT_NEED_WEIGHTS = 4, /* model.weights */
  ZT_NEED_MODEL = 8,   /* model.weights or model.config */
  ZT_NEED_BATCH = 16,  /* train.batch, train.microbatch */
  ZT_NEED_STEPS = 32,  /* train.steps */
  ZT_NEED_VALID = 64,  /* data.valid or data.valid_fraction */
  ZT_NEED_TO_EVALUATE = 16 + 64,
  ZT_NEED_TO_TRAIN = 1 + 2 + 4 + 16 + 32,
  ZT_NEED_TO_PLAN = 8 + 16
};

/** Check what concerns more than one key, what this version cannot do yet, and
 *  that the needed keys are given.
 *  Local.
 *  \param[in] needs  ZT_NEED_... added up
 *  \return ZT_ERR_CONFIG as zt_settings_read(). */
zt_status zt_settings_check(const zt_settings *settings, unsigned needs);

#endif
