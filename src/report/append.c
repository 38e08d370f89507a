/* SPDX-License-Identifier: BSD-3-Clause */
#include "report/append.h"

#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

zt_status zt_append_open(zt_append *file, const char *path, int flags) {
  struct stat st;
  *file = (zt_append){.fd = -1, .path = zt_strdup(path)};
  if (!file->path)
    return ZT_ERR_MEMORY;
  file->fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | flags, 0666);
  if (file->fd < 0 || fstat(file->fd, &st) != 0) {
    zt_fail_errno(ZT_ERR_CREATE, "%s: cannot write", path);
  } else if (!S_ISREG(st.st_mode)) {
    errno = EINVAL;
    zt_fail(ZT_ERR_CREATE, "%s: not a regular file; move it away", path);
  } else {
    file->size = st.st_size;
    return ZT_OK;
  }
  int saved = errno;
  zt_append_close(file);
  errno = saved;
  return ZT_ERR_CREATE;
}

static int truncate_to(int fd, int64_t size) {
  int rc;
  do
    rc = ftruncate(fd, (off_t) size);
  while (rc != 0 && errno == EINTR);
  return rc;
}

zt_status zt_append_cut(zt_append *file, int64_t size) {
  if (truncate_to(file->fd, size) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot cut it back", file->path);
  file->size = size;
  return ZT_OK;
}

/* Writes on after a short write: the next one tells why it was short. */
bool zt_write_all(int fd, const void *bytes, size_t size) {
  const char *at = bytes;
  while (size > 0) {
    ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n == 0)
      errno = ENOSPC;
    if (n <= 0)
      return false;
    at += n;
    size -= (size_t) n;
  }
  return true;
}

static void complain(zt_append *file) {
  if (!file->warned)
    zt_warn("%s: cannot write: %s; the run goes on, what does not fit is lost",
            file->path, strerror(errno));
  file->warned = true;
}

static bool repair(zt_append *file) {
  if (file->torn && truncate_to(file->fd, file->size) == 0)
    file->torn = false;
  return !file->torn;
}

bool zt_append_record(zt_append *file, const void *bytes, size_t size) {
  if (repair(file) && zt_write_all(file->fd, bytes, size)) {
    file->size += (int64_t) size;
    file->gap = 0;
    return true;
  }
  complain(file);
  file->torn = true;
  repair(file);
  file->lost++;
  file->gap++;
  return false;
}

void zt_append_sync(zt_append *file) {
  if (fdatasync(file->fd) != 0)
    complain(file);
}

void zt_append_close(zt_append *file) {
  /* Some network file systems say only now that the disk is full. */
  if (file->fd >= 0 && close(file->fd) != 0)
    complain(file);
  free(file->path);
  *file = (zt_append){.fd = -1};
}
