/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  ztrain --eval-only: what a run's evaluation would say, outside of a run. */
#ifndef ZT_PROG_EVALUATING_H
#define ZT_PROG_EVALUATING_H

#include "base/settings.h"
#include "prog/program.h"

/** Evaluate, and print the line that a run's metrics would get on standard
 *  output.  Nothing is written to the run's directory.
 *  Collective.
 *  \param[in] restart  "auto": the newest restart of the run, else
 *                      model.weights; "none": these; "require": a restart; or
 *                      the path of a restart or of weights
 *  \return agreed status; ZT_STOPPED. */
zt_status zt_evaluate_only(zt_program *program, const zt_settings *settings,
                           const char *restart);

#endif
