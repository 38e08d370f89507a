/* SPDX-License-Identifier: BSD-3-Clause */
/* A restart's master weights as a source of tensors. */
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/format.h"
#include "io/h5.h"
#include "io/output.h"
#include "io/restart_inside.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct restart_source {
  zt_source base;
  zt_restart *restart;
} restart_source;

/* Where the configuration lies is part 0's business, where ranks read at
 * offsets that rank 0 found. */
static zt_status read_config(zt_source *source, int file, int64_t at, size_t n,
                             void *bytes) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/part-00000.h5", source->path));
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return zt_fail_open(path);
  zt_status status =
      zt_read_at(fd, path, bytes, n, source->config[file].at + at);
  close(fd);
  return status;
}

static zt_status read_tensor(zt_source *source, const zt_source_tensor *tensor,
                             int64_t begin, int64_t count, void *values) {
  return zt_restart_read(((restart_source *) source)->restart, ZT_MASTER,
                         tensor->at + begin, count, values);
}

static void close_source(zt_source *source) {
  zt_restart_close(&((restart_source *) source)->restart);
}

static const zt_source_ops restart_ops = {
    .name = "restart",
    .read = read_tensor,
    .read_config = read_config,
    .close = close_source,
};

/* ---- The index, on rank 0 ---- */

typedef struct config_walk {
  zt_source *source;
  const char *path;
  hid_t group;
  int64_t file_size;
} config_walk;

static zt_status add_config(void *context, const char *name) {
  config_walk *walk = context;
  hid_t dataset, type;
  zt_h5_extent extent;
  ZT_TRY(zt_h5_open_plain(walk->group, walk->path, ZT_GROUP_CONFIG, name,
                          walk->file_size, &dataset, &type, &extent));
  H5Tclose(type);
  H5Dclose(dataset);
  return zt_source_add_config(walk->source,
                              &(zt_source_file){.name = (char *) name,
                                                .size = extent.bytes,
                                                .at = extent.offset});
}

static zt_status index_config(zt_source *source) {
  char path[PATH_MAX];
  hid_t file, group;
  const zt_restart *r = ((restart_source *) source)->restart;
  ZT_TRY(zt_path(path, "%s/part-00000.h5", source->path));
  ZT_TRY(zt_h5_open(path, &file));
  zt_status status = zt_h5_open_group(file, path, ZT_GROUP_CONFIG, &group);
  if (status == ZT_OK) {
    config_walk walk = {source, path, group, r->inside->parts[0].part.bytes};
    status = zt_h5_each(group, path, ZT_GROUP_CONFIG, add_config, &walk);
    H5Gclose(group);
  }
  H5Fclose(file);
  return status;
}

/* One tensor of the manifest, by its own name or one that is tied to it. */
static zt_status add_tensor(zt_source *source, json_t *entry,
                            const char *name) {
  json_t *shape = json_object_get(entry, "shape");
  zt_source_tensor tensor = {.name = (char *) name,
                             .ndim = (int) json_array_size(shape),
                             .numel = 1,
                             .dtype = ZT_FP32,
                             .same_as = -1};
  if (tensor.ndim > ZT_MAX_DIMS)
    return zt_fail(ZT_ERR_DATA, "%s: %s has too many dimensions", source->path,
                   name);
  for (int d = 0; d < tensor.ndim; d++) {
    tensor.dims[d] = json_integer_value(json_array_get(shape, (size_t) d));
    if (zt_mul_overflows(tensor.numel, tensor.dims[d], &tensor.numel))
      return zt_fail(ZT_ERR_DATA, "%s: %s is impossibly large", source->path,
                     name);
  }
  tensor.at = json_integer_value(json_object_get(entry, "start"));
  return zt_source_add_tensor(source, &tensor);
}

static zt_status index_tensors(zt_source *source, json_t *manifest) {
  json_t *list = json_object_get(manifest, "parameters"), *entry, *name;
  json_t *aliases = json_object_get(manifest, "aliases");
  const char *alias;
  size_t i;
  json_array_foreach(list, i, entry) {
    const char *own;
    ZT_TRY(zt_json_string(entry, source->path, "name", true, &own));
    ZT_TRY(add_tensor(source, entry, own));
    json_object_foreach(aliases, alias, name) {
      if (json_is_string(name) && !strcmp(json_string_value(name), own))
        ZT_TRY(add_tensor(source, entry, alias));
    }
  }
  ZT_TRY(zt_source_sort(source));
  /* Names of one place in the flat space are one tensor. */
  for (int t = 0; t < source->n_tensors; t++)
    for (int earlier = 0; earlier < t; earlier++)
      if (source->tensors[earlier].at == source->tensors[t].at) {
        source->tensors[t].same_as = earlier;
        break;
      }
  return ZT_OK;
}

static zt_status read_config_json(zt_source *source) {
  for (int i = 0; i < source->n_config; i++) {
    const zt_source_file *file = &source->config[i];
    if (strcmp(file->name, ZT_CONFIG_JSON) != 0)
      continue;
    if (file->size > ZT_MOST_CONFIG_JSON)
      break;
    source->config_json = zt_calloc((size_t) file->size + 1, 1);
    if (!source->config_json)
      return ZT_ERR_MEMORY;
    source->config_json_size = (size_t) file->size;
    return read_config(source, i, 0, (size_t) file->size, source->config_json);
  }
  return zt_fail(ZT_ERR_DATA, "%s: holds no usable %s", source->path,
                 ZT_CONFIG_JSON);
}

static zt_status make_index(zt_source *source, json_t *manifest) {
  ZT_TRY(index_tensors(source, manifest));
  ZT_TRY(index_config(source));
  ZT_TRY(zt_source_sort(source));
  return read_config_json(source);
}

zt_status zt_restart_source(zt_restart **restart, zt_source **source) {
  zt_comm *comm = (*restart)->comm;
  zt_source *s = NULL;
  zt_status status = zt_source_create(&restart_ops, sizeof(restart_source),
                                      (*restart)->path, comm, &s);
  status = zt_agree(comm, status);
  if (status == ZT_OK) {
    ((restart_source *) s)->restart = *restart;
    *restart = NULL;
    json_t *manifest = ((restart_source *) s)->restart->manifest;
    if (comm->rank == 0)
      status = make_index(s, manifest);
    status = zt_agree(comm, status);
  }
  if (status == ZT_OK)
    status = zt_source_share(s);
  if (status != ZT_OK) {
    zt_source_close(&s);
    return status;
  }
  *source = s;
  return ZT_OK;
}

zt_restart *zt_restart_of(const zt_source *source) {
  if (!source || source->ops != &restart_ops)
    return NULL;
  return ((const restart_source *) source)->restart;
}
