/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"
#include "base/memory.h"
#include "io/direct.h"
#include "io/restart_skeleton.h"
#include "io/restart_writer.h"

#include <stdlib.h>
#include <string.h>

/* ---- Creation ---- */

static zt_status add_block(zt_restart_writer *w, size_t *capacity,
                           zt_block block) {
  if (!zt_grow(&w->blocks, capacity, (size_t) w->n_blocks, sizeof *w->blocks))
    return ZT_ERR_MEMORY;
  w->blocks[w->n_blocks++] = block;
  return ZT_OK;
}

/* In the order of the shard, which is that of the optimizer. */
static zt_status cut(zt_restart_writer *w, const int64_t *part_start) {
  const zt_part *part = &w->parts[w->mine];
  size_t capacity = 0;
  for (int u = 0; u < w->params->n_units; u++) {
    int64_t begin, end, first, last;
    zt_shard_range(w->unit_numel[u], w->comm->size, w->comm->rank, 1, &begin,
                   &end);
    zt_shard_range(w->unit_numel[u], w->comm->size, part->first, part->ranks,
                   &first, &last);
    int64_t cells = zt_grid_cells(end - begin);
    int64_t cell = part_start[u] + (begin - first) / ZT_GRID;
    for (int64_t c = 0; c < cells; c += ZT_BLOCK_CELLS) {
      int64_t n = cells - c < ZT_BLOCK_CELLS ? cells - c : ZT_BLOCK_CELLS;
      ZT_TRY(add_block(w, &capacity,
                       (zt_block){.unit = u,
                                  .at = w->shard.at[u] + c * ZT_GRID,
                                  .cell = cell + c,
                                  .cells = n,
                                  .sums = w->cells,
                                  .state = ZT_BLOCK_TAKEN}));
      w->cells += n;
    }
  }
  return ZT_OK;
}

static zt_status take_memory(size_t bytes, char **p) {
  *p = zt_direct_memory(bytes);
  return *p ? ZT_OK
            : zt_fail_errno(ZT_ERR_MEMORY,
                            "no memory for %zu bytes of restart.staging",
                            bytes);
}

/* With room for all blocks, each has its place; else places fit any block, and
 * the buffers of the threads count too; with little room there are fewer. */
static zt_slots size_slots(int64_t cells, int64_t largest, int n_blocks,
                           size_t cell_bytes, size_t staging) {
  zt_slots s = {.count = n_blocks,
                .hands = ZT_HANDS,
                .each = (size_t) largest * cell_bytes,
                .bytes = (size_t) cells * cell_bytes};
  s.all = staging >= s.bytes;
  if (!s.all) {
    size_t fit = staging / s.each;
    if (fit < ZT_HANDS)
      s.hands = fit > 0 ? (int) fit : 1;
    s.count = fit > ZT_HANDS ? (int) (fit - ZT_HANDS) : 0;
    s.bytes = (size_t) s.count * s.each;
  }
  return s;
}

size_t zt_buffers_bytes(const zt_slots *slots) {
  return slots->all ? 0 : (size_t) slots->hands * slots->each;
}

zt_status zt_blocks_create(zt_restart_writer *w, size_t staging) {
  const zt_part *part = &w->parts[w->mine];
  int64_t largest = 0;
  int64_t *start = zt_calloc((size_t) w->params->n_units + 1, sizeof *start);
  if (!start)
    return ZT_ERR_MEMORY;
  zt_part_cells(w->unit_numel, w->params->n_units, w->comm->size, part->first,
                part->ranks, start);
  zt_status status = cut(w, start);
  free(start);
  ZT_TRY(status);
  for (int i = 0; i < w->n_blocks; i++)
    if (w->blocks[i].cells > largest)
      largest = w->blocks[i].cells;
  w->slots =
      size_slots(w->cells, largest, w->n_blocks, zt_block_bytes(w, 1), staging);
  w->free_slots = zt_calloc((size_t) w->slots.count, sizeof *w->free_slots);
  for (int s = 0; s < w->states; s++) {
    w->sums[s] = zt_calloc((size_t) w->cells, sizeof *w->sums[s]);
    if (!w->sums[s])
      return ZT_ERR_MEMORY;
  }
  if (!w->free_slots)
    return ZT_ERR_MEMORY;
  ZT_TRY(take_memory(zt_buffers_bytes(&w->slots), &w->buffers));
  return take_memory(w->slots.bytes, &w->copies);
}

size_t zt_restart_writer_bytes(const zt_params *params, int ranks,
                               const zt_restart_options *options,
                               int64_t config_bytes) {
  const size_t states = options->statistics ? 1 : ZT_STATES;
  int64_t cells = 0, largest = 0;
  int blocks = 0;
  for (int u = 0; u < params->n_units; u++) {
    int64_t begin, end;
    zt_shard_range(params->units[u].numel, ranks, 0, 1, &begin, &end);
    int64_t n = zt_grid_cells(end - begin);
    int64_t most = n < ZT_BLOCK_CELLS ? n : ZT_BLOCK_CELLS;
    largest = most > largest ? most : largest;
    cells += n;
    blocks += (int) ((n + ZT_BLOCK_CELLS - 1) / ZT_BLOCK_CELLS);
  }
  zt_slots slots = size_slots(cells, largest, blocks, states * ZT_CELL_BYTES,
                              options->staging);
  return slots.bytes + zt_buffers_bytes(&slots) +
         (size_t) cells * states * sizeof(uint64_t) +
         zt_restart_front_bytes(params, config_bytes);
}

