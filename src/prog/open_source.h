/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Opening whatever the user names as a source of tensors. */
#ifndef ZT_PROG_OPEN_SOURCE_H
#define ZT_PROG_OPEN_SOURCE_H

#include "comm/comm.h"
#include "io/source.h"
#include "model/model.h"

/** Bytes of a buffer for tensors on their way; a few of them are all that a
 *  conversion holds of the model.  Measured with 1.2 GiB on ext4: 0.8 s an
 *  import with these, 1.2 s with 256 KiB, 2.7 s with 4 MiB, which do not stay
 * in the processor's cache between reading, digest and writing. */
enum { ZT_BUFFER_BYTES = 512 << 10 };

/** Open a Hugging Face directory.  Tensors that the family ignores are left out
 *  (and named on stderr); tensors that may be tied and hold the same bytes
 *  become names of one.
 *  Collective.
 *  \param[out] source  zt_source_close() it
 *  \return agreed status. */
zt_status zt_open_hf(const char *path, zt_comm *comm, zt_source **source);

/** What a path that a user names may be. */
typedef enum zt_path_kind {
  ZT_PATH_WEIGHTS, /* also a file that is none of ours, or not there */
  ZT_PATH_TOKENS,
  ZT_PATH_HF, /* also a directory that is none of ours */
  ZT_PATH_RESTART,
  ZT_PATH_RUN /* a run's directory */
} zt_path_kind;

/** Tell by the name and the first look; opening it then tells what is wrong.
 *  Collective, by a look of rank 0's.
 *  \return agreed status. */
zt_status zt_find_kind(const char *path, zt_comm *comm, zt_path_kind *kind);

/** Open a weights file, a restart, a run's directory (its newest restart that
 *  is whole) or a Hugging Face directory.
 *  Collective, as above. */
zt_status zt_open_source(const char *path, zt_comm *comm, zt_source **source);

/** Digest of all parameters, from their data.
 *  Collective.
 *  \param[in] tensor_of  as zt_weights_model() gives it
 *  \return agreed status. */
zt_status zt_digest_source(zt_source *source, const zt_params *params,
                           const int *tensor_of, uint64_t *digest);

#endif
