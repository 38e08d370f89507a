/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/writer.h"

#include "base/memory.h"
#include "io/output.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

typedef struct job {
  int fd;
  const char *path;
  size_t n;
  int64_t offset;
} job;

/* A ring: buffers written .. put - 1 wait for the thread, the next one is the
 * caller's. */
struct zt_writer {
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  char *memory;
  size_t bytes;
  job *jobs;
  uint64_t buffers, put, written;
  bool end;
  zt_status status; /* of the first failure, with its message */
  char message[ZT_MESSAGE_SIZE];
};

static zt_status write_job(const zt_writer *w, uint64_t which) {
  const job *j = &w->jobs[which];
  ZT_TRY(zt_write_at(j->fd, j->path, w->memory + which * w->bytes, j->n,
                     j->offset));
  /* Starts the disk now: else the sync at the end waits for all of it. */
  sync_file_range(j->fd, j->offset, (off_t) j->n, SYNC_FILE_RANGE_WRITE);
  return ZT_OK;
}

static void *run(void *context) {
  zt_writer *w = context;
  pthread_mutex_lock(&w->lock);
  for (;;) {
    while (w->written == w->put && !w->end)
      pthread_cond_wait(&w->changed, &w->lock);
    if (w->written == w->put)
      break;
    if (w->status == ZT_OK) {
      pthread_mutex_unlock(&w->lock);
      zt_status status = write_job(w, w->written % w->buffers);
      pthread_mutex_lock(&w->lock);
      w->status = status;
      if (status != ZT_OK)
        snprintf(w->message, sizeof w->message, "%s", zt_last_error());
    }
    w->written++;
    pthread_cond_broadcast(&w->changed);
  }
  pthread_mutex_unlock(&w->lock);
  return NULL;
}

zt_status zt_writer_create(int buffers, size_t bytes, zt_writer **writer) {
  zt_writer *w = zt_calloc(1, sizeof *w);
  if (!w)
    return ZT_ERR_MEMORY;
  w->buffers = (uint64_t) buffers;
  w->bytes = bytes;
  w->jobs = zt_calloc((size_t) buffers, sizeof *w->jobs);
  w->memory = mmap(NULL, (size_t) buffers * bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->changed, NULL);
  if (!w->jobs || w->memory == MAP_FAILED ||
      pthread_create(&w->thread, NULL, run, w) != 0) {
    if (w->memory != MAP_FAILED)
      munmap(w->memory, (size_t) buffers * bytes);
    free(w->jobs);
    free(w);
    return zt_fail(ZT_ERR_MEMORY, "out of memory (%d x %zu bytes asked for)",
                   buffers, bytes);
  }
  *writer = w;
  return ZT_OK;
}

void *zt_writer_buffer(zt_writer *w) {
  pthread_mutex_lock(&w->lock);
  while (w->put - w->written >= w->buffers)
    pthread_cond_wait(&w->changed, &w->lock);
  pthread_mutex_unlock(&w->lock);
  return w->memory + w->put % w->buffers * w->bytes;
}

/* Held: the lock.  The message goes to the calling thread. */
static zt_status first_failure(const zt_writer *w) {
  return w->status == ZT_OK ? ZT_OK : zt_fail(w->status, "%s", w->message);
}

zt_status zt_writer_put(zt_writer *w, int fd, const char *path, size_t n,
                        int64_t offset) {
  pthread_mutex_lock(&w->lock);
  w->jobs[w->put % w->buffers] = (job){fd, path, n, offset};
  w->put++;
  zt_status status = first_failure(w);
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
  return status;
}

zt_status zt_writer_flush(zt_writer *w) {
  pthread_mutex_lock(&w->lock);
  while (w->written < w->put)
    pthread_cond_wait(&w->changed, &w->lock);
  zt_status status = first_failure(w);
  pthread_mutex_unlock(&w->lock);
  return status;
}

void zt_writer_destroy(zt_writer **writer) {
  zt_writer *w = *writer;
  if (!w)
    return;
  pthread_mutex_lock(&w->lock);
  w->end = true;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
  pthread_join(w->thread, NULL);
  pthread_mutex_destroy(&w->lock);
  pthread_cond_destroy(&w->changed);
  munmap(w->memory, w->buffers * w->bytes);
  free(w->jobs);
  free(w);
  *writer = NULL;
}
