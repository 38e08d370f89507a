/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/open_source.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/checkpoint.h"
#include "io/digest.h"
#include "io/format.h"
#include "io/h5.h"
#include "io/hfdir.h"
#include "io/pieces.h"
#include "io/restart.h"
#include "train/weights.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Hugging Face directories ---- */

static bool is_ignored(const zt_family *family, const char *name) {
  for (const char *const *suffix = family->ignored; *suffix; suffix++)
    if (zt_ends_with(name, *suffix))
      return true;
  return false;
}

static void drop_ignored(zt_source *source, const zt_family *family) {
  int kept = 0;
  for (int i = 0; i < source->n_tensors; i++) {
    zt_source_tensor *t = &source->tensors[i];
    if (!is_ignored(family, t->name)) {
      source->tensors[kept++] = *t;
      continue;
    }
    zt_info("%s: %s is no parameter of this model family and is left out",
            source->path, t->name);
    free(t->name);
  }
  source->n_tensors = kept;
}

static bool alike(const zt_source_tensor *a, const zt_source_tensor *b) {
  return !a->foreign && !b->foreign && a->dtype == b->dtype &&
         a->ndim == b->ndim && !memcmp(a->dims, b->dims, sizeof a->dims);
}

/* This rank's share of two tensors of one shape. */
static zt_status compare_share(zt_source *source, int a, int b, char *buffers,
                               bool *equal) {
  const zt_source_tensor *t = &source->tensors[a];
  const int64_t width = (int64_t) zt_dtype_size(t->dtype);
  const int64_t start[] = {0, t->numel * width};
  char *other = buffers + ZT_BUFFER_BYTES;
  zt_pieces pieces;
  zt_piece piece;
  zt_pieces_begin(&pieces, start, 1, source->comm->size, source->comm->rank,
                  ZT_BUFFER_BYTES);
  while (*equal && zt_pieces_next(&pieces, &piece)) {
    int64_t begin = piece.at / width, count = piece.n / width;
    ZT_TRY(zt_source_read_raw(source, a, begin, count, buffers));
    ZT_TRY(zt_source_read_raw(source, b, begin, count, other));
    *equal = !memcmp(buffers, other, (size_t) piece.n);
  }
  return ZT_OK;
}

/* Make b another name of a, if the bytes allow it. */
static zt_status unite(zt_source *source, int a, int b) {
  if (a == b || !alike(&source->tensors[a], &source->tensors[b]))
    return ZT_OK;
  char *buffers = zt_calloc(2, ZT_BUFFER_BYTES);
  bool equal = true;
  zt_status status = ZT_ERR_MEMORY;
  if (buffers)
    status = compare_share(source, a, b, buffers, &equal);
  free(buffers);
  ZT_TRY(zt_agree(source->comm, status));
  int64_t differ = !equal;
  ZT_TRY(zt_comm_all_reduce(source->comm, &differ, 1, ZT_MAX));
  if (!differ)
    source->tensors[b].same_as = a;
  return ZT_OK;
}

/* What is tied is decided from the bytes: configurations lie. */
static zt_status settle(zt_source *source) {
  zt_weights_ties ties;
  ZT_TRY(zt_agree(source->comm, zt_weights_find_ties(source, &ties)));
  drop_ignored(source, ties.family);
  ZT_TRY(zt_agree(source->comm, zt_weights_find_ties(source, &ties)));
  for (int i = 0; i < ties.n_aliases; i++)
    ZT_TRY(unite(source, ties.embedding, ties.aliases[i]));
  return ties.head < 0 ? ZT_OK : unite(source, ties.embedding, ties.head);
}

zt_status zt_open_hf(const char *path, zt_comm *comm, zt_source **source) {
  ZT_TRY(zt_hfdir_open(path, comm, source));
  zt_status status = settle(*source);
  if (status != ZT_OK)
    zt_source_close(source);
  return status;
}

/* ---- All kinds ---- */

static bool holds(const char *dir, const char *name) {
  char path[PATH_MAX];
  return zt_path(path, "%s/%s", dir, name) == ZT_OK && access(path, F_OK) == 0;
}

