/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/watch_lock.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "report/runstate.h"
#include "train/watch_lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct zt_run_lock {
  int fd; /* of the locked file, -1: a lease */
  zt_lease *lease;
};

/* What these say is that there are no locks, not that somebody has this one. */
static bool has_no_locks(int error) {
  return error == ENOLCK || error == EOPNOTSUPP || error == ENOSYS ||
         error == EINVAL;
}

/* A lock that belongs to the open file, and goes with the process. */
static int lock_file(int fd) {
  struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  return fcntl(fd, F_OFD_SETLK, &whole);
}

static zt_status refuse(const char *run_dir, const char *holder) {
  char who[160];
  zt_holder_say(holder, who, sizeof who);
  return zt_fail(ZT_ERR_CREATE,
                 "%.60s: %s trains there; wait for it, or give this run "
                 "another run.dir",
                 run_dir, who);
}

/* The holder's name is for people; the lock works without. */
static void sign(int fd) {
  char text[ZT_HOLDER_SIZE], now[32];
  zt_holder_write(text, zt_utc_now(now), 0);
  if (ftruncate(fd, 0) != 0 ||
      pwrite(fd, text, strlen(text), 0) != (ssize_t) strlen(text))
    zt_warn("the lock of the run does not say who holds it: %s",
            strerror(errno));
}

static zt_status take_lease(zt_run_lock *lock, const char *run_dir,
                            const zt_lease_times *times) {
  char holder[ZT_HOLDER_SIZE];
  zt_status status = zt_lease_take(run_dir, times, holder, &lock->lease);
  return status == ZT_ERR_CREATE && holder[0] ? refuse(run_dir, holder)
                                              : status;
}

static zt_status take(zt_run_lock *lock, const char *run_dir,
                      const zt_lease_times *times) {
  char path[PATH_MAX];
  ZT_TRY(zt_path(path, "%s/lock", run_dir));
  lock->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (lock->fd < 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot make it", path);
  if (lock_file(lock->fd) == 0) {
    sign(lock->fd);
    return ZT_OK;
  }
  if (errno == EAGAIN || errno == EACCES) {
    char holder[ZT_HOLDER_SIZE] = "";
    if (pread(lock->fd, holder, sizeof holder - 1, 0) < 0)
      holder[0] = '\0';
    return refuse(run_dir, holder);
  }
  if (!has_no_locks(errno))
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot lock it", path);
  zt_note("%s: %s; a lease takes the place of the lock", path, strerror(errno));
  close(lock->fd);
  lock->fd = -1;
  return take_lease(lock, run_dir, times);
}

zt_status zt_run_lock_take(const char *run_dir, const zt_lease_times *times,
                           zt_run_lock **lock) {
  static const zt_lease_times usual = {.renew = 10, .stale = 60};
  zt_run_lock *l = zt_calloc(1, sizeof *l);
  if (!l)
    return ZT_ERR_MEMORY;
  l->fd = -1;
  zt_status status = take(l, run_dir, times ? times : &usual);
  if (status == ZT_OK) {
    *lock = l;
    return ZT_OK;
  }
  if (l->fd >= 0)
    close(l->fd);
  free(l);
  return status;
}

bool zt_run_lock_is_lease(const zt_run_lock *lock) {
  return lock->lease != NULL;
}

void zt_run_unlock(zt_run_lock **lock) {
  zt_run_lock *l = *lock;
  if (!l)
    return;
  zt_lease_release(&l->lease);
  if (l->fd >= 0) {
    if (ftruncate(l->fd, 0) != 0)
      zt_note("the lock of the run still names its last holder");
    close(l->fd);
  }
  free(l);
  *lock = NULL;
}
