/* SPDX-License-Identifier: BSD-3-Clause */
/* The thread that brings a save to disk, with a helper while blocks are
 * written.  It makes POSIX calls and copies, no MPI and no HDF5 calls. */
#include "base/clock.h"
#include "io/digest.h"
#include "io/direct.h"
#include "io/raw_rate.h"
#include "io/restart_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>

/* ---- Writing blocks ---- */

/* What one of the threads that write the blocks has and finds.  Sums do not
 * depend on the order, so each adds up its own. */
typedef struct hand {
  zt_restart_writer *w;
  zt_direct *part;
  char *buffer;           /* [w->slots.each]; NULL if slots.all */
  uint64_t table, digest; /* of its blocks */
  zt_status status;
  char message[ZT_MESSAGE_SIZE];
} hand;

/* What the elements of n cells of a block, from `cell` on, add to the digest of
 * the state. */
static uint64_t digest_cells(const zt_restart_writer *w, const zt_block *b,
                             int state, int64_t cell, int64_t n,
                             const float *values) {
  const zt_unit *unit = &w->params->units[b->unit];
  int64_t begin = w->shard.slice[b->unit] * w->shard.rank +
                  (b->at - w->shard.at[b->unit]) + cell * ZT_GRID;
  int64_t end = begin + n * ZT_GRID;
  uint64_t sum = 0;
  if (end > unit->numel)
    end = unit->numel;
  if (begin >= end)
    return 0; /* padding */
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

/* So many cells at a time, which stay in the cache for the second sum. */
enum { SUMMED = 16 };

static void sum_cells(hand *h, const zt_block *b, int state, int64_t cell,
                      int64_t n, const char *cells) {
  const zt_part *part = &h->w->parts[h->w->mine];
  uint64_t *sums = h->w->sums[state] + b->sums + cell;
  for (int64_t c = 0; c < n; c++) {
    sums[c] = zt_cell_checksum(cells + c * ZT_CELL_BYTES);
    h->table += zt_table_mix(state * part->cells + b->cell + cell + c, sums[c]);
  }
  h->digest += digest_cells(h->w, b, state, cell, n,
                            (const float *) (const void *) cells);
}

static zt_status write_block(hand *h, int index, const char *content) {
  zt_restart_writer *w = h->w;
  const zt_part *part = &w->parts[w->mine];
  const zt_block *b = &w->blocks[index];
  size_t bytes = (size_t) b->cells * ZT_CELL_BYTES;
  ZT_TRY(zt_fault_check(ZT_FAULT_RESTART_WRITE));
  for (int s = 0; s < w->states; s++) {
    const char *cells = content + (size_t) s * bytes;
    for (int64_t c = 0; c < b->cells; c += SUMMED)
      sum_cells(h, b, s, c, b->cells - c < SUMMED ? b->cells - c : SUMMED,
                cells + c * ZT_CELL_BYTES);
    ZT_TRY(zt_direct_write(h->part, cells, bytes,
                           part->data[s] + b->cell * ZT_CELL_BYTES));
  }
  return ZT_OK;
}

static void *write_blocks(void *argument) {
  hand *h = argument;
  const char *content = NULL;
  int index;
  do {
    h->status = zt_blocks_take(h->w, h->buffer, &index, &content);
    if (h->status == ZT_OK && index >= 0)
      h->status = write_block(h, index, content);
  } while (h->status == ZT_OK && index >= 0);
  if (h->status != ZT_OK) {
    snprintf(h->message, sizeof h->message, "%s", zt_last_error());
    zt_blocks_abandon(h->w);
  }
  return NULL;
}

/* Blocks of one unit are neighbours in the part, so their checksums are. */
static zt_status write_sums(const zt_restart_writer *w, zt_direct *f) {
  const zt_part *part = &w->parts[w->mine];
  for (int i = 0; i < w->n_blocks;) {
    const zt_block *first = &w->blocks[i];
    int64_t n = 0;
    for (; i < w->n_blocks && w->blocks[i].cell == first->cell + n; i++)
      n += w->blocks[i].cells;
    for (int s = 0; s < w->states; s++)
      ZT_TRY(zt_direct_write(f, w->sums[s] + first->sums,
                             (size_t) n * sizeof(uint64_t),
                             part->checksums + (s * part->cells + first->cell) *
                                                   (int64_t) sizeof(uint64_t)));
  }
  return ZT_OK;
}

/* While one thread waits for the disk, another one copies and sums up. */
static zt_status write_all(zt_restart_writer *w, zt_direct *f) {
  hand hands[ZT_HANDS];
  pthread_t helpers[ZT_HANDS];
  bool helps[ZT_HANDS] = {false};
  zt_status status = ZT_OK;
  sem_t flight;
  sem_init(&flight, 0, ZT_FLIGHT);
  f->flight = &flight;
  for (int i = 0; i < w->slots.hands; i++)
    hands[i] = (hand){.w = w,
                      .part = f,
                      .buffer = w->slots.all
                                    ? NULL
                                    : w->buffers + (size_t) i * w->slots.each};
  for (int i = 1; i < w->slots.hands && i < w->n_blocks; i++)
    helps[i] = pthread_create(&helpers[i], NULL, write_blocks, &hands[i]) == 0;
  write_blocks(&hands[0]);
  for (int i = 0; i < w->slots.hands; i++) {
    if (helps[i])
      pthread_join(helpers[i], NULL);
    w->tables[w->mine] += hands[i].table;
    w->digest += hands[i].digest;
    if (hands[i].status != ZT_OK && status == ZT_OK)
      status = zt_fail(hands[i].status, "%s", hands[i].message);
  }
  f->flight = NULL;
  sem_destroy(&flight);
  return status;
}

static zt_status write_part(zt_restart_writer *w) {
  char path[PATH_MAX];
  zt_direct f = {.fd = -1, .direct = -1};
  zt_status status = zt_restart_part_path(w, path);
  if (status == ZT_OK && zt_direct_open(&f, path, O_WRONLY) != ZT_OK)
    status = ZT_ERR_IO;
  if (status == ZT_OK)
    status = write_all(w, &f);
  if (status == ZT_OK)
    status = write_sums(w, &f);
  if (status == ZT_OK)
    status = zt_fault_check(ZT_FAULT_RESTART_SYNC);
  if (status == ZT_OK)
    status = zt_direct_sync(&f);
  if (status == ZT_OK)
    return zt_direct_close(&f);
  /* Nobody may wait for blocks that will never be written. */
  char message[ZT_MESSAGE_SIZE];
  snprintf(message, sizeof message, "%s", zt_last_error());
  zt_blocks_abandon(w);
  zt_direct_close(&f);
  return zt_fail(status, "%s", message);
}

/* ---- The thread ---- */

/* What the directory takes at best, beside which saves are judged. */
static void measure_directory(zt_restart_writer *w) {
  size_t bytes = zt_block_bytes(w, w->cells);
  size_t piece = (size_t) w->slots.hands * w->slots.each;
  zt_blocks_touch(w);
  w->raw_rate = zt_raw_write_rate(
      w->dir, w->comm->rank, bytes, w->slots.all ? w->copies : w->buffers,
      w->slots.all && piece > w->slots.bytes ? w->slots.bytes : piece);
}

static zt_status run_job(zt_restart_writer *w, zt_writer_job job) {
  switch (job) {
  case ZT_JOB_MEASURE:
    measure_directory(w);
    return ZT_OK;
  case ZT_JOB_WRITE:
    return write_part(w);
  case ZT_JOB_COMMIT:
    return zt_restart_commit(w);
  default:
    zt_restart_clean(w->dir, &w->save.retention);
    return ZT_OK;
  }
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
    int64_t began = zt_clock_ns();
    zt_status status = run_job(w, job);
    pthread_mutex_lock(&w->lock);
    w->job_ns = zt_clock_ns() - began;
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
  zt_writer_post(w, ZT_JOB_QUIT);
  pthread_join(w->thread, NULL);
  pthread_mutex_destroy(&w->lock);
  pthread_cond_destroy(&w->changed);
}

void zt_writer_post(zt_restart_writer *w, zt_writer_job job) {
  zt_writer_wait(w);
  pthread_mutex_lock(&w->lock);
  w->job = job;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

void zt_writer_wait(zt_restart_writer *w) {
  pthread_mutex_lock(&w->lock);
  while (w->job != ZT_JOB_NONE)
    pthread_cond_wait(&w->changed, &w->lock);
  pthread_mutex_unlock(&w->lock);
}

bool zt_writer_busy(zt_restart_writer *w) {
  pthread_mutex_lock(&w->lock);
  bool busy = w->job != ZT_JOB_NONE;
  pthread_mutex_unlock(&w->lock);
  return busy;
}

zt_status zt_writer_join(zt_restart_writer *w) {
  zt_writer_wait(w);
  if (w->job_status != ZT_OK)
    zt_fail(w->job_status, "%s", w->job_message);
  return w->job_status;
}
