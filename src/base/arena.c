/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/arena.h"

#include <stdint.h>

void zt_arena_init(zt_arena *arena, const char *name, void *base, size_t size) {
  *arena = (zt_arena){
      .name = name, .base = base, .size = base ? size : SIZE_MAX / 2};
}

void *zt_arena_push(zt_arena *arena, size_t bytes) {
  size_t mask = ZT_ARENA_ALIGN - 1, at = (arena->used + mask) & ~mask;
  if (bytes > arena->size || at > arena->size - bytes)
    return NULL;
  arena->used = at + bytes;
  if (arena->used > arena->peak)
    arena->peak = arena->used;
  /* Measuring, every address is distinct and none is NULL. */
  return arena->base ? arena->base + at
                     : (void *) (uintptr_t) (at + ZT_ARENA_ALIGN);
}

size_t zt_arena_mark(const zt_arena *arena) {
  return arena->used;
}

void zt_arena_release(zt_arena *arena, size_t mark) {
  if (arena->released && arena->base && mark < arena->used)
    arena->released(arena->base + mark, arena->used - mark);
  arena->used = mark;
}
