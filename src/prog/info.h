/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The commands of ztinfo. */
#ifndef ZT_PROG_INFO_H
#define ZT_PROG_INFO_H

#include "prog/program.h"

/** ztinfo status RUNDIR: one line, exit code 0 done, 75 more, 1 failed.
 *  Collective. */
zt_status zt_info_status(zt_program *program, int argc, char **argv);

#endif
