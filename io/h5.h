/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What all our HDF5 files have in common: how they are opened, how their
 *  datasets are laid out, and errors that say what HDF5 found.
 *
 *  Measured on HDF5 1.10.8 with MPICH 4.0.2 and never to be undone: no
 *  collective data transfer, no metadata written in parallel, no collective
 *  metadata operations; each can hang a job on a full disk or one bad read.
 *  HDF5 is used on the main thread only. */
#ifndef ZT_IO_H5_H
#define ZT_IO_H5_H

#include "base/dtype.h"
#include "base/status.h"
#include "comm/comm.h"

#include <hdf5.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Store "FORMAT: what HDF5 says", HDF5's words cut to fit.  Local. */
zt_status zt_h5_fail(zt_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/** Open a file for reading with the serial driver.
 *  Local.
 *  \return ZT_ERR_NOINPUT, ZT_ERR_DATA if it is no intact HDF5 file. */
zt_status zt_h5_open(const char *path, hid_t *file);
/** Open a file for reading with the MPI-IO driver; the only HDF5 call that all
 *  ranks make together.  To be called after rank 0 has read the file alone.
 *  Collective.  \return agreed status. */
zt_status zt_h5_open_all(const char *path, zt_comm *comm, hid_t *file);
/** Open a group of a file for reading. */
zt_status zt_h5_open_group(hid_t file, const char *path, const char *name,
                           hid_t *group);

/** Create a file, or lay out anew what stands there, for a skeleton: empty
 *  groups, attributes and datasets, to be closed before any data is written.
 *  Local.
 *  \param[in] links  names it will hold; room for metadata goes by it
 *  \param[in] align  where datasets begin, bytes
 *  \return ZT_ERR_CREATE. */
zt_status zt_h5_create(const char *path, size_t links, int align, hid_t *file);
/** The same for a small file that is never on a disk.
 *  \param[in] name  for messages */
zt_status zt_h5_create_in_memory(const char *name, size_t links, hid_t *file);
/** The bytes of such a file, before it is closed.
 *  Local.  \param[out] bytes  free() it  \return ZT_ERR_MEMORY. */
zt_status zt_h5_image(hid_t file, const char *name, char **bytes, size_t *size);
/** Open such a file again to change attributes.  Local. */
zt_status zt_h5_reopen(const char *path, hid_t *file);
zt_status zt_h5_create_group(hid_t file, const char *path, const char *name,
                             hid_t *group);
/** Lay out one contiguous dataset whose bytes are written later, beside HDF5.
 *  Local.
 *  \param[out] offset  where the bytes go in the file; 0 if there are none */
zt_status zt_h5_create_dataset(hid_t group, const char *path, const char *name,
                               hid_t type, int ndim, const int64_t *dims,
                               int64_t *offset);
/** Close a file that was written; says if that failed. */
zt_status zt_h5_close(hid_t file, const char *path);

/** Attributes of a file's root group: scalar strings and 64-bit integers.
 *  Reading: ZT_ERR_DATA if it is missing or of another kind. */
zt_status zt_h5_write_string(hid_t file, const char *path, const char *name,
                             const char *value);
zt_status zt_h5_write_int(hid_t file, const char *path, const char *name,
                          int64_t value);
zt_status zt_h5_read_string(hid_t file, const char *path, const char *name,
                            char *value, size_t size);
zt_status zt_h5_read_int(hid_t file, const char *path, const char *name,
                         int64_t *value);

/** The kind of file by its `format` attribute, "" if it is not one of ours.
 *  Local.  \return as zt_h5_open(). */
zt_status zt_h5_format(const char *path, char format[32]);
/** The file must be of this format, and of no newer major version. */
zt_status zt_h5_check_format(hid_t file, const char *path, const char *format,
                             int major);

/** The type of stored numbers; H5Tclose() it. */
hid_t zt_h5_type(zt_dtype dtype);
/** Which of ours a stored type is; false for any other. */
bool zt_h5_type_is(hid_t type, zt_dtype *dtype);

/** A dataset as it lies in the file. */
typedef struct zt_h5_extent {
  int ndim;
  int64_t dims[4];
  int64_t offset, bytes; /* in the file */
} zt_h5_extent;

/** Open a dataset that the raw bytes of the file can stand for: reached by a
 *  hard link, contiguous, unfiltered, not external, its storage inside the
 *  file.
 *  Local.
 *  \param[in]  where      the group's name, for messages
 *  \param[in]  file_size  bytes
 *  \param[out] dataset    H5Dclose() it
 *  \param[out] type       H5Tclose() it
 *  \return ZT_ERR_DATA naming file and dataset. */
zt_status zt_h5_open_plain(hid_t group, const char *path, const char *where,
                           const char *name, int64_t file_size, hid_t *dataset,
                           hid_t *type, zt_h5_extent *extent);

/** Call `visit` with each name of a group, in order of names.
 *  Local.  \return its status, or ZT_ERR_DATA. */
zt_status zt_h5_each(hid_t group, const char *path, const char *where,
                     zt_status (*visit)(void *context, const char *name),
                     void *context);

#endif
