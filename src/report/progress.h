/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The progress line, and the rate it shows.  All Local; rank 0 knows enough.
 */
#ifndef ZT_REPORT_PROGRESS_H
#define ZT_REPORT_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

typedef struct zt_progress_line {
  int64_t step, steps;
  double loss, grad_norm, lr;
  size_t memory;        /* bytes of the fullest rank; 0: not shown */
  int64_t failed_saves; /* in a row; 0: not shown */
  /* Filled by zt_progress_take(). */
  double token_rate;   /* a second, all ranks */
  double peak_share;   /* of the peak FLOP/s; negative: not shown */
  double seconds_left; /* negative: unknown */
  double wait_share;   /* of the time, in collectives, of all ranks; 0: not
                          shown */
  const char *bad;     /* tensor for which the step was skipped, NULL: none */
} zt_progress_line;

enum { ZT_PROGRESS_SIZE = 256 };

/** The line, in fixed columns:
 *    step   1200/20000  loss  3.2184  norm   0.812  lr 9.41e-04  412.3k tok/s
 *     38.1% peak  wait  4.2%  mem   1.20 GiB  left  3h12m
 *  \return buffer */
const char *zt_progress_format(const zt_progress_line *line,
                               char buffer[ZT_PROGRESS_SIZE]);

/** A count as "412.3k"; returns the buffer. */
const char *zt_short_count(double count, char buffer[32]);

/** What happened since the last line. */
typedef struct zt_progress {
  int64_t since; /* ns */
  int64_t steps, tokens;
  double flops;
  double peak;             /* FLOP/s of all ranks; 0: unknown */
  double seconds_per_step; /* of the last lines; negative: none yet */
} zt_progress;

/** \param[in] now   zt_clock_ns()
 *  \param[in] peak  FLOP/s of all ranks together; 0: unknown */
void zt_progress_start(zt_progress *progress, int64_t now, double peak);
/** A step is done.
 *  \param[in] tokens  as counted in the rate
 *  \param[in] flops   of the model, without recompute, all ranks */
void zt_progress_step(zt_progress *progress, int64_t tokens, double flops);
/** So much of the interval was spent on something else.  \param[in] took  ns */
void zt_progress_pause(zt_progress *progress, int64_t took);
/** End the interval: fill rate, share and time left of a line whose step and
 *  steps are set. */
void zt_progress_take(zt_progress *progress, int64_t now,
                      zt_progress_line *line);

#endif
