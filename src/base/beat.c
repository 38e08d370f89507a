/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/beat.h"

#include "base/clock.h"

#include <stdatomic.h>

/* One more than are read: the place where the writer may be busy. */
enum { PLACES = ZT_BEATS + 1 };

/* `written` counts events that are whole; a reader copies the ring and drops
 * what was overwritten meanwhile. */
static struct {
  zt_beat_event events[PLACES];
  _Atomic uint64_t written;
  _Atomic uint64_t beats; /* events and signs of life */
  _Atomic uint64_t works;
  _Atomic int64_t allowed;
  int64_t step, micro_batch, unit;
  bool held;
} ring = {.step = -1, .micro_batch = -1, .unit = -1};

void zt_beat_place(int64_t step, int64_t micro_batch, int64_t unit) {
  ring.step = step;
  ring.micro_batch = micro_batch;
  ring.unit = unit;
}

static void put(const char *what, int64_t call, int64_t bytes, bool done) {
  uint64_t n = atomic_load_explicit(&ring.written, memory_order_relaxed);
  ring.events[n % PLACES] = (zt_beat_event){.at = zt_clock_ns(),
                                            .what = what,
                                            .call = call,
                                            .bytes = bytes,
                                            .done = done,
                                            .step = ring.step,
                                            .micro_batch = ring.micro_batch,
                                            .unit = ring.unit};
  atomic_store_explicit(&ring.written, n + 1, memory_order_release);
  zt_beat_alive();
}

void zt_beat(const char *what) {
  put(what, 0, 0, false);
}

void zt_beat_call(const char *what, int64_t call, int64_t bytes, bool done) {
  if (!ring.held)
    put(what, call, bytes, done);
}

void zt_beat_alive(void) {
  atomic_fetch_add_explicit(&ring.beats, 1, memory_order_relaxed);
}

void zt_beat_work(void) {
  atomic_fetch_add_explicit(&ring.works, 1, memory_order_relaxed);
}

uint64_t zt_beat_worked(void) {
  return atomic_load_explicit(&ring.works, memory_order_relaxed);
}

void zt_beat_hold(bool hold) {
  ring.held = hold;
}

void zt_beat_allow(int64_t ns) {
  atomic_store_explicit(&ring.allowed, ns, memory_order_relaxed);
}

uint64_t zt_beat_count(void) {
  return atomic_load_explicit(&ring.beats, memory_order_relaxed);
}

int64_t zt_beat_allowed(void) {
  return atomic_load_explicit(&ring.allowed, memory_order_relaxed);
}

/* The oldest event of which nothing is overwritten when `written` are whole. */
static uint64_t oldest(uint64_t written) {
  return written > ZT_BEATS ? written - ZT_BEATS : 0;
}

int zt_beat_read(zt_beat_event events[ZT_BEATS]) {
  uint64_t end = atomic_load_explicit(&ring.written, memory_order_acquire);
  uint64_t from = oldest(end), kept = 0;
  for (uint64_t i = from; i < end; i++)
    events[i - from] = ring.events[i % PLACES];
  atomic_thread_fence(memory_order_acquire);
  uint64_t whole =
      oldest(atomic_load_explicit(&ring.written, memory_order_relaxed));
  for (uint64_t i = whole > from ? whole : from; i < end; i++)
    events[kept++] = events[i - from];
  return (int) kept;
}
