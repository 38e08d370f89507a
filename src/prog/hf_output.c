/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/hf_output.h"

#include "base/memory.h"
#include "base/text.h"
#include "io/hfdir.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/%s", o->path, name));
  zt_hf_file *file = &o->files[o->count];
  ZT_TRY(zt_output_begin(&file->output, path, o->replace));
  snprintf(file->name, sizeof file->name, "%s", name);
  o->count++;
  *fd = file->output.fd;
  return size ? zt_output_reserve(&file->output, size) : ZT_OK;
}

static zt_status remove_file(const zt_hf_output *o, const char *name) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/%s", o->path, name));
  if (unlink(path) != 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot remove", path);
  return ZT_OK;
}

static zt_status remove_stale(zt_hf_output *o, const char *name) {
  bool stays = !is_ours(name);
  for (size_t i = 0; i < o->count; i++)
    stays = stays || !strcmp(o->files[i].name, name);
  return stays ? ZT_OK : remove_file(o, name);
}

/* All in place or none, as far as files that were replaced allow it. */
static zt_status put_in_place(zt_hf_output *o) {
  for (size_t i = 0; i < o->count; i++) {
    zt_status status = zt_output_commit(&o->files[i].output);
    if (status == ZT_OK)
      continue;
    char message[ZT_MESSAGE_SIZE];
    snprintf(message, sizeof message, "%s", zt_last_error());
    while (!o->replace && i > 0)
      remove_file(o, o->files[--i].name);
    return zt_fail(status, "%s", message);
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
  for (size_t i = 0; i < o->count; i++)
    zt_output_discard(&o->files[i].output);
  if (o->made)
    rmdir(o->path);
  free(o->files);
  free(o->path);
  *o = (zt_hf_output){0};
}
