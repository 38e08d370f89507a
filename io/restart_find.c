/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/restart_skeleton.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* "step-" and digits, nothing else: a restart that was renamed into place. */
static bool step_of(const char *name, int64_t *step) {
  int used = 0;
  return sscanf(name, "step-%" SCNd64 "%n", step, &used) == 1 && *step >= 0 &&
         name[used] == '\0' && name[5] != '-' && strlen(name) < 32;
}

static int newest_first(const void *a, const void *b) {
  int64_t x = 0, y = 0;
  step_of(a, &x);
  step_of(b, &y);
  return x < y ? 1 : x > y ? -1 : 0;
}

static zt_status add_name(zt_restart_list *list, const char *name) {
  if (!zt_grow(&list->names, &list->capacity, (size_t) list->count,
               sizeof *list->names))
    return ZT_ERR_MEMORY;
  memcpy(list->names[list->count++], name, strlen(name) + 1);
  return ZT_OK;
}

static zt_status read_names(const char *dir, zt_restart_list *list) {
  DIR *d = opendir(dir);
  if (!d && errno == ENOENT)
    return ZT_OK;
  if (!d)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot read the directory", dir);
  zt_status status = ZT_OK;
  struct dirent *entry;
  int64_t step;
  while (status == ZT_OK && (entry = readdir(d)))
    if (step_of(entry->d_name, &step))
      status = add_name(list, entry->d_name);
  closedir(d);
  if (list->count)
    qsort(list->names, (size_t) list->count, sizeof *list->names, newest_first);
  return status;
}

zt_status zt_restart_find(const char *dir, zt_comm *comm,
                          zt_restart_list *list) {
  *list = (zt_restart_list){0};
  zt_status status = comm->rank == 0 ? read_names(dir, list) : ZT_OK;
  status = zt_agree(comm, status);
  int64_t count = list->count;
  if (status == ZT_OK)
    status = zt_comm_broadcast(comm, &count, sizeof count, 0);
  if (status == ZT_OK && comm->rank != 0 && count > 0) {
    list->names = zt_calloc((size_t) count, sizeof *list->names);
    list->count = (int) count;
  }
  if (status == ZT_OK)
    status = zt_agree(comm, count && !list->names ? ZT_ERR_MEMORY : ZT_OK);
  if (status == ZT_OK && count)
    status = zt_comm_broadcast(comm, list->names,
                               (size_t) count * sizeof *list->names, 0);
  if (status != ZT_OK)
    zt_restart_list_free(list);
  return status;
}

void zt_restart_list_free(zt_restart_list *list) {
  free(list->names);
  *list = (zt_restart_list){0};
}

void zt_restart_set_aside(const char *dir, const char *name) {
  char from[PATH_MAX], to[PATH_MAX];
  for (int i = 1; i < 1000; i++) {
    zt_status status = zt_path(from, "%s/%s", dir, name);
    if (status == ZT_OK && i == 1)
      status = zt_path(to, "%s.bad", from);
    else if (status == ZT_OK)
      status = zt_path(to, "%s.bad-%d", from, i);
    if (status != ZT_OK)
      break;
    if (rename(from, to) == 0) {
      zt_warn("%s is damaged and is now %s", from, to);
      return;
    }
    if (errno != EEXIST && errno != ENOTEMPTY)
      break;
  }
  zt_warn("%s is damaged, and cannot be renamed: %s", from, strerror(errno));
}

/* What killed processes left: saves, removals, measurements. */
static bool is_leftover(const char *name) {
  return zt_ends_with(name, ".tmp") &&
         (zt_starts_with(name, "step-") || zt_starts_with(name, ".rate-"));
}

/* Killed while one restart took the place of another: one of them stands. */
static void end_replacing(const char *path) {
  char place[PATH_MAX];
  size_t length = strlen(path) - strlen(ZT_REPLACED);
  if (zt_path(place, "%.*s", (int) length, path) != ZT_OK)
    return;
  if (access(place, F_OK) == 0)
    zt_restart_remove(path);
  else if (rename(path, place) != 0)
    zt_warn("%s: cannot be renamed to %s: %s", path, place, strerror(errno));
}

static void remove_leftovers(const char *dir) {
  char path[PATH_MAX];
  DIR *d = opendir(dir);
  struct dirent *entry;
  while (d && (entry = readdir(d))) {
    if (zt_path(path, "%s/%s", dir, entry->d_name) != ZT_OK)
      continue;
    if (is_leftover(entry->d_name))
      zt_restart_remove(path);
    else if (zt_starts_with(entry->d_name, "step-") &&
             zt_ends_with(entry->d_name, ZT_REPLACED))
      end_replacing(path);
  }
  if (d)
    closedir(d);
}

static bool is_kept(const zt_retention *r, int place, int64_t step) {
  return place < r->keep || step == r->best ||
         (r->keep_every > 0 && step % r->keep_every == 0);
}

/* Renamed first: a removal that is interrupted leaves nothing that looks like a
 * restart. */
static void remove_restart(const char *dir, const char *name) {
  char path[PATH_MAX], doomed[PATH_MAX];
  if (zt_path(path, "%s/%s", dir, name) != ZT_OK ||
      zt_path(doomed, "%s/%s.old.tmp", dir, name) != ZT_OK)
    return;
  if (rename(path, doomed) == 0)
    zt_restart_remove(doomed);
  else
    zt_warn("%s: cannot be removed: %s", path, strerror(errno));
}

void zt_restart_clean(const char *dir, const zt_retention *retention) {
  zt_restart_list list = {0};
  remove_leftovers(dir);
  if (!retention)
    return;
  if (read_names(dir, &list) != ZT_OK)
    zt_warn("%s", zt_last_error());
  for (int i = 0; i < list.count; i++) {
    int64_t step;
    step_of(list.names[i], &step);
    if (!is_kept(retention, i, step))
      remove_restart(dir, list.names[i]);
  }
  zt_restart_list_free(&list);
}
