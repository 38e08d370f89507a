/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/hf_output.h"

#include "base/memory.h"
#include "base/text.h"
#include "io/hfdir.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *zt_path_join(const char *directory, const char *name) {
  size_t size = strlen(directory) + strlen(name) + 2;
  char *path = zt_calloc(size, 1);
  if (path)
    snprintf(path, size, "%s/%s", directory, name);
  return path;
}

/* Files by which Transformers finds weights. */
static bool is_weights(const char *name) {
  return zt_ends_with(name, ".safetensors") || !strcmp(name, ZT_HF_INDEX) ||
         zt_starts_with(name, "pytorch_model");
}

/* Files that an export of ours writes. */
static bool is_ours(const char *name) {
  int k, n, end = 0;
  sscanf(name, "model-%5d-of-%5d.safetensors%n", &k, &n, &end);
  return !strcmp(name, ZT_HF_SINGLE) || !strcmp(name, ZT_HF_INDEX) ||
         (end > 0 && name[end] == '\0');
}

/* Call `visit` for each name in the directory until it fails. */
static zt_status each(zt_hf_output *o,
                      zt_status (*visit)(zt_hf_output *, const char *)) {
  DIR *directory = opendir(o->path);
  if (!directory)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot read", o->path);
  zt_status status = ZT_OK;
  for (struct dirent *e; status == ZT_OK && (e = readdir(directory));)
    status = visit(o, e->d_name);
  closedir(directory);
  return status;
}

static zt_status refuse_weights(zt_hf_output *o, const char *name) {
  if (!is_weights(name))
    return ZT_OK;
  return zt_fail(ZT_ERR_CREATE,
                 "%s: already holds weights (%.60s); --force replaces them",
                 o->path, name);
}

zt_status zt_hf_output_begin(zt_hf_output *o, const char *path, bool replace) {
  *o = (zt_hf_output){.replace = replace};
  if (!(o->path = zt_strdup(path)))
    return ZT_ERR_MEMORY;
  if (mkdir(path, 0777) == 0) {
    o->made = true;
    return ZT_OK;
  }
  if (errno != EEXIST)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", path);
  return replace ? ZT_OK : each(o, refuse_weights);
}

zt_status zt_hf_output_add(zt_hf_output *o, const char *name, int64_t size,
                           int *fd) {
  if (!zt_grow(&o->files, &o->capacity, o->count, sizeof *o->files))
    return ZT_ERR_MEMORY;
  zt_hf_file *file = &o->files[o->count];
  *file = (zt_hf_file){.output.fd = -1};
  if (!(file->path = zt_path_join(o->path, name)))
    return ZT_ERR_MEMORY;
  o->count++;
  ZT_TRY(zt_output_begin(&file->output, file->path, o->replace));
  *fd = file->output.fd;
  return size ? zt_output_reserve(&file->output, size) : ZT_OK;
}

static zt_status remove_stale(zt_hf_output *o, const char *name) {
  if (!is_ours(name))
    return ZT_OK;
  char *path = zt_path_join(o->path, name);
  if (!path)
    return ZT_ERR_MEMORY;
  bool written = false;
  for (size_t i = 0; i < o->count; i++)
    written = written || !strcmp(o->files[i].path, path);
  zt_status status = ZT_OK;
  if (!written && unlink(path) != 0)
    status = zt_fail_errno(ZT_ERR_CREATE, "%s: cannot remove", path);
  free(path);
  return status;
}

/* All in place or none, as far as files that were replaced allow it. */
static zt_status put_in_place(zt_hf_output *o) {
  for (size_t i = 0; i < o->count; i++) {
    zt_status status = zt_output_commit(&o->files[i].output);
    while (status != ZT_OK && !o->replace && i > 0)
      unlink(o->files[--i].path);
    ZT_TRY(status);
  }
  return ZT_OK;
}

zt_status zt_hf_output_commit(zt_hf_output *o) {
  ZT_TRY(put_in_place(o));
  if (o->replace)
    ZT_TRY(each(o, remove_stale));
  if (!o->made)
    return ZT_OK;
  o->made = false; /* it stays */
  return zt_sync_directory(o->path);
}

void zt_hf_output_discard(zt_hf_output *o) {
  for (size_t i = 0; i < o->count; i++) {
    zt_output_discard(&o->files[i].output);
    free(o->files[i].path);
  }
  if (o->made)
    rmdir(o->path);
  free(o->files);
  free(o->path);
  *o = (zt_hf_output){0};
}
