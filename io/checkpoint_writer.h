/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Writing a weights file (FORMAT): rank 0 lays it out with serial HDF5, then
 *  every rank writes bytes to places it was told, without HDF5. */
#ifndef ZT_IO_CHECKPOINT_WRITER_H
#define ZT_IO_CHECKPOINT_WRITER_H

#include "base/dtype.h"
#include "comm/comm.h"
#include "io/output.h"
#include "io/source.h"
#include "layout/params.h"

#include <stdbool.h>
#include <stdint.h>

/** What a new weights file is to hold. */
typedef struct zt_checkpoint_spec {
  const char *family, *model_type;
  const zt_params *params;
  const zt_dtype *dtypes;   /* [params->count] */
  const char *const *names; /* [params->count] first name of each parameter */
  /* Further names, as hard links. */
  const zt_alias *links;
  int n_links;
  const zt_source_file *config; /* names and sizes */
  int n_config;
} zt_checkpoint_spec;

/** A weights file that is being written. */
typedef struct zt_checkpoint_writer {
  zt_comm *comm;
  zt_output output; /* on rank 0 */
  int fd;           /* the file, for writing, on every rank */
  char *name;       /* its present name, for messages */
  int64_t *at;      /* where the parameters' bytes go, then the config files' */
} zt_checkpoint_writer;

/** Lay out a weights file and take its room.  The caller then writes all bytes
 *  of parameters and configuration files to fd at their places, in any order
 *  and from any rank.
 *  Collective.
 *  \param[in] replace  whether PATH may exist already
 *  \return agreed status; ZT_ERR_CREATE, ZT_ERR_IO if the disk is full. */
zt_status zt_checkpoint_writer_create(const char *path, bool replace,
                                      const zt_checkpoint_spec *spec,
                                      zt_comm *comm,
                                      zt_checkpoint_writer *writer);
/** Record the digest, make the file durable, put it in its place; or remove all
 *  if a rank failed.  To be called on every rank after a create that went well.
 *  Collective.
 *  \param[in]     written  whether this rank wrote its part
 *  \param[in,out] digest   this rank's part of the sum; the whole on return
 *  \return agreed status. */
zt_status zt_checkpoint_writer_commit(zt_checkpoint_writer *writer,
                                      zt_status written, uint64_t *digest);

#endif
