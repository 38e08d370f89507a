/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread that brings a save to disk.  It makes POSIX calls and copies, no
 * MPI and no HDF5 calls. */
#include "base/log.h"
#include "base/text.h"
#include "io/digest.h"
#include "io/output.h"
#include "io/restart_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- Writing blocks ---- */

/* Two descriptors of one file: cells are whole pages and go past the page cache
 * where the file system takes that; checksums are small. */
typedef struct part_file {
  char path[PATH_MAX];
  int cells, sums;
} part_file;

static zt_status open_part(const zt_restart_writer *w, part_file *f) {
  ZT_TRY(zt_restart_part_path(w, f->path));
  f->sums = open(f->path, O_WRONLY | O_CLOEXEC);
  if (f->sums < 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot open", f->path);
  f->cells = open(f->path, O_WRONLY | O_CLOEXEC | O_DIRECT);
  return ZT_OK; /* -1: the file system has no direct I/O */
}

static zt_status close_part(part_file *f) {
  bool failed = f->cells >= 0 && close(f->cells) != 0;
  if (close(f->sums) != 0 || failed)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot write", f->path);
  return ZT_OK;
}

/* Some file systems take the flag and refuse the write. */
static zt_status write_cells(part_file *f, const char *bytes, size_t n,
                             int64_t offset) {
  if (f->cells >= 0) {
    ssize_t done = pwrite(f->cells, bytes, n, offset);
    if (done == (ssize_t) n)
      return ZT_OK;
    if (done < 0 && errno == EINVAL) {
      close(f->cells);
      f->cells = -1;
    }
  }
  /* Also what was written short: a full disk shows here. */
  return zt_write_at(f->sums, f->path, bytes, n, offset);
}

/* What the elements of a block add to the digest of the state. */
static uint64_t digest_block(const zt_restart_writer *w, const zt_block *b,
                             int state, const float *values) {
  const zt_unit *unit = &w->params->units[b->unit];
  int64_t begin =
      w->shard.slice[b->unit] * w->shard.rank + (b->at - w->shard.at[b->unit]);
  int64_t end = begin + b->cells * ZT_GRID;
  uint64_t sum = 0;
  if (end > unit->numel)
    end = unit->numel;
  for (int i = zt_params_at(w->params, unit->start + begin);
       i < unit->first + unit->count && w->params->list[i].at < end; i++) {
    const zt_param *p = &w->params->list[i];
    int64_t from = p->at > begin ? p->at : begin;
    int64_t to = p->at + p->numel < end ? p->at + p->numel : end;
    if (from == p->at)
      sum += w->keys[state][i];
    sum += zt_digest_add(w->keys[state][i], ZT_FP32, values + (from - begin),
                         from - p->at, to - from);
  }
  return sum;
}

static zt_status write_block(zt_restart_writer *w, part_file *f, int index) {
  const zt_part *part = &w->parts[w->mine];
  const zt_block *b = &w->blocks[index];
  size_t bytes = (size_t) b->cells * ZT_CELL_BYTES;
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_WRITE));
  ZT_TRY(zt_blocks_take(w, index));
  for (int s = 0; s < ZT_STATES; s++) {
    const char *cells = w->buffer + (size_t) s * bytes;
    uint64_t *sums = w->sums[s] + b->sums;
    for (int64_t c = 0; c < b->cells; c++) {
      sums[c] = zt_cell_checksum(cells + c * ZT_CELL_BYTES);
      w->tables[w->mine] +=
          zt_table_mix(s * part->cells + b->cell + c, sums[c]);
    }
    w->digest += digest_block(w, b, s, (const float *) (const void *) cells);
    ZT_TRY(
        write_cells(f, cells, bytes, part->data[s] + b->cell * ZT_CELL_BYTES));
  }
  return ZT_OK;
}

