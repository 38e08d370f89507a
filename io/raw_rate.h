/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  How fast a directory takes and gives bytes when nothing else is asked of it:
 *  large aligned transfers past the page cache, in a file that no name leads
 *  to.  Restarts are judged by this figure; `ztinfo iobench` prints it.  All
 *  Local. */
#ifndef ZT_IO_RAW_RATE_H
#define ZT_IO_RAW_RATE_H

#include "io/direct.h"

#include <limits.h>

typedef struct zt_raw_file {
  char path[PATH_MAX];
  zt_direct file;
  char *buffer; /* [size] aligned; the caller's */
  size_t size;
  int64_t bytes; /* of the file, a multiple of size */
} zt_raw_file;

/** Make the file, with room for all of it.
 *  \param[in] rank    part of its name, which it soon loses
 *  \param[in] bytes   rounded up to whole buffers
 *  \param[in] buffer  [size], aligned to ZT_DIRECT_ALIGN; size a multiple of it
 *  \return ZT_ERR_CREATE, ZT_ERR_IO. */
zt_status zt_raw_begin(zt_raw_file *raw, const char *dir, int rank,
                       int64_t bytes, char *buffer, size_t size);
/** Write all of it and make it durable. */
zt_status zt_raw_write(zt_raw_file *raw, double *seconds);
/** Read all of it, from the disk. */
zt_status zt_raw_read(zt_raw_file *raw, double *seconds);
void zt_raw_end(zt_raw_file *raw);

/** Bytes a second that the directory takes from this rank, found by writing
 *  `bytes`, but at most 64 MiB.
 *  \return 0 if it cannot be found */
double zt_raw_write_rate(const char *dir, int rank, size_t bytes, char *buffer,
                         size_t size);

#endif
