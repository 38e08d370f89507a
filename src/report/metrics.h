/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  metrics.jsonl: what happened, one JSON object a line.
 *
 *  {"t": "train", "step": 1, "loss": 3.25, "grad_norm": ..., "lr": ...,
 *   "tokens": ..., "targets": ..., "seconds": ...}
 *
 *  Other kinds of `t` are run, eval, restart, event and end.  Numbers keep all
 *  their bits (17 digits); one that is not finite is null.  A restart stores
 *  zt_metrics_tell(); a run that resumes from it opens the file with that
 *  offset, which cuts off what came later.  So every step stands in the file
 *  exactly once, however often the run was killed.
 *
 *  Only one rank writes.  The others have NULL for `metrics`, which every
 *  function takes and does nothing for but to pass the fault point.  A full
 *  disk is a warning and costs lines, not the run: report/append.h.  All Local.
 */
#ifndef ZT_REPORT_METRICS_H
#define ZT_REPORT_METRICS_H

#include "base/status.h"
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct zt_metrics zt_metrics;

/** Open RUN/metrics.jsonl.
 *  \param[in] keep_bytes  on resume what zt_metrics_tell() was: the rest is cut
 *             off.  Should the file be shorter or missing, or not end a line
 *             there, a warning says so and it goes on after the last whole line
 *             before.  -1 for a new run: an old file is kept as PATH.old-N. */
zt_status zt_metrics_open(const char *path, int64_t keep_bytes,
                          zt_metrics **metrics);

/** One step. */
typedef struct zt_train_line {
  int64_t step;     /* from 1 */
  double loss;      /* mean over the target tokens, before the update */
  double grad_norm; /* before clipping */
  double lr;
  int64_t tokens;   /* unpadded input tokens of the global batch */
  int64_t targets;  /* target tokens of the global batch */
  const char *bad;  /* first tensor that is not finite, else NULL */
  double seconds;   /* wall time; never compared between runs */
  bool has_terms;   /* of the loss that is learnt beside the cross-entropy */
  double objective; /* then the sum of all of them */
} zt_train_line;
zt_status zt_metrics_train(zt_metrics *metrics, const zt_train_line *line);

/** A value of another kind of line; make it with the functions below. */
typedef struct zt_field {
  const char *key;
  enum { ZT_FIELD_INT, ZT_FIELD_REAL, ZT_FIELD_TEXT, ZT_FIELD_FLAG } type;
  union {
    int64_t integer;
    double real;
    const char *text;
    bool flag;
  } value;
} zt_field;

static inline zt_field zt_field_int(const char *key, int64_t value) {
  return (zt_field){key, ZT_FIELD_INT, {.integer = value}};
}
static inline zt_field zt_field_real(const char *key, double value) {
  return (zt_field){key, ZT_FIELD_REAL, {.real = value}};
}
/** NULL becomes null. */
static inline zt_field zt_field_text(const char *key, const char *value) {
  return (zt_field){key, ZT_FIELD_TEXT, {.text = value}};
}
static inline zt_field zt_field_flag(const char *key, bool value) {
  return (zt_field){key, ZT_FIELD_FLAG, {.flag = value}};
}

/** A list of fields as the two last arguments of zt_metrics_line(). */
#define ZT_FIELDS(...)                                                         \
  (const zt_field[]){__VA_ARGS__},                                             \
      (int) (sizeof((const zt_field[]){__VA_ARGS__}) / sizeof(zt_field))

/** A line of another kind, in the order given; times go last:
 *    zt_metrics_line(m, "eval", ZT_FIELDS(zt_field_int("step", step),
 *                                         zt_field_real("loss", loss)))
 *  \param[in] kind  "run", "data", "eval", "restart", "event", "end" */
zt_status zt_metrics_line(zt_metrics *metrics, const char *kind,
                          const zt_field *fields, int n);
/** The line itself, added to a text. */
void zt_metrics_format(zt_text *line, const char *kind, const zt_field *fields,
                       int n);

/** Offset after the last whole line; 0 for NULL. */
int64_t zt_metrics_tell(const zt_metrics *metrics);
/** Lines that could not be written.  The file says so too, once it can:
 *  {"t": "event", "event": "lines lost", "lines": n}. */
int64_t zt_metrics_lost(const zt_metrics *metrics);
/** Bring the lines to the disk, before a restart that names their offset is
 *  committed. */
void zt_metrics_sync(zt_metrics *metrics);
/** Sets *metrics to NULL. */
void zt_metrics_close(zt_metrics **metrics);

#endif
