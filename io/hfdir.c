/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/hfdir.h"

#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/format.h"
#include "io/output.h"
#include "io/safetensors.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct hfdir {
  zt_source base;
  int open_file; /* which data file fd is, or -1 */
  int fd;
} hfdir;

static bool exists(const char *directory, const char *name) {
  char path[PATH_MAX];
  return zt_path(path, "%s/%s", directory, name) == ZT_OK &&
         access(path, F_OK) == 0;
}

/* ---- Tensors ---- */

static zt_status add_tensor(void *context, const zt_safetensor *t) {
  zt_source *s = context;
  zt_source_tensor tensor = {.name = (char *) t->name,
                             .numel = 1,
                             .dtype = t->dtype,
                             .foreign = t->foreign,
                             .same_as = -1,
                             .file = s->n_files - 1,
                             .at = t->at};
  /* No parameter has so many dimensions, but a tensor to be ignored may. */
  if (t->ndim > ZT_MAX_DIMS) {
    tensor.foreign = true;
    snprintf(tensor.format, sizeof tensor.format, "%.8s, %c-D", t->format,
             '0' + t->ndim);
    return zt_source_add_tensor(s, &tensor);
  }
  snprintf(tensor.format, sizeof tensor.format, "%s", t->format);
  tensor.ndim = t->ndim;
  for (int i = 0; i < t->ndim; i++) {
    tensor.dims[i] = t->dims[i];
    tensor.numel *= t->dims[i];
  }
  return zt_source_add_tensor(s, &tensor);
}

static zt_status add_file(zt_source *s, const char *name) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/%s", s->path, name));
  ZT_TRY(zt_source_add_file(s, name));
  return zt_safetensors_read(path, add_tensor, s);
}

/* Shard names come from a file: no way out of the directory. */
static bool is_shard_name(const char *name) {
  return zt_ends_with(name, ".safetensors") && name[0] != '.' &&
         name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrst"
                           "uvwxyz0123456789._-")] == '\0';
}

static int find_file(const zt_source *s, const char *name) {
  for (int i = 0; i < s->n_files; i++)
    if (!strcmp(s->files[i], name))
      return i;
  return -1;
}

/* Each tensor lies in the shard that the index says, and no other. */
static zt_status check_map(const zt_source *s, json_t *map, const char *path) {
  const char *name;
  json_t *shard;
  for (int i = 0; i < s->n_tensors; i++) {
    const zt_source_tensor *t = &s->tensors[i];
    const char *said = json_string_value(json_object_get(map, t->name));
    if (!said || strcmp(said, s->files[t->file]) != 0)
      return zt_fail(ZT_ERR_DATA, "%s/%s: tensor %s is not listed there by %s",
                     s->path, s->files[t->file], t->name, ZT_HF_INDEX);
  }
  json_object_foreach(map, name, shard) {
    if (zt_source_find(s, name) < 0)
      return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s is not in %.80s", path,
                     name, json_string_value(shard));
  }
  return ZT_OK;
}

static zt_status add_shards(zt_source *s, json_t *index, const char *path,
                            json_t **map) {
  const char *name;
  json_t *shard;
  *map = json_object_get(index, "weight_map");
  if (!json_is_object(*map) || json_object_size(*map) == 0)
    return zt_fail(ZT_ERR_DATA, "%s: no \"weight_map\"", path);
  json_object_foreach(*map, name, shard) {
    const char *file = json_string_value(shard);
    if (!file || !is_shard_name(file) || !zt_safetensors_is_name(name))
      return zt_fail(ZT_ERR_DATA, "%s: weight_map holds an unusable %s name",
                     path, zt_safetensors_is_name(name) ? "file" : "tensor");
    if (find_file(s, file) < 0)
      ZT_TRY(add_file(s, file));
  }
  return ZT_OK;
}

static zt_status add_indexed(zt_source *s) {
  char path[PATH_MAX];
  json_t *index, *map;
  ZT_TRY(zt_path(path, "%s/%s", s->path, ZT_HF_INDEX));
  ZT_TRY(zt_json_read(path, ZT_SAFETENSORS_HEADER, &index));
  zt_status status = add_shards(s, index, path, &map);
  if (status == ZT_OK)
    status = zt_source_sort(s);
  if (status == ZT_OK)
    status = check_map(s, map, path);
  json_decref(index);
  return status;
}

