/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A file that grows by whole records and never stops a run.
 *
 *  Each record goes to the kernel with one write.  A record that fits only in
 *  part (disk full, quota) is cut off again, so that a reader never meets a
 *  torn one in the middle; later records are tried anew, since space may come
 *  back.  The first failure is a warning, the rest is counted.  All Local. */
#ifndef ZT_REPORT_APPEND_H
#define ZT_REPORT_APPEND_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** write(2) until all is written.
 *  \return false with errno set */
bool zt_write_all(int fd, const void *bytes, size_t size);

typedef struct zt_append {
  int fd;
  char *path;   /* for messages */
  int64_t size; /* bytes, of whole records */
  int64_t lost; /* records that could not be written */
  int64_t gap;  /* those of them since the last one that could */
  bool torn;    /* a part of a record is still behind `size` */
  bool warned;
} zt_append;

/** Open for writing at the end.
 *  \param[in] flags  more of open(2): O_CREAT, O_EXCL
 *  \return ZT_ERR_CREATE if it cannot be opened or is not a regular file; errno
 *          is kept.  Then there is nothing to close. */
zt_status zt_append_open(zt_append *file, const char *path, int flags);
/** Cut back to the first `size` bytes. */
zt_status zt_append_cut(zt_append *file, int64_t size);
/** Write one record, all or nothing.
 *  \return false if it was lost */
bool zt_append_record(zt_append *file, const void *bytes, size_t size);
/** Wait until the records are on the disk. */
void zt_append_sync(zt_append *file);
void zt_append_close(zt_append *file);

#endif
