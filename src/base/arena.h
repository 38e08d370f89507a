/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A stack of memory.  Made once from the plan; nothing is allocated in a step.
 *
 *  With no base an arena only measures: it hands out addresses that must not
 *  be followed, and its peak is what a real one needs. */
#ifndef ZT_BASE_ARENA_H
#define ZT_BASE_ARENA_H

#include <stddef.h>

enum { ZT_ARENA_ALIGN = 256 };

typedef struct zt_arena {
  const char *name; /* for messages */
  char *base;       /* NULL: measure only */
  size_t size;      /* bytes; SIZE_MAX when measuring */
  size_t used;      /* bytes */
  size_t peak;      /* largest `used` so far */
  /* Called with memory that is given back, NULL: nobody looks.  The checking
   * device fills it with NaN. */
  void (*released)(void *from, size_t bytes);
} zt_arena;

/** An arena over caller's memory; base NULL makes it measure only. */
void zt_arena_init(zt_arena *arena, const char *name, void *base, size_t size);
/** The next `bytes`, aligned to 256; NULL when the arena is full, which is a
 *  bug in the plan.  Zero bytes are a valid request. */
void *zt_arena_push(zt_arena *arena, size_t bytes);
/** Where to return to. */
size_t zt_arena_mark(const zt_arena *arena);
/** Give back everything pushed since the mark. */
void zt_arena_release(zt_arena *arena, size_t mark);

#endif