static zt_status add_weights(zt_source *s) {
  if (exists(s->path, ZT_HF_SINGLE)) {
    /* As Transformers chooses. */
    if (exists(s->path, ZT_HF_INDEX))
      zt_warn("%s: %s is used, %s is not", s->path, ZT_HF_SINGLE, ZT_HF_INDEX);
    ZT_TRY(add_file(s, ZT_HF_SINGLE));
    return zt_source_sort(s);
  }
  if (exists(s->path, ZT_HF_INDEX))
    return add_indexed(s);
  return zt_fail(ZT_ERR_NOINPUT, "%s: holds neither %s nor its index%s",
                 s->path, ZT_HF_SINGLE,
                 exists(s->path, "pytorch_model.bin")
                     ? "; save pytorch_model.bin as safetensors first"
                     : "");
}

/* ---- Configuration files ---- */

static zt_status add_config(zt_source *s, const char *name) {
  char path[PATH_MAX];
  struct stat st; /* links are followed: the Hub's cache is made of them */
  ZT_TRY(zt_path(path, "%s/%s", s->path, name));
  if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
    return ZT_OK;
  if (st.st_size > ZT_MOST_CONFIG_BYTES) {
    zt_warn("%s/%s is left out: larger than 64 MiB", s->path, name);
    return ZT_OK;
  }
  return zt_source_add_config(
      s, &(zt_source_file){.name = (char *) name, .size = st.st_size});
}

static zt_status add_configs(zt_source *s) {
  DIR *directory = opendir(s->path);
  if (!directory)
    return zt_fail_open(s->path);
  zt_status status = ZT_OK;
  for (struct dirent *e; status == ZT_OK && (e = readdir(directory));)
    if (zt_source_is_config(e->d_name))
      status = add_config(s, e->d_name);
  closedir(directory);
  return status;
}

static zt_status read_config_json(zt_source *s) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/%s", s->path, ZT_CONFIG_JSON));
  return zt_read_file(path, ZT_MOST_CONFIG_JSON, &s->config_json,
                      &s->config_json_size);
}

static zt_status read_index(zt_source *s) {
  struct stat st;
  if (stat(s->path, &st) != 0)
    return zt_fail_open(s->path);
  if (!S_ISDIR(st.st_mode))
    return zt_fail(ZT_ERR_NOINPUT, "%s: not a directory with %s and %s",
                   s->path, ZT_CONFIG_JSON, ZT_HF_SINGLE);
  ZT_TRY(read_config_json(s));
  ZT_TRY(add_configs(s));
  return add_weights(s);
}

/* ---- Reading ---- */

static zt_status open_data(hfdir *h, int file, const char *path) {
  if (h->open_file == file)
    return ZT_OK;
  if (h->fd >= 0)
    close(h->fd);
  h->fd = open(path, O_RDONLY | O_CLOEXEC);
  h->open_file = h->fd < 0 ? -1 : file;
  return h->fd < 0 ? zt_fail_open(path) : ZT_OK;
}

static zt_status hfdir_read(zt_source *source, const zt_source_tensor *t,
                            int64_t begin, int64_t count, void *values) {
  hfdir *h = (hfdir *) source;
  const int64_t width = (int64_t) zt_dtype_size(t->dtype);
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/%s", source->path, source->files[t->file]));
  ZT_TRY(open_data(h, t->file, path));
  return zt_read_at(h->fd, path, values, (size_t) (count * width),
                    t->at + begin * width);
}

static zt_status hfdir_read_config(zt_source *source, int file, int64_t at,
                                   size_t n, void *bytes) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/%s", source->path, source->config[file].name));
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return zt_fail_open(path);
  zt_status status = zt_read_at(fd, path, bytes, n, at);
  close(fd);
  return status;
}

static void hfdir_close(zt_source *source) {
  hfdir *h = (hfdir *) source;
  if (h->fd >= 0)
    close(h->fd);
}

static const zt_source_ops hfdir_ops = {
    .name = "Hugging Face directory",
    .read = hfdir_read,
    .read_config = hfdir_read_config,
    .close = hfdir_close,
};

zt_status zt_hfdir_open(const char *path, zt_comm *comm, zt_source **source) {
  zt_source *s = NULL;
  zt_status status =
      zt_source_create(&hfdir_ops, sizeof(hfdir), path, comm, &s);
  if (s)
    ((hfdir *) s)->fd = ((hfdir *) s)->open_file = -1;
  if (status == ZT_OK && comm->rank == 0)
    status = read_index(s);
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = zt_source_share(s);
  if (status != ZT_OK) {
    zt_source_close(&s);
    return status;
  }
  *source = s;
  return ZT_OK;
}
