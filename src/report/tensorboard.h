/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  TensorBoard event files with scalars.
 *
 *  Each process that writes makes a file of its own, whose name sorts after
 *  those before it.  TensorBoard reads them in this order.  Each file begins
 *  with a session start that carries its first step: that hides what older
 *  files hold from this step on, the steps that were done again after a
 *  restart.
 *
 *  Nothing here stops a run: a failure is one warning.  All Local; one rank. */
#ifndef ZT_REPORT_TENSORBOARD_H
#define ZT_REPORT_TENSORBOARD_H

#include <stddef.h>
#include <stdint.h>

typedef struct zt_tensorboard zt_tensorboard;

/** \param[in] dir         RUN/tensorboard; made if it is missing
 *  \param[in] first_step  the first that will be written, from 1
 *  \return NULL after a warning; the functions below then do nothing */
zt_tensorboard *zt_tensorboard_open(const char *dir, int64_t first_step);

typedef struct zt_scalar {
  const char *tag; /* "train/loss" */
  double value;
} zt_scalar;

/** Scalars of one step: one record, flushed to the kernel. */
void zt_tensorboard_write(zt_tensorboard *tensorboard, int64_t step,
                          const zt_scalar *scalars, int n);

/** Sets *tensorboard to NULL. */
void zt_tensorboard_close(zt_tensorboard **tensorboard);

/** CRC-32C (Castagnoli), which guards the records. */
uint32_t zt_crc32c(const void *bytes, size_t size);

#endif
