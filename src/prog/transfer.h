/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Filling files with tensors, each rank its even share of the bytes, reading
 *  and writing at the same time. */
#ifndef ZT_PROG_TRANSFER_H
#define ZT_PROG_TRANSFER_H

#include "comm/comm.h"

#include <stddef.h>
#include <stdint.h>

typedef struct zt_transfer {
  zt_comm *comm;
  const char *verb;     /* "import", for the progress line */
  int count;            /* vectors of bytes to be written */
  const int64_t *start; /* [count + 1] running sum of their bytes, from 0 */
  /* Bytes at .. at + n - 1 of a vector, n <= ZT_BUFFER_BYTES.  Local. */
  zt_status (*fill)(void *context, int index, int64_t at, int64_t n,
                    void *bytes);
  /* The file that holds a vector, and its place there.  Local. */
  zt_status (*place)(void *context, int index, int *file, int64_t *offset);
  /* Open a file for writing, and end with one: make it durable.  Files are
   * opened one at a time, in the order of the vectors.  Local. */
  zt_status (*open)(void *context, int file, int *fd, const char **path);
  zt_status (*close)(void *context, int file, int fd);
  void *context;
} zt_transfer;

/** What this rank's share took. */
typedef struct zt_transfer_report {
  int64_t bytes;
  double seconds;
  size_t memory; /* most private memory seen, bytes */
} zt_transfer_report;

/** Write this rank's share; a long one says every ten seconds how far it is.
 *  Local; the caller agrees. */
zt_status zt_transfer_run(const zt_transfer *transfer,
                          zt_transfer_report *report);
/** Seconds of the slowest rank, memory of the largest, bytes of all.
 *  Collective. */
zt_status zt_transfer_sum(zt_comm *comm, zt_transfer_report *report);

#endif
