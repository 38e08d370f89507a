/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The safetensors format: 8 bytes length of the header, the header (a JSON
 *  object), then the tensors' bytes back to back.
 *
 *  Files come from anywhere, so all is checked before it is used, more strictly
 *  than the reference implementation does (which takes duplicate names and a
 *  header that begins with a space).  All functions are Local.
 *  Source: github.com/huggingface/safetensors, README. */
#ifndef ZT_IO_SAFETENSORS_H
#define ZT_IO_SAFETENSORS_H

#include "base/dtype.h"
#include "base/status.h"
#include "base/text.h"
#include "layout/params.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  ZT_SAFETENSORS_DIMS = 8,
  /* The parsed header takes about seven times its size in memory. */
  ZT_SAFETENSORS_HEADER = 32 << 20, /* bytes */
};

/** A tensor as the header describes it. */
typedef struct zt_safetensor {
  const char *name; /* printable ASCII; belongs to the reader */
  char format[16];  /* "F32", ... */
  zt_dtype dtype;
  bool foreign; /* a format that we cannot use; dtype means nothing */
  int ndim;
  int64_t dims[ZT_SAFETENSORS_DIMS];
  int64_t at, bytes; /* in the file */
} zt_safetensor;

/** Whether a tensor may have this name: printable ASCII without spaces, since
 *  names go into messages and files. */
bool zt_safetensors_is_name(const char *name);

/** Check a whole file and visit its tensors.
 *  \param[in] visit  called for each tensor in order of the header; its failure
 *                    ends the reading
 *  \return ZT_ERR_NOINPUT; ZT_ERR_DATA with file, tensor and what is wrong. */
zt_status zt_safetensors_read(const char *path,
                              zt_status (*visit)(void *context,
                                                 const zt_safetensor *tensor),
                              void *context);

/** One file to be written: which tensors, and where they come to lie. */
typedef struct zt_safetensors_entry {
  const char *name;
  zt_dtype dtype;
  int ndim;
  int64_t dims[ZT_MAX_DIMS];
  int64_t bytes;
  int64_t at; /* first byte in the file, set by zt_safetensors_layout() */
  int id;     /* the caller's */
} zt_safetensors_entry;

/** Sort the entries as the reference implementation does (widest format first,
 *  then by name), and make the length and header that come before them.
 *  \param[in,out] entries  [count]
 *  \param[out]    head     zt_text_free() it
 *  \param[out]    size     of the whole file, bytes
 *  \return ZT_ERR_MEMORY. */
zt_status zt_safetensors_layout(zt_safetensors_entry *entries, int count,
                                zt_text *head, int64_t *size);

#endif
