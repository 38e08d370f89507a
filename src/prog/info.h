/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The commands of ztinfo. */
#ifndef ZT_PROG_INFO_H
#define ZT_PROG_INFO_H

#include "prog/program.h"

#include <stdbool.h>

/** ztinfo status RUNDIR: one line, exit code 0 done, 75 more, 1 failed.
 *  Collective. */
zt_status zt_info_status(zt_program *program, int argc, char **argv);

/** ztinfo show [--json] PATH: what it holds.  Collective. */
zt_status zt_info_show(zt_program *program, int argc, char **argv);
/** ztinfo digest [--state] PATH: digest of the data.  Collective. */
zt_status zt_info_digest(zt_program *program, int argc, char **argv);

/** ztinfo plan RUN.cfg --ranks N.  Collective. */
zt_status zt_info_plan(zt_program *program, int argc, char **argv);
/** ztinfo faults.  Collective. */
zt_status zt_info_faults(zt_program *program, int argc, char **argv);
/** What a weights file or Hugging Face directory holds, on standard output;
 *  part of ztinfo show.  Collective. */
zt_status zt_info_show_weights(zt_program *program, const char *path,
                               bool json);
/** What a token file holds, on standard output; part of ztinfo show.
 *  Collective. */
zt_status zt_info_show_tokens(zt_program *program, const char *path, bool json);

#endif
