/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What this process did last: a ring of its newest events, for the report of a
 *  run that stands still.
 *
 *  One thread writes, the one that computes; a beat costs a look at the clock
 *  and a few stores.  Any thread may read.  All Local. */
#ifndef ZT_BASE_BEAT_H
#define ZT_BASE_BEAT_H

#include <stdbool.h>
#include <stdint.h>

enum {
  ZT_BEATS = 1024,
  ZT_BEAT_WAIT = -1 /* for others, but not in one collective */
};

typedef struct zt_beat_event {
  int64_t at;       /* ns, zt_clock_ns() */
  const char *what; /* "forward", "all-reduce" */
  int64_t call;     /* number of the collective, 0: none, ZT_BEAT_WAIT */
  int64_t bytes;    /* the collective is about, the same on all ranks */
  bool done;        /* the collective has returned */
  int64_t step, micro_batch, unit; /* -1: none */
} zt_beat_event;

/** What the next events are about; -1: none. */
void zt_beat_place(int64_t step, int64_t micro_batch, int64_t unit);
/** Something local begins.
 *  \param[in] what  must stay */
void zt_beat(const char *what);
/** A collective begins, or has returned; or ZT_BEAT_WAIT. */
void zt_beat_call(const char *what, int64_t call, int64_t bytes, bool done);
/** Progress that is no event of its own; any thread. */
void zt_beat_alive(void);
/** Work of another thread is done, which is progress only for who waits for it:
 *  the waiting thread looks at the number of such signs.  Any thread. */
void zt_beat_work(void);
uint64_t zt_beat_worked(void);
/** While held, calls of collectives are neither events nor progress: for a loop
 *  that asks the others again and again. */
void zt_beat_hold(bool hold);
/** The next thing may take longer by so much without a beat, ns; 0: no longer
 *  than others. */
void zt_beat_allow(int64_t ns);

/** Number of beats so far: a standstill is this not changing. */
uint64_t zt_beat_count(void);
/** What zt_beat_allow() said last, ns. */
int64_t zt_beat_allowed(void);
/** A copy of the ring, oldest first.  Events that are written meanwhile may be
 *  left out.
 *  \return how many */
int zt_beat_read(zt_beat_event events[ZT_BEATS]);

#endif
