/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The commands of ztinfo. */
#ifndef ZT_PROG_INFO_H
#define ZT_PROG_INFO_H

#include "base/text.h"
#include "io/restart.h"
#include "io/tokens.h"
#include "prog/program.h"
#include "report/runstate.h"

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
/** ztinfo hang RUNDIR: which rank was out of step.  Collective. */
zt_status zt_info_hang(zt_program *program, int argc, char **argv);
/** ztinfo iobench DIR: raw rates of a directory.  Collective. */
zt_status zt_info_iobench(zt_program *program, int argc, char **argv);
/** ztinfo faults.  Collective. */
zt_status zt_info_faults(zt_program *program, int argc, char **argv);
/** What a weights file or Hugging Face directory holds, on standard output;
 *  part of ztinfo show.  Collective. */
zt_status zt_info_show_weights(zt_program *program, const char *path,
                               bool json);
/** How a run stands and which restarts it has, on standard output; part of
 *  ztinfo show.  Collective. */
zt_status zt_info_show_run(zt_program *program, const char *path, bool json);
/** Bytes of all parts of a restart; and what its manifest says: how it was
 *  made as a few words, all as lines, all as further members of a JSON object.
 *  Local. */
int64_t zt_info_restart_bytes(const zt_restart *restart);
void zt_info_add_made(zt_text *text, const zt_restart *restart);
void zt_info_add_restart(zt_text *text, const zt_restart *restart);
void zt_info_add_restart_json(zt_text *text, const zt_restart *restart);
/** ztinfo views RESTART: write its views.h5.  Collective. */
zt_status zt_info_views(zt_program *program, int argc, char **argv);
/** A run's state as one line without its end, and as a JSON object.  Local. */
void zt_info_add_state(zt_text *text, const char *dir, const zt_runstate *s);
void zt_info_add_state_json(zt_text *text, const zt_runstate *s);
/** What a token file holds, on standard output; part of ztinfo show.
 *  Collective.
 *  \param[in] samples    documents to show as well
 *  \param[in] tokenizer  to decode them; NULL: what the file says, if it can */
zt_status zt_info_show_tokens(zt_program *program, const char *path,
                              int64_t samples, const char *tokenizer,
                              bool json);
/** The first documents as text, and what is learnt of them.  Local. */
zt_status zt_info_add_samples(zt_text *text, const zt_tokens *tokens,
                              int64_t samples, const char *tokenizer,
                              bool json);

#endif
