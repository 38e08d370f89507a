/* SPDX-License-Identifier: BSD-3-Clause */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* The call of the C library itself. */
#define REAL(name) ((__typeof__(&name)) real(#name))

static void *real(const char *name) {
  void *at = dlsym(RTLD_NEXT, name);
  if (!at)
    abort();
  return at;
}

/* ---- What is to happen ---- */

enum { FILES = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *path_of[FILES]; /* of descriptors below a path that counts */
static bool direct[FILES];
static char under[PATH_MAX], recorded[PATH_MAX];
static int wanted = -1, how, log_file = -1;
static long left;
static bool always, happened, skip_syncs;

void shim_fail(const char *path, int call, long n, int what, bool forever) {
  pthread_mutex_lock(&lock);
  snprintf(under, sizeof under, "%s", path);
  wanted = call;
  left = n;
  how = what;
  always = forever;
  happened = false;
  pthread_mutex_unlock(&lock);
}

bool shim_calm(void) {
  pthread_mutex_lock(&lock);
  bool was = happened;
  wanted = -1;
  happened = false;
  pthread_mutex_unlock(&lock);
  return was;
}

void shim_skip_syncs(bool skip) {
  skip_syncs = skip;
}

void shim_record(const char *path, const char *log) {
  pthread_mutex_lock(&lock);
  if (log_file >= 0)
    REAL(close)(log_file);
  log_file = -1;
  if (log) {
    snprintf(recorded, sizeof recorded, "%s", path);
    log_file = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  }
  pthread_mutex_unlock(&lock);
}

static const char *const names[] = {
#define X(id, name) name,
    SHIM_CALL_LIST(X)
#undef X
};

static const struct {
  const char *name;
  int what;
} whats[] = {
    {"ENOSPC", ENOSPC},  {"EIO", EIO},          {"EDQUOT", EDQUOT},
    {"EINTR", EINTR},    {"EINVAL", EINVAL},    {"EOPNOTSUPP", EOPNOTSUPP},
    {"ESTALE", ESTALE},  {"ENOMEM", ENOMEM},    {"short", SHIM_SHORT},
    {"slow", SHIM_SLOW}, {"stuck", SHIM_STUCK}, {"crash", SHIM_CRASH}};

static int my_rank(void) {
  static const char *const keys[] = {"PMI_RANK", "OMPI_COMM_WORLD_RANK",
                                     "SLURM_PROCID"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (getenv(keys[i]))
      return atoi(getenv(keys[i]));
  return 0;
}

__attribute__((constructor)) static void read_environment(void) {
  const char *fail = getenv("ZT_SHIM_FAIL"), *rank = getenv("ZT_SHIM_RANK");
  const char *path = getenv("ZT_SHIM_UNDER");
  char call[16], number[16], what[16];
  if (!fail || (rank && atoi(rank) != my_rank()))
    return;
  if (sscanf(fail, "%15[^:]:%15[^:]:%15s", call, number, what) != 3)
    abort();
  for (int c = 0; c < SHIM_CALLS; c++)
    for (size_t w = 0; w < sizeof whats / sizeof *whats; w++)
      if (!strcmp(names[c], call) && !strcmp(whats[w].name, what)) {
        shim_fail(path ? path : "", c, atol(number), whats[w].what,
                  strchr(number, '+') != NULL);
        return;
      }
  abort();
}

/* Whether this call must not go well, and what to do instead: an errno, SHORT
 * or 0 for nothing. */
static int fate(int call, const char *path) {
  int what = 0;
  bool removes =
      call == SHIM_UNLINK || call == SHIM_RMDIR || call == SHIM_CLOSE;
  if (!path)
    return 0;
  pthread_mutex_lock(&lock);
  bool meant = wanted == call || (wanted == SHIM_ANY && call < SHIM_ANY) ||
               (wanted == SHIM_WRITE && call == SHIM_DIRECT);
  if (meant && strstr(path, under) && (left > 0 || always) &&
      (--left == 0 || (left < 0 && always && !removes))) {
    happened = true;
    what = how;
  }
  pthread_mutex_unlock(&lock);
  if (what == SHIM_SLOW) {
    usleep(200000);
    return 0;
  }
  while (what == SHIM_STUCK)
    sleep(3600);
  if (what == SHIM_CRASH) {
    volatile int *nowhere = NULL;
    *nowhere = 0;
  }
  return what;
}

static bool fails(int call, const char *path) {
  int what = fate(call, path);
  if (what <= 0)
    return false;
  errno = what;
  return true;
}

/* ---- Descriptors ---- */

static const char *name_of(int fd) {
  return fd >= 0 && fd < FILES ? path_of[fd] : NULL;
}

static void remember(int fd, const char *path, int flags) {
  if (fd < 0 || fd >= FILES)
    return;
  free(path_of[fd]);
  path_of[fd] = strdup(path);
  direct[fd] = (flags & O_DIRECT) != 0;
}

/* ---- Writing down ---- */

/* The line under the lock of the log, so that its order is that of the calls.
 */
static bool begin_record(const char *path) {
  if (!path || log_file < 0 || !strstr(path, recorded))
    return false;
  pthread_mutex_lock(&lock);
  flock(log_file, LOCK_EX);
  return true;
}

static void end_record(bool worth, const void *bytes, size_t n,
                       const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void end_record(bool worth, const void *bytes, size_t n,
                       const char *format, ...) {
  char line[3 * PATH_MAX];
  int saved = errno;
  va_list args;
  va_start(args, format);
  int size = vsnprintf(line, sizeof line, format, args);
  va_end(args);
  struct iovec pieces[] = {{line, (size_t) size}, {(void *) bytes, n}};
  if (worth && writev(log_file, pieces, 2) != size + (ssize_t) n)
    abort();
  flock(log_file, LOCK_UN);
  pthread_mutex_unlock(&lock);
  errno = saved;
}

/* ---- The calls ---- */

static int open_any(int dir, const char *path, int flags, mode_t mode) {
  bool creates = (flags & O_CREAT) != 0;
  if (fails(creates ? SHIM_CREATE : SHIM_OPEN, path))
    return -1;
  bool record = creates && begin_record(path);
  int fd = REAL(openat)(dir, path, flags, mode);
  if (record)
    end_record(fd >= 0, NULL, 0, "C %s 0 0\n", path);
  if (fd >= 0)
    remember(fd, path, flags);
  return fd;
}

#define MODE_ARGUMENT                                                          \
  mode_t mode = 0;                                                             \
  if (flags & (O_CREAT | __O_TMPFILE)) {                                       \
    va_list args;                                                              \
    va_start(args, flags);                                                     \
    mode = va_arg(args, mode_t);                                               \
    va_end(args);                                                              \
  }

int open(const char *path, int flags, ...) {
  MODE_ARGUMENT
  return open_any(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
  MODE_ARGUMENT
  return open_any(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
  MODE_ARGUMENT
  return open_any(dir, path, flags, mode);
}

int close(int fd) {
  char *path = fd >= 0 && fd < FILES ? path_of[fd] : NULL;
  if (fd >= 0 && fd < FILES)
    path_of[fd] = NULL;
  int rc = REAL(close)(fd);
  bool failed = fails(SHIM_CLOSE, path);
  free(path);
  return failed ? -1 : rc;
}

/* A transfer that is cut short is that of half the bytes. */
static ssize_t write_any(int fd, const void *bytes, size_t n, off_t offset,
                         bool placed) {
  const char *path = name_of(fd);
  int what = fate(path && direct[fd] ? SHIM_DIRECT : SHIM_WRITE, path);
  if (what > 0) {
    errno = what;
    return -1;
  }
  if (what == SHIM_SHORT && n > 1)
    n /= 2;
  bool record = begin_record(path);
  if (record && !placed)
    offset = lseek(fd, 0, SEEK_CUR);
  ssize_t done =
      placed ? REAL(pwrite)(fd, bytes, n, offset) : REAL(write)(fd, bytes, n);
  if (record)
    end_record(done > 0, bytes, done > 0 ? (size_t) done : 0, "W %s %ld %ld\n",
               path, (long) offset, (long) done);
  return done;
}

ssize_t write(int fd, const void *bytes, size_t n) {
  return name_of(fd) ? write_any(fd, bytes, n, 0, false)
                     : REAL(write)(fd, bytes, n);
}

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t offset) {
  return write_any(fd, bytes, n, offset, true);
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t offset) {
  return write_any(fd, bytes, n, offset, true);
}

static ssize_t read_any(int fd, void *bytes, size_t n, off_t offset) {
  int what = fate(SHIM_READ, name_of(fd));
  if (what > 0) {
    errno = what;
    return -1;
  }
  if (what == SHIM_SHORT && n > 1)
    n /= 2;
  return REAL(pread)(fd, bytes, n, offset);
}

ssize_t pread(int fd, void *bytes, size_t n, off_t offset) {
  return read_any(fd, bytes, n, offset);
}

ssize_t pread64(int fd, void *bytes, size_t n, off64_t offset) {
  return read_any(fd, bytes, n, offset);
}

static int extend(int fd, int call, off_t size, int mode, off_t at) {
  const char *path = name_of(fd);
  if (fails(call, path))
    return -1;
  bool record = begin_record(path);
  int rc = call == SHIM_FALLOCATE ? REAL(fallocate)(fd, mode, at, size)
                                  : REAL(ftruncate)(fd, size);
  if (record)
    end_record(rc == 0, NULL, 0, "T %s %ld 0\n", path, (long) (at + size));
  return rc;
}

int fallocate(int fd, int mode, off_t at, off_t size) {
  return extend(fd, SHIM_FALLOCATE, size, mode, at);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size) {
  return extend(fd, SHIM_FALLOCATE, size, mode, at);
}

int ftruncate(int fd, off_t size) {
  return extend(fd, SHIM_TRUNCATE, size, 0, 0);
}

int ftruncate64(int fd, off64_t size) {
  return extend(fd, SHIM_TRUNCATE, size, 0, 0);
}

static int sync_any(int fd, bool all) {
  const char *path = name_of(fd);
  if (fails(SHIM_SYNC, path))
    return -1;
  bool record = begin_record(path);
  int rc = skip_syncs ? 0 : all ? REAL(fsync)(fd) : REAL(fdatasync)(fd);
  if (record)
    end_record(rc == 0, NULL, 0, "S %s 0 0\n", path);
  return rc;
}

int fsync(int fd) {
  return sync_any(fd, true);
}

int fdatasync(int fd) {
  return sync_any(fd, false);
}

int mkdir(const char *path, mode_t mode) {
  if (fails(SHIM_MKDIR, path))
    return -1;
  bool record = begin_record(path);
  int rc = REAL(mkdir)(path, mode);
  if (record)
    end_record(rc == 0, NULL, 0, "M %s 0 0\n", path);
  return rc;
}

static int rename_any(const char *from, const char *to, unsigned flags) {
  if (fails(SHIM_RENAME, from))
    return -1;
  bool record = begin_record(from);
  int rc = flags ? REAL(renameat2)(AT_FDCWD, from, AT_FDCWD, to, flags)
                 : REAL(rename)(from, to);
  if (record)
    end_record(rc == 0, NULL, 0, "%s %s 0 0 %s\n",
               flags & RENAME_EXCHANGE ? "X" : "R", from, to);
  return rc;
}

int rename(const char *from, const char *to) {
  return rename_any(from, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to,
              unsigned flags) {
  if (from_dir != AT_FDCWD || to_dir != AT_FDCWD)
    return REAL(renameat2)(from_dir, from, to_dir, to, flags);
  return rename_any(from, to, flags);
}

int unlink(const char *path) {
  if (fails(SHIM_UNLINK, path))
    return -1;
  bool record = begin_record(path);
  int rc = REAL(unlink)(path);
  if (record)
    end_record(rc == 0, NULL, 0, "U %s 0 0\n", path);
  return rc;
}

/* The directory comes from opendir(), which does not pass here. */
int unlinkat(int dir, const char *name, int flags) {
  char link[64], path[2 * PATH_MAX] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
  ssize_t n = readlink(link, path, PATH_MAX - 1);
  snprintf(path + (n > 0 ? n : 0), PATH_MAX, "/%s", name);
  if (fails(SHIM_UNLINK, path))
    return -1;
  bool record = begin_record(path);
  int rc = REAL(unlinkat)(dir, name, flags);
  if (record)
    end_record(rc == 0, NULL, 0, "U %s 0 0\n", path);
  return rc;
}

int rmdir(const char *path) {
  if (fails(SHIM_RMDIR, path))
    return -1;
  bool record = begin_record(path);
  int rc = REAL(rmdir)(path);
  if (record)
    end_record(rc == 0, NULL, 0, "D %s 0 0\n", path);
  return rc;
}