/* Blocks of one unit are neighbours in the part, so their checksums are. */
static zt_status write_sums(const zt_restart_writer *w, part_file *f) {
  const zt_part *part = &w->parts[w->mine];
  for (int i = 0; i < w->n_blocks;) {
    const zt_block *first = &w->blocks[i];
    int64_t n = 0;
    for (; i < w->n_blocks && w->blocks[i].cell == first->cell + n; i++)
      n += w->blocks[i].cells;
    for (int s = 0; s < ZT_STATES; s++)
      ZT_TRY(zt_write_at(f->sums, f->path, w->sums[s] + first->sums,
                         (size_t) n * sizeof(uint64_t),
                         part->checksums + (s * part->cells + first->cell) *
                                               (int64_t) sizeof(uint64_t)));
  }
  return ZT_OK;
}

static zt_status write_blocks(zt_restart_writer *w) {
  part_file f;
  ZT_TRY(open_part(w, &f));
  zt_status status = ZT_OK;
  for (int i = 0; i < w->n_blocks && status == ZT_OK; i++)
    status = write_block(w, &f, i);
  if (status == ZT_OK)
    status = write_sums(w, &f);
  if (status == ZT_OK)
    status = zt_fault_check(ZT_FAULT_RESTART_SYNC);
  if (status == ZT_OK)
    status = zt_sync(f.sums, f.path);
  zt_status closed = close_part(&f);
  return status == ZT_OK ? closed : status;
}

/* ---- The thread ---- */

static zt_status run_job(zt_restart_writer *w, zt_writer_job job) {
  if (job == ZT_JOB_COMMIT)
    return zt_restart_commit(w);
  zt_status status = write_blocks(w);
  if (status != ZT_OK) {
    char message[ZT_MESSAGE_SIZE];
    snprintf(message, sizeof message, "%s", zt_last_error());
    zt_blocks_abandon(w);
    return zt_fail(status, "%s", message);
  }
  return ZT_OK;
}

static void *work(void *argument) {
  zt_restart_writer *w = argument;
  pthread_mutex_lock(&w->lock);
  while (w->job != ZT_JOB_QUIT) {
    if (w->job == ZT_JOB_NONE) {
      pthread_cond_wait(&w->changed, &w->lock);
      continue;
    }
    zt_writer_job job = w->job;
    pthread_mutex_unlock(&w->lock);
    zt_status status = run_job(w, job);
    pthread_mutex_lock(&w->lock);
    w->job_status = status;
    snprintf(w->job_message, sizeof w->job_message, "%s",
             status == ZT_OK ? "" : zt_last_error());
    w->job = ZT_JOB_NONE;
    pthread_cond_broadcast(&w->changed);
  }
  pthread_mutex_unlock(&w->lock);
  return NULL;
}

zt_status zt_writer_thread_start(zt_restart_writer *w) {
  /* Signals are for the main thread. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->changed, NULL);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&w->thread, NULL, work, w);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  w->has_thread = error == 0;
  if (error == 0)
    return ZT_OK;
  errno = error;
  return zt_fail_errno(ZT_ERR_MEMORY, "cannot start the restart writer");
}

void zt_writer_thread_stop(zt_restart_writer *w) {
  if (!w->has_thread)
    return;
  pthread_mutex_lock(&w->lock);
  while (w->job != ZT_JOB_NONE)
    pthread_cond_wait(&w->changed, &w->lock);
  w->job = ZT_JOB_QUIT;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
  pthread_join(w->thread, NULL);
  pthread_mutex_destroy(&w->lock);
  pthread_cond_destroy(&w->changed);
}

void zt_writer_post(zt_restart_writer *w, zt_writer_job job) {
  pthread_mutex_lock(&w->lock);
  w->job = job;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

bool zt_writer_busy(zt_restart_writer *w) {
  pthread_mutex_lock(&w->lock);
  bool busy = w->job != ZT_JOB_NONE;
  pthread_mutex_unlock(&w->lock);
  return busy;
}

zt_status zt_writer_join(zt_restart_writer *w) {
  pthread_mutex_lock(&w->lock);
  while (w->job != ZT_JOB_NONE)
    pthread_cond_wait(&w->changed, &w->lock);
  zt_status status = w->job_status;
  if (status != ZT_OK)
    zt_fail(status, "%s", w->job_message);
  pthread_mutex_unlock(&w->lock);
  return status;
}
