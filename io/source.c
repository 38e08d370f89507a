/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/source.h"

#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

zt_status zt_source_create(const zt_source_ops *ops, size_t size,
                           const char *path, zt_comm *comm,
                           zt_source **source) {
  zt_source *s = zt_calloc(1, size);
  if (!s)
    return ZT_ERR_MEMORY;
  s->ops = ops;
  s->comm = comm;
  if (!(s->path = zt_strdup(path))) {
    free(s);
    return ZT_ERR_MEMORY;
  }
  *source = s;
  return ZT_OK;
}

static void free_index(zt_source *s) {
  for (int i = 0; i < s->n_tensors; i++)
    free(s->tensors[i].name);
  for (int i = 0; i < s->n_config; i++)
    free(s->config[i].name);
  for (int i = 0; i < s->n_files; i++)
    free(s->files[i]);
  free(s->tensors);
  free(s->config);
  free(s->files);
  free(s->config_json);
}

void zt_source_close(zt_source **source) {
  zt_source *s = *source;
  if (!s)
    return;
  s->ops->close(s);
  free_index(s);
  free(s->path);
  free(s);
  *source = NULL;
}

/* ---- Index ---- */

zt_status zt_source_add_tensor(zt_source *s, const zt_source_tensor *tensor) {
  if (!zt_grow(&s->tensors, &s->tensors_capacity, (size_t) s->n_tensors,
               sizeof *s->tensors))
    return ZT_ERR_MEMORY;
  zt_source_tensor *t = &s->tensors[s->n_tensors];
  *t = *tensor;
  if (!(t->name = zt_strdup(tensor->name)))
    return ZT_ERR_MEMORY;
  s->n_tensors++;
  return ZT_OK;
}

zt_status zt_source_add_config(zt_source *s, const zt_source_file *file) {
  if (!zt_grow(&s->config, &s->config_capacity, (size_t) s->n_config,
               sizeof *s->config))
    return ZT_ERR_MEMORY;
  zt_source_file *f = &s->config[s->n_config];
  *f = *file;
  if (!(f->name = zt_strdup(file->name)))
    return ZT_ERR_MEMORY;
  s->n_config++;
  return ZT_OK;
}

zt_status zt_source_add_file(zt_source *s, const char *name) {
  if (!zt_grow(&s->files, &s->files_capacity, (size_t) s->n_files,
               sizeof *s->files))
    return ZT_ERR_MEMORY;
  if (!(s->files[s->n_files] = zt_strdup(name)))
    return ZT_ERR_MEMORY;
  s->n_files++;
  return ZT_OK;
}

static int by_tensor_name(const void *a, const void *b) {
  return strcmp(((const zt_source_tensor *) a)->name,
                ((const zt_source_tensor *) b)->name);
}

static int by_file_name(const void *a, const void *b) {
  return strcmp(((const zt_source_file *) a)->name,
                ((const zt_source_file *) b)->name);
}

zt_status zt_source_sort(zt_source *s) {
  if (s->n_tensors)
    qsort(s->tensors, (size_t) s->n_tensors, sizeof *s->tensors,
          by_tensor_name);
  if (s->n_config)
    qsort(s->config, (size_t) s->n_config, sizeof *s->config, by_file_name);
  for (int i = 1; i < s->n_tensors; i++) {
    const zt_source_tensor *t = &s->tensors[i], *last = t - 1;
    if (!strcmp(t->name, last->name))
      return zt_fail(ZT_ERR_DATA, "%s: tensor %s is in %s and in %s", s->path,
                     t->name, s->files[last->file], s->files[t->file]);
  }
  return ZT_OK;
}

bool zt_source_is_config(const char *name) {
  static const char *const weights[] = {
      ".safetensors", ".bin",  ".pt",   ".pth",        ".ckpt", ".msgpack",
      ".h5",          ".onnx", ".gguf", ".index.json", ".tmp"};
  size_t length = strlen(name);
  if (length == 0 || length > ZT_MOST_NAME || name[0] == '.')
    return false;
  for (const char *c = name; *c; c++)
    if (*c <= ' ' || *c > '~' || *c == '/')
      return false;
  for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
    if (zt_ends_with(name, weights[i]))
      return false;
  return true;
}

/* ---- Sharing ---- */

/* The index as bytes: the structures, which all ranks of a job lay out alike,
 * then the names in the same order. */
