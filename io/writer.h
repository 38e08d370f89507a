/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A thread that writes filled buffers while the caller fills the next ones.
 *
 *  It makes POSIX calls only: neither MPI nor HDF5 leave the main thread. */
#ifndef ZT_IO_WRITER_H
#define ZT_IO_WRITER_H

#include "base/status.h"

#include <stddef.h>
#include <stdint.h>

typedef struct zt_writer zt_writer;

/** Local.
 *  \param[in] buffers  how many, at least 2
 *  \param[in] bytes    of each
 *  \return ZT_ERR_MEMORY. */
zt_status zt_writer_create(int buffers, size_t bytes, zt_writer **writer);
/** An empty buffer of the size given above, for zt_writer_put(); waits for one.
 *  Local. */
void *zt_writer_buffer(zt_writer *writer);
/** Write the first n bytes of the last buffer got to this place of a file.
 *  Local.  \param[in] path  for messages; must stay until the flush
 *  \return the first failure so far; nothing is written after one. */
zt_status zt_writer_put(zt_writer *writer, int fd, const char *path, size_t n,
                        int64_t offset);
/** Wait until all is written (not yet durable).
 *  Local.  \return the first failure. */
zt_status zt_writer_flush(zt_writer *writer);
/** Sets *writer to NULL; NULL is allowed. */
void zt_writer_destroy(zt_writer **writer);

#endif
