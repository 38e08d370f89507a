/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The files of a Hugging Face directory while it is being written: all of them
 *  appear at the end, or none.  All functions are Local, for rank 0. */
#ifndef ZT_PROG_HF_OUTPUT_H
#define ZT_PROG_HF_OUTPUT_H

#include "base/status.h"
#include "io/format.h"
#include "io/output.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zt_hf_file {
  char name[ZT_MOST_NAME + 1];
  zt_output output;
} zt_hf_file;

typedef struct zt_hf_output {
  char *path;
  bool made, replace;
  zt_hf_file *files;
  size_t count, capacity;
} zt_hf_output;

/** Take a directory, and make it if it is missing.
 *  \param[in] replace  whether it may hold weights and these files already
 *  \return ZT_ERR_CREATE. */
zt_status zt_hf_output_begin(zt_hf_output *output, const char *path,
                             bool replace);
/** Begin one more file.
 *  \param[in]  size  bytes to take room for
 *  \param[out] fd    for writing, until the commit */
zt_status zt_hf_output_add(zt_hf_output *output, const char *name, int64_t size,
                           int *fd);
/** Put all files in their places, in the order they were added, and remove
 *  weights that an earlier export left. */
zt_status zt_hf_output_commit(zt_hf_output *output);
/** Remove what is not committed. */
void zt_hf_output_discard(zt_hf_output *output);

#endif
