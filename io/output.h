/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  An output file that is there whole or not at all.
 *
 *  It is written as PATH.tmp beside its place and renamed when it is durable.
 *  What a killed run left as PATH.tmp is taken over; a run that still writes
 *  there is not disturbed (where the file system has locks).  All functions are
 *  Local: one rank begins and ends a file, the others open its temporary. */
#ifndef ZT_IO_OUTPUT_H
#define ZT_IO_OUTPUT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zt_output {
  char *path, *temporary;
  int fd; /* of the temporary, for reading and writing; -1: none */
  bool replace;
} zt_output;

/** Begin an empty file.
 *  \param[in] replace  whether PATH may exist already
 *  \return ZT_ERR_CREATE if it may not, or the directory cannot be written. */
zt_status zt_output_begin(zt_output *output, const char *path, bool replace);
/** Take room for the whole file, so that a full disk shows now.  A file system
 *  that cannot is not an error. */
zt_status zt_output_reserve(zt_output *output, int64_t bytes);
/** Make it durable, put it in its place, make that durable. */
zt_status zt_output_commit(zt_output *output);
/** Remove the temporary, if there is one still; NULL is allowed. */
void zt_output_discard(zt_output *output);

/** The name of the temporary of PATH; free() it.  NULL: out of memory. */
char *zt_output_temporary(const char *path);
/** Another rank's way to write into the temporary of PATH; close() it.
 *  \return ZT_ERR_IO. */
zt_status zt_output_join(const char *path, int *fd);
/** open(2) with O_CLOEXEC and mode 0666, which no signal interrupts.
 *  \return -1 with errno set */
int zt_open(const char *path, int flags);
/** fsync() with a message. */
zt_status zt_sync(int fd, const char *path);
/** fsync() of the directory that holds PATH. */
zt_status zt_sync_directory(const char *path);

/** All n bytes, at this place of a file, with a message.  A write that a full
 *  disk or a signal cuts short goes on. */
zt_status zt_write_at(int fd, const char *path, const void *bytes, size_t n,
                      int64_t offset);
/** The same for reading; a file that ends too soon is ZT_ERR_IO. */
zt_status zt_read_at(int fd, const char *path, void *bytes, size_t n,
                     int64_t offset);

#endif
