/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Weights files (FORMAT) as sources of tensors, read through the parallel HDF5
 *  driver.
 *
 *  H5Fopen is the only HDF5 call that ranks make together, after rank 0 has
 *  checked the file alone; every read is independent. */
#ifndef ZT_IO_CHECKPOINT_H
#define ZT_IO_CHECKPOINT_H

#include "comm/comm.h"
#include "io/source.h"

/** Open a weights file.
 *  Collective.
 *  \param[out] source  zt_source_close() it
 *  \return agreed status: ZT_ERR_NOINPUT, ZT_ERR_DATA for a damaged file, one
 *          with a layout that we never write, or one of a newer version. */
zt_status zt_checkpoint_open(const char *path, zt_comm *comm,
                             zt_source **source);

#endif
