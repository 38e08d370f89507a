/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/output.h"

#include "base/beat.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

char *zt_output_temporary(const char *path) {
  size_t size = strlen(path) + sizeof ".tmp";
  char *name = zt_calloc(size, 1);
  if (name)
    snprintf(name, size, "%s.tmp", path);
  return name;
}

static zt_status check_place(const char *path, bool replace) {
  struct stat st;
  if (lstat(path, &st) != 0)
    return ZT_OK;
  if (!replace)
    return zt_fail(ZT_ERR_CREATE, "%s: exists; --force replaces it", path);
  if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
    return zt_fail(ZT_ERR_CREATE, "%s: exists and is not a regular file", path);
  return ZT_OK;
}

/* Whoever holds the lock of the file that PATH.tmp names may write it.  By the
 * time we have the lock its owner may have renamed it: then look again. */
static zt_status take_temporary(zt_output *output) {
  const char *name = output->temporary;
  for (;;) {
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd < 0)
      return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", name);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      close(fd);
      return zt_fail(ZT_ERR_CREATE, "%s: another program is writing it", name);
    }
    struct stat mine, there;
    if (fstat(fd, &mine) == 0 && stat(name, &there) == 0 &&
        mine.st_ino == there.st_ino && mine.st_dev == there.st_dev) {
      output->fd = fd;
      break;
    }
    close(fd);
  }
  if (ftruncate(output->fd, 0) != 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot empty", name);
  return ZT_OK;
}

zt_status zt_output_begin(zt_output *output, const char *path, bool replace) {
  *output = (zt_output){.fd = -1, .replace = replace};
  ZT_TRY(check_place(path, replace));
  output->path = zt_strdup(path);
  output->temporary = zt_output_temporary(path);
  zt_status status = ZT_ERR_MEMORY;
  if (output->path && output->temporary)
    status = take_temporary(output);
  if (status != ZT_OK)
    zt_output_discard(output);
  return status;
}

zt_status zt_output_reserve(zt_output *output, int64_t bytes) {
  int rc;
  do
    rc = fallocate(output->fd, 0, 0, bytes);
  while (rc != 0 && errno == EINTR);
  if (rc == 0)
    return ZT_OK;
  if (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS)
    return zt_fail_errno(ZT_ERR_IO, "%s: no room for %lld bytes",
                         output->temporary, (long long) bytes);
  do
    rc = ftruncate(output->fd, bytes);
  while (rc != 0 && errno == EINTR);
  if (rc != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot extend", output->temporary);
  return ZT_OK;
}

/* Without --force a file that appeared meanwhile stays. */
static int put_in_place(const zt_output *output) {
  if (!output->replace) {
    if (renameat2(AT_FDCWD, output->temporary, AT_FDCWD, output->path,
                  RENAME_NOREPLACE) == 0)
      return 0;
    if (errno != EINVAL && errno != ENOSYS)
      return -1;
  }
  return rename(output->temporary, output->path);
}

zt_status zt_output_commit(zt_output *output) {
  ZT_TRY(zt_sync(output->fd, output->temporary));
  if (put_in_place(output) != 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot be put in place",
                         output->path);
  zt_status status = zt_sync_directory(output->path);
  free(output->temporary);
  output->temporary = NULL; /* nothing left to remove */
  zt_output_discard(output);
  return status;
}

void zt_output_discard(zt_output *output) {
  if (!output)
    return;
  if (output->fd >= 0) {
    if (output->temporary)
      unlink(output->temporary);
    close(output->fd);
  }
  free(output->path);
  free(output->temporary);
  *output = (zt_output){.fd = -1};
}

zt_status zt_output_join(const char *path, int *fd) {
  char *name = zt_output_temporary(path);
  if (!name)
    return ZT_ERR_MEMORY;
  zt_status status = ZT_OK;
  *fd = open(name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
  if (*fd < 0)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot open", name);
  free(name);
  return status;
}

int zt_open(const char *path, int flags) {
  int fd;
  do
    fd = open(path, flags | O_CLOEXEC, 0666);
  while (fd < 0 && errno == EINTR);
  return fd;
}

zt_status zt_sync(int fd, const char *path) {
  int rc;
  do
    rc = fsync(fd);
  while (rc != 0 && errno == EINTR);
  if (rc != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot make it durable", path);
  return ZT_OK;
}

zt_status zt_sync_directory(const char *path) {
  const char *slash = strrchr(path, '/');
  char *name = zt_strdup(slash ? path : ".");
  if (!name)
    return ZT_ERR_MEMORY;
  if (slash)
    name[slash == path ? 1 : slash - path] = '\0';
  zt_status status = ZT_OK;
  int rc, fd = zt_open(name, O_RDONLY | O_DIRECTORY);
  do
    rc = fd < 0 ? -1 : fsync(fd);
  while (rc != 0 && errno == EINTR);
  /* Some file systems cannot sync a directory; they order renames. */
  if (fd < 0 || (rc != 0 && errno != EINVAL && errno != EROFS))
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot make it durable", name);
  if (fd >= 0)
    close(fd);
  free(name);
  return status;
}

zt_status zt_write_at(int fd, const char *path, const void *bytes, size_t n,
                      int64_t offset) {
  for (size_t done = 0; done < n;) {
    ssize_t m = pwrite(fd, (const char *) bytes + done, n - done,
                       offset + (off_t) done);
    if (m < 0 && errno == EINTR)
      continue;
    if (m == 0)
      errno = ENOSPC;
    if (m <= 0)
      return zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
    zt_beat_work();
    done += (size_t) m;
  }
  return ZT_OK;
}

zt_status zt_read_at(int fd, const char *path, void *bytes, size_t n,
                     int64_t offset) {
  for (size_t done = 0; done < n;) {
    ssize_t m =
        pread(fd, (char *) bytes + done, n - done, offset + (off_t) done);
    if (m < 0 && errno == EINTR)
      continue;
    if (m < 0)
      return zt_fail_errno(ZT_ERR_IO, "%s: cannot read", path);
    if (m == 0)
      return zt_fail(ZT_ERR_IO, "%s: became shorter while it was read", path);
    done += (size_t) m;
  }
  return ZT_OK;
}