void zt_blocks_destroy(zt_restart_writer *w) {
  zt_direct_memory_free(w->buffers, zt_buffers_bytes(&w->slots));
  zt_direct_memory_free(w->copies, w->slots.bytes);
  for (int s = 0; s < ZT_STATES; s++)
    free(w->sums[s]);
  free(w->free_slots);
  free(w->blocks);
}

/* ---- Copies ---- */

/* All states of a block, one after the other. */
static zt_status copy_block(const zt_restart_writer *w, const zt_block *b,
                            char *to) {
  size_t bytes = (size_t) b->cells * ZT_CELL_BYTES;
  for (int s = 0; s < w->states; s++)
    ZT_TRY(w->save.read(w->save.context, s, b->at, b->cells * ZT_GRID,
                        (float *) (void *) (to + (size_t) s * bytes)));
  return ZT_OK;
}

static char *copy_of(const zt_restart_writer *w, const zt_block *b) {
  return w->copies + (w->slots.all ? (size_t) b->sums * zt_block_bytes(w, 1)
                                   : (size_t) b->slot * w->slots.each);
}

/* A live block goes to a free slot; called and left with the lock held. */
static zt_status stage(zt_restart_writer *w, zt_block *b) {
  if (!w->slots.all)
    b->slot = w->free_slots[--w->n_free];
  b->state = ZT_BLOCK_READING;
  pthread_mutex_unlock(&w->lock);
  zt_status status = copy_block(w, b, copy_of(w, b));
  pthread_mutex_lock(&w->lock);
  b->state = ZT_BLOCK_STAGED;
  pthread_cond_broadcast(&w->changed);
  return status;
}

void zt_blocks_begin(zt_restart_writer *w) {
  pthread_mutex_lock(&w->lock);
  w->n_free = w->next = 0;
  for (int i = 0; i < w->slots.count; i++)
    w->free_slots[w->n_free++] = w->slots.count - 1 - i;
  for (int i = 0; i < w->n_blocks; i++)
    w->blocks[i].state = ZT_BLOCK_LIVE;
  pthread_mutex_unlock(&w->lock);
}

zt_status zt_blocks_stage_all(zt_restart_writer *w) {
  zt_status status = ZT_OK;
  if (!w->slots.all)
    return ZT_OK;
  pthread_mutex_lock(&w->lock);
  for (int i = w->n_blocks - 1; i >= 0 && status == ZT_OK; i--)
    if (w->blocks[i].state == ZT_BLOCK_LIVE)
      status = stage(w, &w->blocks[i]);
  pthread_mutex_unlock(&w->lock);
  return status;
}

void zt_blocks_touch(zt_restart_writer *w) {
  if (w->slots.all)
    memset(w->copies, 0, w->slots.bytes);
}

zt_status zt_blocks_take(zt_restart_writer *w, char *buffer, int *index,
                         const char **content) {
  zt_status status = ZT_OK;
  *index = -1;
  pthread_mutex_lock(&w->lock);
  if (w->next == w->n_blocks) {
    pthread_mutex_unlock(&w->lock);
    return ZT_OK;
  }
  *index = w->next++;
  zt_block *b = &w->blocks[*index];
  size_t bytes = zt_block_bytes(w, b->cells);
  while (b->state == ZT_BLOCK_READING)
    pthread_cond_wait(&w->changed, &w->lock);
  bool staged = b->state == ZT_BLOCK_STAGED;
  b->state = ZT_BLOCK_READING;
  pthread_mutex_unlock(&w->lock);
  char *place = w->slots.all ? copy_of(w, b) : buffer;
  if (!staged)
    status = copy_block(w, b, place);
  else if (!w->slots.all)
    memcpy(place, copy_of(w, b), bytes);
  *content = place;
  pthread_mutex_lock(&w->lock);
  if (staged && !w->slots.all)
    w->free_slots[w->n_free++] = b->slot;
  b->state = ZT_BLOCK_TAKEN;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
  return status;
}

void zt_blocks_abandon(zt_restart_writer *w) {
  pthread_mutex_lock(&w->lock);
  w->next = w->n_blocks;
  for (int i = 0; i < w->n_blocks; i++) {
    /* The run may be copying one this moment; its slot is not given back, but
     * the next save starts with all slots free. */
    while (w->blocks[i].state == ZT_BLOCK_READING)
      pthread_cond_wait(&w->changed, &w->lock);
    w->blocks[i].state = ZT_BLOCK_TAKEN;
  }
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

/* ---- Protection ---- */

/* First block that ends beyond an element of the shard. */
static int block_at(const zt_restart_writer *w, int64_t at) {
  int low = 0, high = w->n_blocks;
  while (low < high) {
    int mid = (low + high) / 2;
    const zt_block *b = &w->blocks[mid];
    if (b->at + b->cells * ZT_GRID <= at)
      low = mid + 1;
    else
      high = mid;
  }
  return low;
}

zt_status zt_restart_protect(zt_restart_writer *writer, int64_t at, int64_t n) {
  zt_restart_writer *w = writer;
  if (w->phase != ZT_JOB_WRITE)
    return ZT_OK;
  zt_status status = ZT_OK;
  int64_t began = zt_clock_ns();
  pthread_mutex_lock(&w->lock);
  for (int i = block_at(w, at); i < w->n_blocks; i++) {
    zt_block *b = &w->blocks[i];
    if (b->at >= at + n)
      break;
    while (status == ZT_OK &&
           (b->state == ZT_BLOCK_LIVE || b->state == ZT_BLOCK_READING)) {
      if (b->state == ZT_BLOCK_LIVE && w->n_free > 0)
        status = stage(w, b);
      else
        pthread_cond_wait(&w->changed, &w->lock);
    }
  }
  pthread_mutex_unlock(&w->lock);
  w->stall += zt_clock_ns() - began;
  return status;
}
