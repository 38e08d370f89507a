/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"
#include "base/settings_json.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/checkpoint.h"
#include "train/state.h"
#include "train/trainer_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Choosing ---- */

static zt_status take(zt_trainer *t, zt_restart **restart) {
  return zt_restart_source(restart, &t->source);
}

/* The newest restart from `from` on that opens.  What is proven damaged is set
 * aside; a failure to read is not proof and ends the search. */
static zt_status open_next(zt_trainer *t, int from) {
  for (t->candidate = from; t->candidate < t->list.count; t->candidate++) {
    char path[PATH_MAX];
    bool damaged = false;
    zt_restart *restart;
    const char *name = t->list.names[t->candidate];
    ZT_TRY(zt_path(path, "%s/%s", t->restart_dir, name));
    zt_status status = zt_restart_open(path, t->comm, &restart, &damaged);
    if (status == ZT_OK)
      return take(t, &restart);
    if (!damaged)
      return status;
    zt_info("%s is passed over: %s", name, zt_last_error());
    if (t->root)
      zt_restart_set_aside(t->restart_dir, name);
  }
  return zt_fail(ZT_ERR_DATA,
                 "%s: none of its %d restarts loads (see above); --restart "
                 "none starts the run anew",
                 t->restart_dir, t->list.count);
}

/* No falling back from what was asked for by name. */
static zt_status open_path(zt_trainer *t) {
  zt_restart *restart;
  ZT_TRY(zt_restart_open(t->request->restart, t->comm, &restart, NULL));
  return take(t, &restart);
}

/* A directory for restarts of another branch, which stay whole but out of the
 * way. */
static zt_status find_aside(const zt_trainer *t, char to[PATH_MAX]) {
  struct stat st;
  for (int i = 1; i < 10000; i++) {
    ZT_TRY(zt_path(to, "%s.old-%d", t->restart_dir, i));
    if (lstat(to, &st) != 0)
      break;
  }
  return ZT_OK;
}

static zt_status move_old_restarts(zt_trainer *t) {
  char to[PATH_MAX];
  if (!t->root || t->list.count == 0)
    return ZT_OK;
  ZT_TRY(find_aside(t, to));
  if (rename(t->restart_dir, to) != 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot be moved out of the way",
                         t->restart_dir);
  zt_info("--restart none: the old restarts are now in %s", to);
  return ZT_OK;
}

/* Whether the restart asked for by name is one of this run's. */
static bool is_own(const zt_trainer *t) {
  char path[PATH_MAX];
  struct stat there, own;
  return zt_path(path, "%s/..", t->request->restart) == ZT_OK &&
         stat(path, &there) == 0 && stat(t->restart_dir, &own) == 0 &&
         there.st_ino == own.st_ino && there.st_dev == own.st_dev;
}

zt_status zt_trainer_leave_branch(const zt_trainer *t) {
  char to[PATH_MAX], from[PATH_MAX], place[PATH_MAX];
  int64_t kept = t->candidate < 0 && is_own(t) ? t->first : -1;
  int moved = 0;
  ZT_TRY(find_aside(t, to));
  for (int i = 0; i < t->list.count && t->candidate < 0; i++) {
    const char *name = t->list.names[i];
    if (atoll(name + strlen("step-")) <= kept)
      continue;
    ZT_TRY(zt_path(from, "%s/%s", t->restart_dir, name));
    ZT_TRY(zt_path(place, "%s/%s", to, name));
    if ((moved++ == 0 && mkdir(to, 0777) != 0) || rename(from, place) != 0)
      return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot be moved to %s", from,
                           to);
  }
  if (moved)
    zt_info("--restart: %d restarts of another branch are now in %s", moved,
            to);
  return ZT_OK;
}

