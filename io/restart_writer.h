/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Inside of the restart writer, for its own files.
 *
 *  What a rank owns is cut into blocks: some grid cells of one unit, all
 *  states.  The writer's thread takes block after block, in the order in which
 *  the optimizer will change them.  A block that it has not taken when the
 *  optimizer gets there is copied to a staging slot first, or waited for. */
#ifndef ZT_IO_RESTART_WRITER_H
#define ZT_IO_RESTART_WRITER_H

#include "io/direct.h"
#include "io/restart_layout.h"

#include <limits.h>
#include <pthread.h>

enum {
  ZT_BLOCK_CELLS = 128 /* at most: 2 MiB of each state */
};

typedef enum zt_block_state {
  ZT_BLOCK_LIVE,    /* to be taken from the run's memory */
  ZT_BLOCK_READING, /* being copied */
  ZT_BLOCK_STAGED,  /* to be taken from its slot */
  ZT_BLOCK_TAKEN    /* no longer needed: the run may change it */
} zt_block_state;

typedef struct zt_block {
  int unit;
  int64_t at;    /* in the shard */
  int64_t cell;  /* first one, in the part */
  int64_t cells; /* 1 .. ZT_BLOCK_CELLS */
  int64_t sums;  /* place of its checksums in the rank's list */
  zt_block_state state;
  int slot; /* if staged */
} zt_block;

typedef enum zt_writer_job {
  ZT_JOB_NONE,
  ZT_JOB_MEASURE, /* the directory, once */
  ZT_JOB_WRITE,   /* this rank's blocks */
  ZT_JOB_COMMIT,  /* rank 0: manifest, seal, rename */
  ZT_JOB_CLEAN,   /* rank 0: old restarts go */
  ZT_JOB_QUIT
} zt_writer_job;

/** The places for copies of blocks: one for each of them, or some that fit any,
 *  and then one more for each thread that writes. */
typedef struct zt_slots {
  bool all;
  int count, hands;   /* places; threads, 1 .. ZT_HANDS */
  size_t each, bytes; /* of the largest block; of all places */
} zt_slots;

struct zt_restart_writer {
  char *dir;
  zt_comm *comm;
  const zt_params *params;
  int states; /* ZT_STATES; ZT_MASTER alone: the last unit is statistics */
  zt_shard shard;
  int64_t *unit_numel;       /* [units] */
  uint64_t *keys[ZT_STATES]; /* [params] of the digest */
  json_t *fixed;             /* what every manifest says */
  zt_part *parts;
  zt_hash *fronts; /* [parts] hash of everything before the checksums */
  int n_parts, mine;
  char *front; /* the part's leader alone: the bytes before them */
  char *views; /* rank 0: the bytes of views.h5; NULL: too many */
  size_t views_size;

  zt_block *blocks;
  int n_blocks;
  int64_t cells;             /* of this rank */
  uint64_t *sums[ZT_STATES]; /* [cells] */
  zt_slots slots;
  char *buffers; /* [slots.hands, slots.each] page-aligned; none if slots.all */
  char *copies;  /* [slots.bytes] page-aligned */
  int *free_slots, n_free;
  int next;        /* block that nobody has begun to write */
  double raw_rate; /* bytes a second this rank could write; 0: unknown */

  /* The save under way; the thread reads it only during a job. */
  zt_writer_job phase; /* WRITE, COMMIT, or NONE when no save runs */
  zt_restart_save save;
  char temporary[PATH_MAX], final[PATH_MAX];
  uint64_t *tables;     /* [parts] sums of the checksum tables */
  uint64_t digest;      /* of this rank's elements, later of all */
  int64_t raw_sum;      /* raw_rate of all ranks */
  int64_t writing;      /* ns: the thread's jobs; of the slowest rank */
  char *manifest;       /* rank 0 */
  int64_t began, stall; /* ns */

  /* Shared with the thread, under the lock. */
  pthread_t thread;
  bool has_thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  zt_writer_job job; /* NONE: the last one is finished */
  zt_status job_status;
  int64_t job_ns; /* that it took */
  char job_message[ZT_MESSAGE_SIZE];
};

/** Of so many cells, all states. */
static inline size_t zt_block_bytes(const zt_restart_writer *w, int64_t cells) {
  return (size_t) cells * (size_t) w->states * ZT_CELL_BYTES;
}

/* restart_blocks.c */

/** Cut this rank's shard into blocks, with `staging` bytes of slots. */
zt_status zt_blocks_create(zt_restart_writer *w, size_t staging);
void zt_blocks_destroy(zt_restart_writer *w);
/** Where a save copies everything, bring its memory in, so that the first one
 *  does not wait for that. */
void zt_blocks_touch(zt_restart_writer *w);
/** A save begins: all blocks are live. */
void zt_blocks_begin(zt_restart_writer *w);
/** With room for all, the run is held up for one copy and then never again.
 *  From the last block to the first, while the thread writes the others. */
zt_status zt_blocks_stage_all(zt_restart_writer *w);
/** By a writing thread: the next block's content; from then on the run may
 *  change it.
 *  \param[in]  buffer   [w->slots.each]; NULL where blocks have their places
 *  \param[out] index    -1: there is none left
 *  \param[out] content  all states, one after the other; page-aligned, stays
 *                       until the thread takes its next block */
zt_status zt_blocks_take(zt_restart_writer *w, char *buffer, int *index,
                         const char **content);
/** Bytes of the writing threads' buffers: none where each block has a place. */
size_t zt_buffers_bytes(const zt_slots *slots);
/** By a writing thread after a failure: nothing more will be taken. */
void zt_blocks_abandon(zt_restart_writer *w);

/* restart_thread.c */

zt_status zt_writer_thread_start(zt_restart_writer *w);
void zt_writer_thread_stop(zt_restart_writer *w);
/** Hand a job to the thread, once it is done with the one before. */
void zt_writer_post(zt_restart_writer *w, zt_writer_job job);
/** Wait until the thread has nothing to do. */
void zt_writer_wait(zt_restart_writer *w);
/** Whether the thread still works on its job. */
bool zt_writer_busy(zt_restart_writer *w);
/** Wait for the end of the job; its status, with the message. */
zt_status zt_writer_join(zt_restart_writer *w);

/* restart_commit.c */

/** The manifest of the save under way, as text; free() it. */
zt_status zt_restart_manifest(const zt_restart_writer *w, char **text);
/** Manifest, seal, rename: the thread of rank 0. */
zt_status zt_restart_commit(zt_restart_writer *w);
/** Path of this rank's part in the temporary directory. */
zt_status zt_restart_part_path(const zt_restart_writer *w, char path[PATH_MAX]);

#endif
