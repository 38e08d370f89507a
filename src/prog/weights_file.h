/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Making a weights file from parameters that come from anywhere. */
#ifndef ZT_PROG_WEIGHTS_FILE_H
#define ZT_PROG_WEIGHTS_FILE_H

#include "io/checkpoint_writer.h"
#include "prog/transfer.h"

typedef struct zt_weights_file {
  const char *path;
  bool replace;     /* path may exist already */
  const char *verb; /* "import", for progress lines */
  zt_checkpoint_spec spec;
  /* Elements begin .. begin + count - 1 of a parameter, in its format of the
   * specification.  Local. */
  zt_status (*parameter)(void *context, int param, int64_t begin, int64_t count,
                         void *values);
  /* Bytes at .. at + n - 1 of a configuration file, on rank 0.  Local. */
  zt_status (*config)(void *context, int file, int64_t at, size_t n,
                      void *bytes);
  void *context;
} zt_weights_file;

/** Write it; after a failure nothing is left.
 *  Collective.
 *  \param[out] digest  of all parameters
 *  \param[out] report  of all ranks
 *  \return agreed status. */
zt_status zt_weights_file_write(const zt_weights_file *file, zt_comm *comm,
                                uint64_t *digest, zt_transfer_report *report);

/** "N parameters, SIZE [as FORMAT], D.D s, RATE, peak private memory M MiB",
 *  and the digest, on stderr. */
void zt_weights_file_say(const zt_weights_file *file, uint64_t digest,
                         const zt_transfer_report *report);

#endif
