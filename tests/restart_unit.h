/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the tests of restarts share: a state whose values are known from place
 *  and generation alone, saved and loaded without a model or a run.  Include it
 *  after mpi_unit.h. */
#ifndef ZT_TESTS_RESTART_UNIT_H
#define ZT_TESTS_RESTART_UNIT_H

#include "io/restart_writer.h"

#include <limits.h>

/** The state of one rank. */
typedef struct held {
  zt_comm *comm;
  zt_params params;
  zt_shard shard;
  float *values[ZT_STATES];  /* [shard.numel] page-aligned, as of a device */
  zt_restart_writer *writer; /* NULL before held_writer() */
  char dir[PATH_MAX];        /* of the restarts */
  json_t *empty;             /* stands for what a test does not care about */
  zt_retention retention;
} held;

/* Some cells; some blocks a rank; else about so many elements. */
enum { HELD_TINY = 0, HELD_BLOCKS = 1 };

/** What an element has in a generation. */
float held_value(int64_t generation, int state, int64_t flat);
/** A state of zeros, and its directory DIR/restart, which need not exist. */
void held_create(held *h, zt_comm *comm, const char *dir, int64_t size);
void held_free(held *h);
/** Give all elements the values of a generation. */
void held_fill(held *h, int64_t generation);
/** A writer for it. */
void held_writer(held *h, int ranks_per_part, size_t staging);
/** Begin a save of a step; whole: and wait for its end.
 *  \return as zt_restart_start() and zt_restart_finish() */
zt_status held_start(held *h, int64_t step);
zt_status held_save(held *h, int64_t step, zt_restart_end *end);

/** All of a restart: opened, read by all ranks, every element that of the
 *  generation = its step.
 *  \param[out] damaged  as zt_restart_open(), and for its data
 *  \return as zt_restart_open() and zt_restart_read() */
zt_status held_load(const held *h, const char *name, zt_comm *comm,
                    bool *damaged);
/** Load the newest, and where one is damaged the next, as a run does.
 *  \param[out] step  of what was loaded, -1: nothing */
zt_status held_load_newest(const held *h, zt_comm *comm, int64_t *step);

/** Rank 0's folder on every rank, made.  \param[in] path  of this rank */
const char *held_folder(zt_comm *comm, const char *path);

#endif
