/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A file that is read and written past the page cache, where the file system
 *  takes that, and through it where it does not.
 *
 *  Whoever finds out that it does not (open or transfer refused with EINVAL)
 *  tells nobody: the bytes arrive all the same.  All Local; several threads may
 *  use one. */
#ifndef ZT_IO_DIRECT_H
#define ZT_IO_DIRECT_H

#include "base/status.h"

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ZT_DIRECT_ALIGN = 4096 };

typedef struct zt_direct {
  const char *path;    /* for messages; the caller's */
  int fd;              /* through the page cache; -1: closed */
  int direct;          /* the same file past it, -1: none */
  _Atomic bool refuse; /* transfers past it are refused */
  sem_t *flight;       /* a place for each transfer under way; NULL: no limit */
} zt_direct;

/** Threads that bring much to or from one disk, each by turns computing and
 *  waiting, and how many of them wait for it at a time.  A disk serves those
 *  that wait at the same speed, so they are done together and would leave it
 *  idle while all of them compute: some are held back.  Measured beside one
 *  thread that does nothing else: saves at 90 to 96 % of its rate, loads at 90
 *  to 94 %; three threads that nobody held back 77 to 91 and 80 to 89. */
enum { ZT_HANDS = 6, ZT_FLIGHT = 4 };

/** Memory for transfers: zeroed, page-aligned, in huge pages where the system
 *  gives them, so that the disk is handed few large pieces (measured on a
 *  virtual disk: reads at three times the rate).
 *  \return NULL without memory */
void *zt_direct_memory(size_t bytes);
void zt_direct_memory_free(void *memory, size_t bytes);

/** Open.
 *  \param[in] flags  of open(2), without O_DIRECT
 *  \return ZT_ERR_NOINPUT or ZT_ERR_IO, as zt_fail_open(). */
zt_status zt_direct_open(zt_direct *file, const char *path, int flags);
/** All n bytes at this place; what is not aligned to ZT_DIRECT_ALIGN in memory,
 *  place and size goes through the page cache.  \return ZT_ERR_IO. */
zt_status zt_direct_write(zt_direct *file, const void *bytes, size_t n,
                          int64_t offset);
/** The same for reading; a file that ends too soon is ZT_ERR_IO. */
zt_status zt_direct_read(zt_direct *file, void *bytes, size_t n,
                         int64_t offset);
/** Whether transfers go past the page cache, as far as is known. */
bool zt_direct_works(const zt_direct *file);
/** fdatasync() with a message. */
zt_status zt_direct_sync(zt_direct *file);
/** A closed one is allowed.  \return ZT_ERR_IO: some file systems say only now
 *  that a write failed. */
zt_status zt_direct_close(zt_direct *file);

#endif
