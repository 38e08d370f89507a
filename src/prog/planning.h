/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What a configuration comes to, without running it. */
#ifndef ZT_PROG_PLANNING_H
#define ZT_PROG_PLANNING_H

#include "base/settings.h"
#include "prog/program.h"

/** Print the plan of a run on some number of ranks, on standard output.
 *  Collective.  \return agreed status. */
zt_status zt_print_plan(zt_program *program, const zt_settings *settings,
                        int ranks, bool json);
/** Open and check everything a run would read, and its plan.
 *  Collective.  \return agreed status. */
zt_status zt_check_inputs(zt_program *program, const zt_settings *settings);

#endif