static void pack(const zt_source *s, zt_text *blob) {
  zt_text_append(blob, (const char *) s->tensors,
                 (size_t) s->n_tensors * sizeof *s->tensors);
  zt_text_append(blob, (const char *) s->config,
                 (size_t) s->n_config * sizeof *s->config);
  zt_text_append(blob, s->config_json, s->config_json_size);
  zt_text_append(blob, "", 1);
  for (int i = 0; i < s->n_tensors; i++)
    zt_text_append(blob, s->tensors[i].name, strlen(s->tensors[i].name) + 1);
  for (int i = 0; i < s->n_config; i++)
    zt_text_append(blob, s->config[i].name, strlen(s->config[i].name) + 1);
  for (int i = 0; i < s->n_files; i++)
    zt_text_append(blob, s->files[i], strlen(s->files[i]) + 1);
}

static const char *take(void *to, const char *from, size_t size) {
  memcpy(to, from, size);
  return from + size;
}

static const char *take_name(char **to, const char *from) {
  *to = zt_strdup(from);
  return from + strlen(from) + 1;
}

/* The counts are set already. */
static zt_status unpack(zt_source *s, const char *from) {
  int n_tensors = s->n_tensors, n_config = s->n_config, n_files = s->n_files;
  s->n_tensors = s->n_config = s->n_files = 0; /* until the names are there */
  s->tensors = zt_calloc((size_t) n_tensors, sizeof *s->tensors);
  s->config = zt_calloc((size_t) n_config, sizeof *s->config);
  s->files = zt_calloc((size_t) n_files, sizeof *s->files);
  s->config_json = zt_calloc(s->config_json_size + 1, 1);
  if (!s->tensors || !s->config || !s->files || !s->config_json)
    return ZT_ERR_MEMORY;
  from = take(s->tensors, from, (size_t) n_tensors * sizeof *s->tensors);
  from = take(s->config, from, (size_t) n_config * sizeof *s->config);
  from = take(s->config_json, from, s->config_json_size + 1);
  for (; s->n_tensors < n_tensors; s->n_tensors++) {
    from = take_name(&s->tensors[s->n_tensors].name, from);
    if (!s->tensors[s->n_tensors].name)
      return ZT_ERR_MEMORY;
  }
  for (; s->n_config < n_config; s->n_config++) {
    from = take_name(&s->config[s->n_config].name, from);
    if (!s->config[s->n_config].name)
      return ZT_ERR_MEMORY;
  }
  for (; s->n_files < n_files; s->n_files++) {
    from = take_name(&s->files[s->n_files], from);
    if (!s->files[s->n_files])
      return ZT_ERR_MEMORY;
  }
  return ZT_OK;
}

zt_status zt_source_share(zt_source *s) {
  zt_text blob = {0};
  bool root = s->comm->rank == 0;
  zt_status status = ZT_OK;
  if (root)
    pack(s, &blob);
  if (blob.failed)
    status = zt_fail(ZT_ERR_MEMORY, "out of memory (index of %s)", s->path);
  status = zt_agree(s->comm, status);
  int64_t head[] = {(int64_t) blob.size, s->n_tensors,
                    s->n_config,         s->n_files,
                    s->has_digest,       (int64_t) s->config_json_size,
                    (int64_t) s->digest};
  if (status == ZT_OK)
    status = zt_comm_broadcast(s->comm, head, sizeof head, 0);
  if (status != ZT_OK) {
    zt_text_free(&blob);
    return status;
  }
  char *bytes = root ? blob.data : zt_calloc((size_t) head[0], 1);
  status = zt_agree(s->comm, bytes ? ZT_OK : ZT_ERR_MEMORY);
  if (status == ZT_OK)
    status = zt_comm_broadcast(s->comm, bytes, (size_t) head[0], 0);
  if (status == ZT_OK && !root) {
    s->n_tensors = (int) head[1];
    s->n_config = (int) head[2];
    s->n_files = (int) head[3];
    s->has_digest = head[4] != 0;
    s->config_json_size = (size_t) head[5];
    s->digest = (uint64_t) head[6];
    status = unpack(s, bytes);
  }
  free(bytes);
  return zt_agree(s->comm, status);
}

/* ---- Reading ---- */

int64_t zt_source_config_bytes(const zt_source *source) {
  int64_t bytes = 0;
  for (int i = 0; i < source->n_config; i++)
    bytes += source->config[i].size;
  return bytes;
}

int zt_source_find(const zt_source *s, const char *name) {
  int low = 0, high = s->n_tensors - 1;
  while (low <= high) {
    int mid = low + (high - low) / 2;
    int order = strcmp(name, s->tensors[mid].name);
    if (order == 0)
      return mid;
    if (order < 0)
      high = mid - 1;
    else
      low = mid + 1;
  }
  return -1;
}

int zt_source_root(const zt_source *s, int tensor) {
  while (tensor >= 0 && s->tensors[tensor].same_as >= 0)
    tensor = s->tensors[tensor].same_as;
  return tensor;
}

