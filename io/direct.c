/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/direct.h"

#include "base/beat.h"
#include "io/output.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { HUGE_PAGE = 2 << 20 };

/* Cut out of a larger piece, since huge pages lie on multiples of their size.
 */
void *zt_direct_memory(size_t bytes) {
  const size_t size = (bytes + ZT_DIRECT_ALIGN - 1) & -(size_t) ZT_DIRECT_ALIGN;
  const size_t spare = size >= HUGE_PAGE ? HUGE_PAGE : 0;
  char *all = mmap(NULL, size ? size + spare : 1, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (all == MAP_FAILED)
    return NULL;
  if (spare == 0)
    return all;
  size_t before = -(uintptr_t) all & (HUGE_PAGE - 1);
  if (before > 0)
    munmap(all, before);
  if (before < spare)
    munmap(all + before + size, spare - before);
  madvise(all + before, size, MADV_HUGEPAGE);
  return all + before;
}

void zt_direct_memory_free(void *memory, size_t bytes) {
  if (memory)
    munmap(memory, bytes ? bytes : 1);
}

zt_status zt_direct_open(zt_direct *file, const char *path, int flags) {
  const int once = O_CREAT | O_EXCL | O_TRUNC;
  *file = (zt_direct){.path = path, .fd = -1, .direct = -1};
  file->fd = zt_open(path, flags);
  if (file->fd < 0)
    return zt_fail_open(path);
  file->direct = zt_open(path, (flags & ~once) | O_DIRECT);
  return ZT_OK;
}

static bool is_aligned(const void *bytes, size_t n, int64_t offset) {
  return (((uintptr_t) bytes | n | (uint64_t) offset) &
          (ZT_DIRECT_ALIGN - 1)) == 0;
}

bool zt_direct_works(const zt_direct *file) {
  return file->direct >= 0 && !file->refuse;
}

static void take_place(const zt_direct *file) {
  while (file->flight && sem_wait(file->flight) != 0) {
    /* interrupted */
  }
}

/* How much of it was done past the page cache; the rest, and what is refused or
 * cut short, goes the other way, where the reason shows too. */
static size_t try_direct(zt_direct *file, bool write, char *bytes, size_t n,
                         int64_t offset) {
  if (!zt_direct_works(file) || !is_aligned(bytes, n, offset))
    return 0;
  for (;;) {
    take_place(file);
    ssize_t done = write ? pwrite(file->direct, bytes, n, offset)
                         : pread(file->direct, bytes, n, offset);
    int reason = errno;
    if (file->flight)
      sem_post(file->flight);
    errno = reason;
    if (done < 0 && errno == EINTR)
      continue;
    if (done < 0 && errno == EINVAL)
      file->refuse = true;
    zt_beat_work();
    return done < 0 ? 0 : (size_t) done;
  }
}

zt_status zt_direct_write(zt_direct *file, const void *bytes, size_t n,
                          int64_t offset) {
  size_t done = try_direct(file, true, (char *) bytes, n, offset);
  if (done == n)
    return ZT_OK;
  ZT_TRY(zt_write_at(file->fd, file->path, (const char *) bytes + done,
                     n - done, offset + (int64_t) done));
  /* Starts the disk now: else the sync at the end waits for all of it. */
  sync_file_range(file->fd, offset, (off_t) n, SYNC_FILE_RANGE_WRITE);
  return ZT_OK;
}

zt_status zt_direct_read(zt_direct *file, void *bytes, size_t n,
                         int64_t offset) {
  size_t done = try_direct(file, false, bytes, n, offset);
  if (done == n)
    return ZT_OK;
  return zt_read_at(file->fd, file->path, (char *) bytes + done, n - done,
                    offset + (int64_t) done);
}

zt_status zt_direct_sync(zt_direct *file) {
  int rc;
  do
    rc = fdatasync(file->fd);
  while (rc != 0 && errno == EINTR);
  return rc == 0 ? ZT_OK
                 : zt_fail_errno(ZT_ERR_IO, "%s: cannot make it durable",
                                 file->path);
}

zt_status zt_direct_close(zt_direct *file) {
  bool failed = file->direct >= 0 && close(file->direct) != 0;
  failed = (file->fd >= 0 && close(file->fd) != 0) || failed;
  file->fd = file->direct = -1;
  if (failed && errno != EINTR)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot write", file->path);
  return ZT_OK;
}
