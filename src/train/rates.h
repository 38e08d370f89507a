/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Learning rates of single parameters, and which ones are frozen.  Patterns
 *  are those of file names (`*`, `?`, `[...]`), on the names that Hugging Face
 *  gives.  All functions are Local. */
#ifndef ZT_TRAIN_RATES_H
#define ZT_TRAIN_RATES_H

#include "layout/params.h"

/** What the learning rate of each parameter is multiplied by.
 *  \param[in]  freeze  "PATTERN ...": 0, whatever else matches
 *  \param[in]  scales  "PATTERN=FACTOR ...": the first that matches; else 1
 *  \param[out] rates   [params->count]
 *  \return ZT_ERR_CONFIG for a pattern that matches nothing, for a factor that
 *          is none, or when all is frozen. */
zt_status zt_param_rates(const zt_params *params, const char *freeze,
                         const char *scales, double *rates);

#endif
