/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Where time and memory went: a stop watch for the phases of a run, and the
 *  table at its end. */
#ifndef ZT_REPORT_SUMMARY_H
#define ZT_REPORT_SUMMARY_H

#include "base/clock.h"
#include "base/text.h"

#include <stdint.h>

/* One list on all ranks, so that their times can be added up by place. */
#define ZT_PHASE_LIST(X) /* identifier, name in the table */                   \
  X(ZT_PHASE_LOAD, "load")                                                     \
  X(ZT_PHASE_DATA, "data")                                                     \
  X(ZT_PHASE_GATHER, "gather")                                                 \
  X(ZT_PHASE_FORWARD, "forward")                                               \
  X(ZT_PHASE_BACKWARD, "backward")                                             \
  X(ZT_PHASE_REDUCE, "reduce")                                                 \
  X(ZT_PHASE_OPTIMIZER, "optimizer")                                           \
  X(ZT_PHASE_EVAL, "eval")                                                     \
  X(ZT_PHASE_RESTART, "restart")

typedef enum zt_phase {
#define X(id, name) id,
  ZT_PHASE_LIST(X)
#undef X
      ZT_PHASE_COUNT
} zt_phase;

typedef struct zt_phases {
  int64_t born; /* ns */
  int64_t calls[ZT_PHASE_COUNT];
  int64_t ns[ZT_PHASE_COUNT];
  int64_t bytes[ZT_PHASE_COUNT]; /* most private memory seen at an end of it */
  int running;                   /* phase, -1: none */
  int64_t began, looked;         /* ns; at the memory */
} zt_phases;

void zt_phases_init(zt_phases *phases);
/** Phases do not nest: a start while one runs, or the stop of another one, is a
 *  mistake in the program and fails an assertion.  Main thread only. */
void zt_phase_start(zt_phases *phases, zt_phase phase);
void zt_phase_stop(zt_phases *phases, zt_phase phase);

/* Rows of the table: the phases, "other", "total". */
enum { ZT_SUMMARY_ROWS = ZT_PHASE_COUNT + 2 };

/** What the end of a run says.  zt_summary_take() fills in times and memory of
 *  this rank; the caller all-reduces `max` with ZT_MAX and `sum` with ZT_SUM,
 * sets the rest and calls zt_summary_format(). */
typedef struct zt_summary {
  int64_t max[4 * ZT_SUMMARY_ROWS]; /* ns; -ns, for the minimum; calls; bytes */
  int64_t sum[ZT_SUMMARY_ROWS];     /* ns */
  int ranks;
  int64_t step, steps;   /* done of wanted */
  int64_t steps_here;    /* done by this process */
  double train_seconds;  /* that they took */
  int64_t tokens;        /* of those, all ranks */
  int64_t restarts;      /* written by this process */
  int64_t restart_bytes; /* all of them, all ranks */
  double restart_seconds;
  int64_t evaluations;            /* by this process */
  double eval_seconds, eval_loss; /* of all; of the last */
  const char *best;               /* restart, NULL: none is kept */
  double best_loss;
  int64_t inside, most_inside; /* ns in collectives: all ranks, and one at most;
                                  0: not shown */
  const char *restart;         /* newest restart, NULL: none */
  const char *resume; /* command that continues; NULL: the run is done */
} zt_summary;

/** Local.  The watch runs on. */
void zt_summary_take(const zt_phases *phases, zt_summary *summary);
/** Phase table, rates and what to do next: lines with "\n" between them, none
 * at the end.  Local. */
void zt_summary_format(const zt_summary *summary, zt_text *text);

#endif
