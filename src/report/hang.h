/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Reports of a run that stood still, a file a rank, and what they say
 *  together: which rank is out of step.
 *
 *  Collectives are numbered alike on all ranks, and the same number is the same
 *  collective: a rank of which that is not true does not do what the others do.
 *  The rank that has begun the fewest is the one that the others wait for; so
 *  is one that wrote nothing, since a rank that lives writes.  All Local. */
#ifndef ZT_REPORT_HANG_H
#define ZT_REPORT_HANG_H

#include "base/beat.h"
#include "base/text.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

/** A collective of a rank. */
typedef struct zt_hang_call {
  int64_t number; /* 0: none */
  int64_t bytes;
  char what[40];
} zt_hang_call;

/** What a rank says of itself. */
typedef struct zt_hang_rank {
  bool there; /* it wrote */
  int rank, size;
  bool moving;   /* still making progress: it wrote because others stood */
  double stood;  /* seconds without a beat */
  int64_t calls; /* collectives begun */
  bool inside;   /* the last one has not returned */
  char what[40]; /* it did last */
  int64_t step, micro_batch, unit; /* -1: none */
  zt_hang_call other; /* its first that is another one than the reference's */
} zt_hang_rank;

/** The folder of the reports, RUN/hang.
 *  \return ZT_ERR_USAGE if the name is too long. */
zt_status zt_hang_folder(const char *run_dir, char folder[PATH_MAX]);

/** Write the report of this rank: rank, size, moving and stood are set, the
 *  rest comes from the ring.  The folder is made.
 *  \return ZT_ERR_CREATE, ZT_ERR_IO. */
zt_status zt_hang_write(const char *run_dir, const zt_hang_rank *self);

typedef struct zt_hang {
  int size;
  zt_hang_rank *ranks; /* [size] */
  int count;           /* that wrote */
  int reference;       /* rank whose collectives these are, as far as known */
  zt_hang_call *calls; /* [n_calls] in order */
  size_t n_calls, calls_capacity;
} zt_hang;

/** Read all reports of a run.
 *  \param[out] hang  zt_hang_free() it
 *  \return ZT_ERR_NOINPUT if there is none, ZT_ERR_DATA if one is no report. */
zt_status zt_hang_read(const char *run_dir, zt_hang *hang);
void zt_hang_free(zt_hang *hang);

/** One sentence: who is out of step, and what the others wait for.
 *  \return the rank, -1: nobody alone */
int zt_hang_explain(const zt_hang *hang, zt_text *text);
/** What one rank did last: "in gather 812 (step 3, micro-batch 1, unit 5)". */
void zt_hang_describe(const zt_hang_rank *rank, zt_text *text);

#endif
