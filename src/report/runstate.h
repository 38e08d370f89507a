/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  STATUS.json: how a run stands, for job scripts and `ztinfo status`.
 *
 *  A job that stops in good order ends with 0 whether or not it has more to do,
 *  since a launcher told to kill on bad exits would end slower ranks; this file
 *  tells the two apart.  It is put in place by a rename, as the last thing a
 *  process does.  A process killed by force leaves the file as it was: so each
 *  one begins by writing `more`.  All Local. */
#ifndef ZT_REPORT_RUNSTATE_H
#define ZT_REPORT_RUNSTATE_H

#include "base/json.h"

#include <stdint.h>

#define ZT_RUNSTATE_FILE "STATUS.json"

#define ZT_RUN_LIST(X) /* identifier, name */                                  \
  X(ZT_RUN_DONE, "done")                                                       \
  X(ZT_RUN_MORE, "more")                                                       \
  X(ZT_RUN_FAILED, "failed")

typedef enum zt_run {
#define X(id, name) id,
  ZT_RUN_LIST(X)
#undef X
      ZT_RUN_COUNT
} zt_run;

typedef struct zt_runstate {
  zt_run state;
  int code;            /* exit code; not 0 exactly for ZT_RUN_FAILED */
  int rank;            /* that failed; -1: unknown or none */
  const char *message; /* NULL: none */
  int64_t step, steps; /* done of wanted */
  const char *restart; /* newest, "step-000001200"; NULL: none */
  const char *best;    /* by evaluation; NULL: none */
  /* Set by zt_runstate_read() alone; writing takes clock and environment. */
  const char *time; /* "2026-01-31T23:59:59Z" */
  const char *job;  /* SLURM_JOB_ID, NULL: none */
  int life;         /* SLURM_RESTART_COUNT, 0 in the first life */
  json_t *source;   /* owns the strings */
} zt_runstate;

/** The word in the file. */
const char *zt_run_name(zt_run state);

/** Replace DIR/STATUS.json.  Any rank may call this, also on its way out after
 *  a failure: no communication.
 *  Where there is no room for a second file the old one is written over.
 *  \return ZT_ERR_IO or ZT_ERR_CREATE if neither can be done. */
zt_status zt_runstate_write(const char *dir, const zt_runstate *state);

/** Read and check it.
 *  \param[out] state  zt_runstate_free() it
 *  \return ZT_ERR_NOINPUT if there is none, ZT_ERR_DATA if it is not one. */
zt_status zt_runstate_read(const char *dir, zt_runstate *state);
void zt_runstate_free(zt_runstate *state);

/** SLURM_RESTART_COUNT: how often the job was requeued, 0 in its first life. */
int64_t zt_run_life(void);
/** Now, in UTC, as "2026-01-31T23:59:59Z"; returns the buffer. */
const char *zt_utc_now(char buffer[32]);

#endif
