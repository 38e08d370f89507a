/* SPDX-License-Identifier: BSD-3-Clause */
/* What makes a written directory a restart: manifest, seal, rename. */
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/format.h"
#include "io/output.h"
#include "io/restart_skeleton.h"
#include "io/restart_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static json_t *describe_parts(const zt_restart_writer *w) {
  json_t *parts = json_array();
  for (int i = 0; i < w->n_parts; i++) {
    const zt_part *p = &w->parts[i];
    char name[32];
    zt_part_name(i, name);
    json_t *part = json_pack(
        "{s:s, s:i, s:i, s:I, s:I, s:I}", "file", name, "first_rank", p->first,
        "ranks", p->ranks, "cells", (json_int_t) p->cells, "bytes",
        (json_int_t) p->bytes, "checksums_at", (json_int_t) p->checksums);
    for (int s = 0; s < p->states; s++)
      json_object_set_new(part, zt_state_place(s), json_integer(p->data[s]));
    json_array_append_new(parts, part);
  }
  return parts;
}

/* Where there was one. */
static void add_evaluation(json_t *manifest, const zt_restart_save *save) {
  if (save->evaluated >= 0)
    json_object_set_new(manifest, "evaluated", json_integer(save->evaluated));
  if (save->best_step >= 0)
    json_object_set_new(manifest, "best",
                        json_pack("{s:I, s:f}", "step",
                                  (json_int_t) save->best_step, "loss",
                                  save->best_loss));
}

zt_status zt_restart_manifest(const zt_restart_writer *w, char **text) {
  const zt_restart_save *save = &w->save;
  char digest[17];
  snprintf(digest, sizeof digest, "%016" PRIx64, w->digest);
  json_t *m = json_pack(
      "{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:i, s:i, s:o, s:O, s:O}",
      "format", ZT_FORMAT_RESTART, "version", zt_restart_version(w->states),
      "step", (json_int_t) save->step, "updates", (json_int_t) save->updates,
      "epoch", (json_int_t) save->epoch, "position",
      (json_int_t) save->position, "metrics_bytes",
      (json_int_t) save->metrics_bytes, "digest", digest, "ranks",
      w->comm->size, "grid", (int) ZT_GRID, "parts", describe_parts(w),
      "configuration", save->configuration, "provenance", save->provenance);
  if (m)
    json_object_update(m, w->fixed);
  add_evaluation(m, save);
  *text = m ? json_dumps(m, JSON_INDENT(1) | JSON_REAL_PRECISION(17)) : NULL;
  json_decref(m);
  return *text ? ZT_OK : zt_fail(ZT_ERR_MEMORY, "out of memory (manifest)");
}

zt_status zt_restart_part_path(const zt_restart_writer *w,
                               char path[PATH_MAX]) {
  char name[32];
  zt_part_name(w->mine, name);
  return zt_path(path, "%s/%s", w->temporary, name);
}

/* A small file, durable. */
static zt_status write_file(const char *dir, const char *name, const char *text,
                            size_t n) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/%s", dir, name));
  int fd = zt_open(path, O_WRONLY | O_CREAT | O_EXCL);
  if (fd < 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", path);
  zt_status status = zt_write_at(fd, path, text, n, 0);
  if (status == ZT_OK)
    status = zt_sync(fd, path);
  if (close(fd) != 0 && status == ZT_OK)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
  return status;
}

/* For other tools: not sealed, and what goes wrong with it costs no restart. */
static void write_views(const zt_restart_writer *w) {
  char path[PATH_MAX];
  if (!w->views ||
      write_file(w->temporary, ZT_VIEWS, w->views, w->views_size) == ZT_OK)
    return;
  zt_warn("no " ZT_VIEWS ": %s", zt_last_error());
  if (zt_path(path, "%s/%s", w->temporary, ZT_VIEWS) == ZT_OK)
    unlink(path);
}

static zt_status write_seal(const zt_restart_writer *w) {
  size_t size = strlen(w->manifest);
  zt_seal seal = {.version = zt_restart_version(w->states),
                  .manifest_bytes = (int64_t) size,
                  .manifest = zt_hash_bytes(w->manifest, size),
                  .n_parts = w->n_parts};
  seal.parts = zt_calloc((size_t) w->n_parts, sizeof *seal.parts);
  if (!seal.parts)
    return ZT_ERR_MEMORY;
  for (int i = 0; i < w->n_parts; i++)
    seal.parts[i] = (zt_part_seal){.bytes = w->parts[i].bytes,
                                   .front = w->fronts[i],
                                   .table = w->tables[i]};
  zt_text text = {0};
  zt_seal_format(&seal, &text);
  zt_status status =
      text.failed ? zt_fail(ZT_ERR_MEMORY, "out of memory (seal)")
                  : write_file(w->temporary, ZT_COMMIT, text.data, text.size);
  zt_text_free(&text);
  free(seal.parts);
  return status;
}

/* The rename that makes it a restart.  Should one of this step stand there, it
 * goes only when the new one has taken its place. */
static zt_status put_in_place(const char *dir, const char *final) {
  if (rename(dir, final) == 0)
    return zt_sync_directory(final);
  if (errno != EEXIST && errno != ENOTEMPTY)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot rename", dir);
  if (renameat2(AT_FDCWD, dir, AT_FDCWD, final, RENAME_EXCHANGE) == 0) {
    ZT_TRY(zt_sync_directory(final));
    zt_restart_remove(dir);
    return ZT_OK;
  }
  /* Many file systems cannot exchange.  Killed between the two renames, the
   * next start brings the old one back. */
  char old[PATH_MAX];
  ZT_TRY(zt_path(old, "%s" ZT_REPLACED, final));
  zt_restart_remove(old);
  if (rename(final, old) != 0 || rename(dir, final) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot replace", final);
  ZT_TRY(zt_sync_directory(final));
  zt_restart_remove(old);
  return ZT_OK;
}

zt_status zt_restart_commit(zt_restart_writer *w) {
  char inside[PATH_MAX];
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_SEAL));
  if (w->save.sync)
    w->save.sync(w->save.sync_context);
  write_views(w);
  ZT_TRY(
      write_file(w->temporary, ZT_MANIFEST, w->manifest, strlen(w->manifest)));
  ZT_TRY(write_seal(w));
  ZT_TRY(zt_path(inside, "%s/.", w->temporary));
  ZT_TRY(zt_sync_directory(inside));
  return put_in_place(w->temporary, w->final);
}