zt_status zt_source_read_raw(zt_source *s, int tensor, int64_t begin,
                             int64_t count, void *values) {
  const zt_source_tensor *t = &s->tensors[tensor];
  if (begin < 0 || count < 0 || begin > t->numel - count)
    return zt_fail(ZT_ERR_INTERNAL, "%s: read beyond tensor %s", s->path,
                   t->name);
  s->bytes_read += (uint64_t) count * zt_dtype_size(t->dtype);
  return count ? s->ops->read(s, t, begin, count, values) : ZT_OK;
}

zt_status zt_source_read(zt_source *s, int tensor, int64_t begin, int64_t count,
                         float *values) {
  enum { BLOCK = 4096 };
  const zt_dtype dtype = s->tensors[tensor].dtype;
  const size_t width = zt_dtype_size(dtype);
  /* Narrow values are read into the end of the result and widened from its
   * front: a block is lifted out before its place is overwritten, and what
   * comes later still lies behind. */
  char *narrow = (char *) (values + count) - (size_t) count * width;
  ZT_TRY(zt_source_read_raw(s, tensor, begin, count, narrow));
  for (int64_t i = 0; width < sizeof *values && i < count; i += BLOCK) {
    char block[BLOCK * sizeof *values];
    size_t n = (size_t) (count - i < BLOCK ? count - i : BLOCK);
    memcpy(block, narrow + (size_t) i * width, n * width);
    zt_to_fp32(dtype, block, values + i, n);
  }
  return ZT_OK;
}

zt_status zt_source_read_config(zt_source *s, int file, int64_t at, size_t n,
                                void *bytes) {
  return s->ops->read_config(s, file, at, n, bytes);
}

/* ---- Binding ---- */

/* The tensor that holds a parameter: under its own name, or else the first
 * alias in the family's order. */
static int holder(const zt_source *s, const zt_params *params, int param) {
  int tensor = zt_source_find(s, params->list[param].name);
  for (int a = 0; tensor < 0 && a < params->n_aliases; a++)
    if (params->aliases[a].param == param)
      tensor = zt_source_find(s, params->aliases[a].name);
  return tensor;
}

/* The file of a tensor, for messages. */
static const char *file_of(const zt_source *s, const zt_source_tensor *t,
                           char buffer[ZT_MESSAGE_SIZE]) {
  bool many = t->file < s->n_files;
  snprintf(buffer, ZT_MESSAGE_SIZE, "%s%s%s", s->path, many ? "/" : "",
           many ? s->files[t->file] : "");
  return buffer;
}

static zt_status check_fit(const zt_source *s, const zt_source_tensor *t,
                           const zt_param *param) {
  char file[ZT_MESSAGE_SIZE];
  if (t->foreign)
    return zt_fail(ZT_ERR_DATA,
                   "%s: tensor %s is stored as %s; only F32, F16 and BF16 are "
                   "supported",
                   file_of(s, t, file), t->name, t->format);
  bool fits = t->ndim == param->ndim;
  for (int i = 0; fits && i < t->ndim; i++)
    fits = t->dims[i] == param->dims[i];
  char has[96], wants[96];
  if (!fits)
    return zt_fail(ZT_ERR_DATA, "%s: tensor %s has shape %s, %s says %s",
                   file_of(s, t, file), t->name,
                   zt_shape_text(t->ndim, t->dims, has), ZT_CONFIG_JSON,
                   zt_shape_text(param->ndim, param->dims, wants));
  return ZT_OK;
}

zt_status zt_source_bind(const zt_source *s, const zt_params *params,
                         int *tensor_of) {
  for (int p = 0; p < params->count; p++) {
    tensor_of[p] = holder(s, params, p);
    if (tensor_of[p] < 0)
      return zt_fail(ZT_ERR_DATA, "%s: tensor %s is missing", s->path,
                     params->list[p].name);
    ZT_TRY(check_fit(s, &s->tensors[tensor_of[p]], &params->list[p]));
  }
  for (int i = 0; i < s->n_tensors; i++) {
    const zt_source_tensor *t = &s->tensors[i];
    int p = zt_params_find_any(params, t->name);
    char file[ZT_MESSAGE_SIZE];
    if (p < 0)
      return zt_fail(ZT_ERR_DATA,
                     "%s: tensor %s is unknown: %s describes no such parameter",
                     file_of(s, t, file), t->name, ZT_CONFIG_JSON);
    if (zt_source_root(s, i) != zt_source_root(s, tensor_of[p]))
      return zt_fail(ZT_ERR_DATA,
                     "%s: tensor %s differs from %s, but this model has only "
                     "one of them",
                     file_of(s, t, file), t->name,
                     s->tensors[tensor_of[p]].name);
  }
  return ZT_OK;
}