static zt_path_kind look(const char *path) {
  struct stat st = {0};
  char format[32];
  if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
    return S_ISREG(st.st_mode) && zt_h5_format(path, format) == ZT_OK &&
                   !strcmp(format, ZT_FORMAT_TOKENS)
               ? ZT_PATH_TOKENS
               : ZT_PATH_WEIGHTS;
  if (holds(path, ZT_MANIFEST) || holds(path, ZT_COMMIT))
    return ZT_PATH_RESTART;
  return holds(path, "restart") && !holds(path, ZT_CONFIG_JSON) ? ZT_PATH_RUN
                                                                : ZT_PATH_HF;
}

zt_status zt_find_kind(const char *path, zt_comm *comm, zt_path_kind *kind) {
  *kind = comm->rank == 0 ? look(path) : ZT_PATH_WEIGHTS;
  return zt_comm_broadcast(comm, kind, sizeof *kind, 0);
}

static zt_status open_restart(const char *path, zt_comm *comm,
                              zt_source **source, bool *damaged) {
  zt_restart *restart;
  ZT_TRY(zt_restart_open(path, comm, &restart, damaged));
  zt_status status = zt_restart_source(&restart, source);
  zt_restart_close(&restart);
  return status;
}

/* The newest restart that is whole.  A reader renames nothing. */
static zt_status open_run(const char *path, zt_comm *comm, zt_source **source) {
  char dir[PATH_MAX], restart[PATH_MAX];
  zt_restart_list list;
  ZT_TRY(zt_path(dir, "%s/restart", path));
  ZT_TRY(zt_restart_find(dir, comm, &list));
  zt_status status =
      list.count > 0
          ? ZT_OK
          : zt_fail(ZT_ERR_NOINPUT,
                    "%s: no restart yet: 'ztinfo status' says more", dir);
  for (int i = 0; i < list.count; i++) {
    bool damaged = false;
    status = zt_path(restart, "%s/%s", dir, list.names[i]);
    if (status == ZT_OK)
      status = open_restart(restart, comm, source, &damaged);
    if (status == ZT_OK || !damaged)
      break;
    if (i + 1 < list.count)
      zt_warn("passed over: %s", zt_last_error());
  }
  zt_restart_list_free(&list);
  return status;
}

zt_status zt_open_source(const char *path, zt_comm *comm, zt_source **source) {
  zt_path_kind kind;
  ZT_TRY(zt_find_kind(path, comm, &kind));
  switch (kind) {
  case ZT_PATH_RESTART:
    return open_restart(path, comm, source, NULL);
  case ZT_PATH_RUN:
    return open_run(path, comm, source);
  case ZT_PATH_HF:
    return zt_open_hf(path, comm, source);
  default:
    return zt_checkpoint_open(path, comm, source);
  }
}

/* ---- Digest ---- */

/* This rank's share of the sum. */
static zt_status digest_share(zt_source *source, const zt_params *params,
                              const int *tensor_of, const int64_t *start,
                              char *buffer, uint64_t *sum) {
  zt_pieces pieces;
  zt_piece piece;
  zt_pieces_begin(&pieces, start, params->count, source->comm->size,
                  source->comm->rank, ZT_BUFFER_BYTES);
  while (zt_pieces_next(&pieces, &piece)) {
    const zt_param *p = &params->list[piece.index];
    const int tensor = tensor_of[piece.index];
    const zt_dtype dtype = source->tensors[tensor].dtype;
    const int64_t width = (int64_t) zt_dtype_size(dtype);
    int64_t begin = piece.at / width, count = piece.n / width;
    ZT_TRY(zt_source_read_raw(source, tensor, begin, count, buffer));
    *sum += zt_digest_part("parameters", p, dtype, buffer, begin, count);
  }
  return ZT_OK;
}

zt_status zt_digest_source(zt_source *source, const zt_params *params,
                           const int *tensor_of, uint64_t *digest) {
  int64_t *start = zt_calloc((size_t) params->count + 1, sizeof *start);
  char *buffer = zt_calloc(1, ZT_BUFFER_BYTES);
  zt_status status = start && buffer ? ZT_OK : ZT_ERR_MEMORY;
  *digest = 0;
  for (int p = 0; status == ZT_OK && p < params->count; p++)
    start[p + 1] = start[p] + params->list[p].numel *
                                  (int64_t) zt_dtype_size(
                                      source->tensors[tensor_of[p]].dtype);
  if (status == ZT_OK)
    status = digest_share(source, params, tensor_of, start, buffer, digest);
  free(start);
  free(buffer);
  ZT_TRY(zt_agree(source->comm, status));
  return zt_comm_all_reduce(source->comm, (int64_t *) digest, 1, ZT_SUM);
}
