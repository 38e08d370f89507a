/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Where tensors come from: a weights file, a Hugging Face directory, a
 *  restart.  Whoever reads weights reads them through this.
 *
 *  Rank 0 reads and checks the index once; zt_source_share() gives it to all.
 *  After that reading is Local and independent: a rank that fails returns its
 *  status and the caller agrees, so no rank waits for another. */
#ifndef ZT_IO_SOURCE_H
#define ZT_IO_SOURCE_H

#include "base/dtype.h"
#include "base/status.h"
#include "comm/comm.h"
#include "layout/params.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct zt_source zt_source;

/** A tensor by one of its names. */
typedef struct zt_source_tensor {
  char *name; /* owned */
  int ndim;
  int64_t dims[ZT_MAX_DIMS];
  int64_t numel;
  zt_dtype dtype;
  bool foreign;    /* the file stores it in a number format we do not have */
  char format[16]; /* that format, as the file calls it */
  int same_as;     /* the tensor whose data it shares, or -1: has its own */
  int file;        /* which of the source's data files holds it */
  int64_t at;      /* its first byte there */
} zt_source_tensor;

/** A small file that belongs to the model: config.json, tokenizer, licence. */
typedef struct zt_source_file {
  char *name;   /* without any directory; owned */
  int64_t size; /* bytes */
  int64_t at;   /* first byte in the weights file, if it is in one */
} zt_source_file;

typedef struct zt_source_ops {
  const char *name; /* "weights file", ... */
  /* Elements begin .. begin + count - 1 in their stored format.  Local. */
  zt_status (*read)(zt_source *source, const zt_source_tensor *tensor,
                    int64_t begin, int64_t count, void *values);
  /* Bytes at .. at + n - 1 of a configuration file.  Local. */
  zt_status (*read_config)(zt_source *source, int file, int64_t at, size_t n,
                           void *bytes);
  /* Collective.  Frees what the implementation keeps beside the source. */
  void (*close)(zt_source *source);
} zt_source_ops;

/** An implementation puts its own fields after. */
struct zt_source {
  const zt_source_ops *ops;
  zt_comm *comm;             /* not owned */
  char *path;                /* as the user gave it; owned */
  zt_source_tensor *tensors; /* sorted by name */
  zt_source_file *config;    /* sorted by name */
  char **files;              /* data files, relative to `path` */
  int n_tensors, n_config, n_files;
  size_t tensors_capacity, config_capacity, files_capacity;
  char *config_json; /* NUL-terminated; owned */
  size_t config_json_size;
  char version[16], producer[64]; /* of the file; on rank 0, "" if unknown */
  bool has_digest;
  uint64_t digest;     /* as stored: over the parameters */
  uint64_t bytes_read; /* of tensors, asked for by this rank */
};

/** Start an empty source.
 *  Local.
 *  \param[in]  size    of the implementation's structure
 *  \param[out] source  zt_source_close() it
 *  \return ZT_ERR_MEMORY. */
zt_status zt_source_create(const zt_source_ops *ops, size_t size,
                           const char *path, zt_comm *comm, zt_source **source);
/** For implementations, on rank 0: append to the index.  Local.
 *  Names are copied.  \return ZT_ERR_MEMORY. */
zt_status zt_source_add_tensor(zt_source *source,
                               const zt_source_tensor *tensor);
zt_status zt_source_add_config(zt_source *source, const zt_source_file *file);
zt_status zt_source_add_file(zt_source *source, const char *name);
/** Sort the index by name, and refuse names that stand twice.
 *  Local.  \return ZT_ERR_DATA. */
zt_status zt_source_sort(zt_source *source);
/** Whether a file may be kept as configuration: a plain name that is neither
 *  hidden nor weights.  Local. */
bool zt_source_is_config(const char *name);
/** Give rank 0's index to all ranks, after they agreed that it could be read.
 *  Collective.  \return agreed status. */
zt_status zt_source_share(zt_source *source);
/** Sets *source to NULL; NULL is allowed.  Collective. */
void zt_source_close(zt_source **source);

/** Bytes of all configuration files.  Local. */
int64_t zt_source_config_bytes(const zt_source *source);
/** Index of a tensor by name, -1 if there is none.  Local. */
int zt_source_find(const zt_source *source, const char *name);
/** The first tensor with the same data: itself, or what it is tied to. */
int zt_source_root(const zt_source *source, int tensor);

/** Elements begin .. begin + count - 1, row-major, in the stored format.
 *  Local.  \param[out] values  [count] of zt_dtype_size(tensor->dtype) bytes */
zt_status zt_source_read_raw(zt_source *source, int tensor, int64_t begin,
                             int64_t count, void *values);
/** The same, widened to fp32, without any other memory.
 *  Local.  \param[out] values  [count] */
zt_status zt_source_read(zt_source *source, int tensor, int64_t begin,
                         int64_t count, float *values);
/** Bytes of a configuration file.  Local. */
zt_status zt_source_read_config(zt_source *source, int file, int64_t at,
                                size_t n, void *bytes);

/** Which tensor holds each parameter, by its own name or an alias.
 *  Local.
 *  \param[out] tensor_of  [params->count]
 *  \return ZT_ERR_DATA naming file, tensor and what is wrong, if one is
 *          missing, of another shape or of a foreign format, if an alias holds
 *          other data, or if a tensor is no parameter of this model. */
zt_status zt_source_bind(const zt_source *source, const zt_params *params,
                         int *tensor_of);

#endif
