/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The constant bytes of a part file, and removal of restart directories. */
#ifndef ZT_IO_RESTART_SKELETON_H
#define ZT_IO_RESTART_SKELETON_H

#include "io/restart_layout.h"

/** Lay out a part with HDF5, once, in memory: no disk can be full.
 *  Local.
 *  \param[in]     index   of the part
 *  \param[in]     source  its configuration files go into the part; NULL: none
 *  \param[in,out] part    first, ranks and cells are given; offsets are set
 *  \param[out]    front   [part->checksums] all bytes before the checksums;
 *                         free() it */
zt_status zt_restart_skeleton(const zt_params *params, int ranks, int index,
                              zt_source *source, zt_part *part, char **front);

/** About as many bytes as `front` has for the first part.  Local. */
size_t zt_restart_front_bytes(const zt_params *params, int64_t config_bytes);

/** Remove a directory and the files in it, or a file, if it exists.  Local.  A failure
 *  only warns. */
void zt_restart_remove(const char *dir);

#endif