zt_status zt_trainer_choose(zt_trainer *t) {
  const char *wish = t->request->restart;
  bool automatic = !strcmp(wish, "auto"), none = !strcmp(wish, "none");
  bool require = !strcmp(wish, "require");
  t->candidate = -1;
  if (t->root)
    zt_restart_clean(t->restart_dir, NULL);
  ZT_TRY(zt_restart_find(t->restart_dir, t->comm, &t->list));
  if (!automatic && !none && !require)
    return open_path(t);
  if (!none && t->list.count > 0)
    return open_next(t, 0);
  if (require)
    return zt_fail(ZT_ERR_NOINPUT,
                   "%s: no restart there, and --restart require was given",
                   t->restart_dir);
  if (none)
    ZT_TRY(zt_agree(t->comm, move_old_restarts(t)));
  return zt_checkpoint_open(t->settings->model.weights, t->comm, &t->source);
}

/* ---- Loading ---- */

static zt_status load_weights(zt_trainer *t) {
  uint64_t digest;
  ZT_TRY(zt_state_load(t->step->zero3, t->source));
  ZT_TRY(zt_state_digest(t->step->zero3, -1, &digest));
  if (t->source->has_digest && digest != t->source->digest)
    return zt_fail(ZT_ERR_DATA,
                   "%s: its content has digest %016" PRIx64 ", but %016" PRIx64
                   " is recorded: import it again",
                   t->source->path, digest, t->source->digest);
  return ZT_OK;
}

/* A whole restart: every cell verified, and the digest of all. */
static zt_status load_restart(zt_trainer *t, zt_restart *restart,
                              bool *damaged) {
  uint64_t digest;
  ZT_TRY(zt_state_resume(t->step->zero3, restart, &digest, damaged));
  if (digest == restart->digest)
    return ZT_OK;
  *damaged = true;
  return zt_fail(ZT_ERR_DATA,
                 "%s: its content has digest %016" PRIx64 ", but %016" PRIx64
                 " is recorded",
                 restart->path, digest, restart->digest);
}

/* Parameters alone, after a change of optimizer that was allowed. */
static zt_status load_parameters(zt_trainer *t) {
  zt_info("the restart is of another optimizer: its state begins anew");
  t->updates = 0;
  return zt_state_load(t->step->zero3, t->source);
}

zt_status zt_trainer_load(zt_trainer *t) {
  zt_restart *restart = zt_restart_of(t->source);
  if (!restart)
    return load_weights(t);
  for (;;) {
    bool damaged = false;
    ZT_TRY(
        zt_agree(t->comm, zt_restart_check_params(restart, &t->model->params)));
    t->first = t->done = restart->step;
    if (!zt_state_is_alike(t->step->zero3, restart))
      return load_parameters(t);
    zt_status status = load_restart(t, restart, &damaged);
    t->updates = restart->updates;
    if (status == ZT_OK || !damaged || t->candidate < 0)
      return status;
    zt_info("%s is passed over: %s", restart->name, zt_last_error());
    if (t->root)
      zt_restart_set_aside(t->restart_dir, restart->name);
    zt_source_close(&t->source);
    ZT_TRY(open_next(t, t->candidate + 1));
    restart = zt_restart_of(t->source);
    zt_info("resuming from %s instead", restart->path);
  }
}

/* ---- Comparing ---- */

static bool allowed(const zt_trainer *t, const char *key) {
  for (int i = 0; i < t->request->n_allow; i++)
    if (!strcmp(t->request->allow[i], key))
      return true;
  return false;
}

static zt_status note_change(void *context, const zt_settings_change *change) {
  zt_trainer *t = context;
  if (change->fixed && !allowed(t, change->key))
    return zt_fail(ZT_ERR_CONFIG,
                   "%s is %.40s, but the restart was made with %.40s; change "
                   "it back or say --allow-change %s",
                   change->key, change->is, change->was, change->key);
  zt_info("changed since the restart: %s = %s -> %s", change->key, change->was,
          change->is);
  return ZT_OK;
}

zt_status zt_trainer_compare(zt_trainer *t) {
  zt_restart *restart = zt_restart_of(t->source);
  if (!restart)
    return ZT_OK;
  return zt_agree(t->comm, zt_settings_diff(json_object_get(restart->manifest,
                                                            "configuration"),
                                            t->settings, note_change, t));
}
