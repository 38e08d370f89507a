/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  views.h5 of a restart: every parameter and moment by its Hugging Face name
 *  and in its shape, for h5dump, h5py and the like.
 *
 *  It holds virtual datasets that point into the parts.  Our programs never
 *  read it and COMMIT does not seal it: a restart is whole without it, and it
 *  can be made anew at any time.  HDF5 makes it, so the main thread alone. */
#ifndef ZT_IO_RESTART_VIEWS_H
#define ZT_IO_RESTART_VIEWS_H

#include "io/restart_layout.h"

/* With more parameters x parts, a save leaves it to `ztinfo views`. */
enum { ZT_MOST_VIEWS = 20000 };

/** What a restart looks like; all borrowed. */
typedef struct zt_views {
  json_t *manifest; /* "parameters", "statistics" and "aliases" of it */
  const int64_t *unit_numel; /* [n_units] */
  int n_units, states;
  int ranks; /* of the writing run */
  const zt_part *parts;
  int n_parts;
} zt_views;

/** The bytes of the file; they depend on the layout alone, so one copy serves
 *  all saves of a run.
 *  Local.
 *  \param[out] bytes  free() it; NULL if there would be too many views
 *  \return ZT_ERR_CREATE, ZT_ERR_IO, ZT_ERR_MEMORY. */
zt_status zt_views_make(const zt_views *views, char **bytes, size_t *size);

/** Write views.h5 into a restart, or replace it, however many there are.
 *  Local. */
zt_status zt_restart_write_views(const zt_restart *restart);

#endif
