// SPDX-License-Identifier: BSD-3-Clause
// Who touched which memory, and whether that is in order.
//
// Each two bytes have a cell: the last write, and the last read with what must
// be known of other readers.  Time is one counter that grows with every
// operation, block, barrier and __syncwarp; an access has the time at which it
// happened.  Then "ordered before" is a comparison: threads of a block know all
// before the last barrier (`floor`), lanes all before the last __syncwarp of
// their warp, and an operation all before ordered_until(), or looks closer.
//
// Flags beside the last read are exact for barriers and full warps: they say
// whether a thread of another warp (since the floor), another lane (since the
// warp's), or an earlier block read too.  After __syncwarp on part of a warp
// lanes have a matrix of what they know, and other lanes' reads are let pass.
#include "emu_core.h"

#include <algorithm>
#include <dlfcn.h>
#include <link.h>
#include <map>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

namespace emu {

Times times;
Op *current_op;

namespace {

enum : uint64_t {
  BOTH = 3, /* bytes of a cell */
  ALLOCATED = 1 << 2,
  ATOMIC = 1 << 3,
  MASK_SHIFT = 4,
  THREAD_SHIFT = 6,
  TIME_SHIFT = 16,
  /* of reads */
  OTHER_WARPS = 1,
  OTHER_LANES = 2,
  OTHER_BLOCKS = 4,
  OTHER_OPS = 8
};

struct Ran {
  uint64_t time;
  int stream;
  uint32_t number;
  const char *name;
};
std::vector<Ran> history = {{0, -1, 0, "the host"}};
std::map<Cell *, std::vector<size_t>> readers; /* of OTHER_OPS; in history */
uint64_t ordered_time;
unsigned me, my_warp; /* the running thread */
uint64_t warp_known[32][32][32];
bool warp_split[32]; /* warp_known is in use */
struct Segment {
  const char *from, *to;
};
std::vector<Segment> constants;
bool instrumented, watching; /* the latter: checking(), of this operation */

uint64_t time_of(uint64_t word) {
  return word >> TIME_SHIFT;
}

unsigned thread_of(uint64_t word) {
  return (unsigned) (word >> THREAD_SHIFT) & 1023;
}

size_t ran_at(uint64_t time) {
  static size_t last;
  size_t next = last + 1;
  if (last < history.size() && history[last].time <= time &&
      (next == history.size() || time < history[next].time))
    return last;
  auto later = [](uint64_t t, const Ran &r) { return t < r.time; };
  last =
      (size_t) (std::upper_bound(history.begin(), history.end(), time, later) -
                history.begin()) -
      1;
  return last;
}

bool known_op(size_t ran) {
  const Ran &r = history[ran];
  return r.stream < 0 || is_ordered(r.stream, r.number);
}

/* Whether the running thread knows what `thread` did at `time` in this block */
bool known_thread(unsigned thread, uint64_t time) {
  if (thread == me || time < times.floor)
    return true;
  if (thread / 32 != my_warp)
    return false;
  return time < times.warp_floor[my_warp] ||
         (warp_split[my_warp] &&
          time < warp_known[my_warp][me % 32][thread % 32]);
}

const char *verb(bool write) {
  return write ? "write" : "read";
}

void race(const char *where, bool write, uint64_t other, bool other_write) {
  char who[32] = "another thread"; /* its own access came last */
  if (thread_of(other) != me)
    snprintf(who, sizeof who, "thread %u", thread_of(other));
  report("race in %s memory: %s by thread %u, %s by %s with no barrier between "
         "them",
         where, verb(write), me, other_write ? "written" : "read", who);
}

/* The last write against an access of the running block. */
bool write_in_order(uint64_t w, bool atomic, uint64_t mask) {
  if ((atomic && w & ATOMIC) || !(w >> MASK_SHIFT & mask))
    return true;
  return known_thread(thread_of(w), time_of(w));
}

/* The last reads in the running block against a write. */
bool reads_in_order(uint64_t r, uint64_t mask) {
  uint64_t time = time_of(r);
  if (time < times.floor || !(r >> MASK_SHIFT & mask))
    return true;
  if (r & OTHER_WARPS || !known_thread(thread_of(r), time))
    return false;
  return !(r & OTHER_LANES) || thread_of(r) / 32 != my_warp ||
         time < times.warp_floor[my_warp] || warp_split[my_warp];
}

/* The word of a read by the running thread after the word `r`. */
uint64_t after_read(uint64_t r, uint64_t mask) {
  uint64_t time = time_of(r), flags = 0, bytes = mask;
  if (time >= times.op_start) {
    flags = time < times.block_start ? OTHER_BLOCKS : r & OTHER_BLOCKS;
    if (time >= times.floor) {
      bytes |= r >> MASK_SHIFT & BOTH;
      flags |= r & OTHER_WARPS;
      if (thread_of(r) / 32 != my_warp)
        flags |= OTHER_WARPS;
      else if (time >= times.warp_floor[my_warp])
        flags |= thread_of(r) == me ? r & OTHER_LANES : (uint64_t) OTHER_LANES;
    }
  }
  return times.now << TIME_SHIFT | (uint64_t) me << THREAD_SHIFT |
         bytes << MASK_SHIFT | flags;
}

uint64_t after_write(uint64_t w, uint64_t mask, bool atomic) {
  return times.now << TIME_SHIFT | (uint64_t) me << THREAD_SHIFT |
         mask << MASK_SHIFT | (atomic ? (uint64_t) ATOMIC : 0) | ALLOCATED |
         (w & BOTH) | mask;
}

/* The last use by an earlier operation. */
void check_op(uint64_t time, bool write, bool other_write) {
  if (time < ordered_time)
    return;
  size_t ran = ran_at(time);
  if (known_op(ran))
    return;
  report("%s of memory %s by %s, which no event orders before it", verb(write),
         other_write ? "written" : "read", history[ran].name);
}

void check_readers(Cell *c, size_t n) {
  for (; n > 0; n--, c++) {
    for (size_t ran : readers[c])
      if (!known_op(ran))
        report("write of memory read by %s, which no event orders before it",
               history[ran].name);
    readers.erase(c);
  }
}

/* A read after that of another operation: keep both if neither is first. */
uint64_t keep_reader(Cell *c, size_t n) {
  uint64_t r = c->read, time = time_of(r);
  if (time >= ordered_time && time < times.op_start) {
    size_t ran = ran_at(time);
    if (!known_op(ran)) {
      for (size_t i = 0; i < n; i++)
        readers[c + i].push_back(ran);
      return OTHER_OPS;
    }
  }
  return r & OTHER_OPS;
}

/* Cells that nobody touched yet have no word of their own. */
bool usable(Cell *c, size_t n, bool write, uint64_t mask) {
  if (!(c->write & ALLOCATED)) {
    const char *p = arena.base + (c - arena.cells) * 2;
    c->write = allocated(p) + 1 < 2 * n ? 0 : fresh_word(p);
  }
  if (!(c->write & ALLOCATED)) {
    report("%s of device memory out of bounds or freed", verb(write));
    return false;
  }
  if (!write && (c->write & mask) != mask) {
    report("read of device memory that was never written");
    c->write |= mask;
  }
  return true;
}

/* Whether the bytes were touched since; of single bytes the last one counts. */
bool last_in(uint64_t word, uint64_t since, uint64_t mask) {
  return time_of(word) >= since && (word >> MASK_SHIFT & mask);
}

/* Some cells of global memory that are equal until now, by a thread. */
void touch_global(Cell *c, size_t n, uint64_t mask, bool write, bool atomic) {
  if (!usable(c, n, write && !atomic, mask))
    return;
  uint64_t w = c->write, r = c->read, wt = time_of(w), rt = time_of(r);
  size_t bytes = mask == BOTH ? 2 * n : 1;
  if (wt < times.op_start)
    check_op(wt, write, true);
  else if (wt < times.block_start && !(atomic && w & ATOMIC))
    report("race between blocks: %s of what another block wrote", verb(write));
  else if (wt >= times.block_start && !write_in_order(w, atomic, mask))
    race("global", write, w, true);
  if (!write || atomic) {
    uint64_t last = std::max(r, w);
    counts->read.distinct += last_in(last, times.op_start, mask) ? 0 : bytes;
    counts->read.block += last_in(last, times.block_start, mask) ? 0 : bytes;
  }
  if (!write) {
    c->read = after_read(r, mask) | keep_reader(c, n);
  } else {
    counts->written.distinct += last_in(w, times.op_start, mask) ? 0 : bytes;
    counts->written.block += last_in(w, times.block_start, mask) ? 0 : bytes;
    if (r & OTHER_OPS)
      check_readers(c, n);
    if (rt < times.op_start)
      check_op(rt, true, false);
    else if (rt < times.block_start || r & OTHER_BLOCKS)
      report("race between blocks: write of what another block read");
    else if (!reads_in_order(r, mask))
      race("global", true, r, false);
    c->write = after_write(w, mask, atomic);
    c->read = 0;
  }
  for (size_t i = 1; i < n; i++)
    c[i] = c[0];
}

/* The same for shared memory: what is older than the block is not there. */
void touch_shared(Cell *c, size_t n, uint64_t mask, bool write, bool atomic) {
  if (!(c->write & ALLOCATED)) {
    report("%s of shared memory out of bounds", verb(write));
    return;
  }
  uint64_t w = c->write, r = c->read;
  if (time_of(w) < times.block_start)
    w = ALLOCATED;
  else if (!write_in_order(w, atomic, mask))
    race("shared", write, w, true);
  if ((!write || atomic) && (w & mask) != mask) {
    report("read of shared memory that was never written");
    w |= mask;
  }
  if (write) {
    if (time_of(r) >= times.block_start && !reads_in_order(r, mask))
      race("shared", true, r, false);
    c->write = after_write(w, mask, atomic);
    c->read = 0;
  } else {
    c->write = w;
    c->read = after_read(r, mask);
  }
  for (size_t i = 1; i < n; i++)
    c[i] = c[0];
}

/* Runs of equal cells: mostly all cells of an access. */
template <class F>
inline void each_run(Cell *cells, uintptr_t offset, size_t bytes, F touch) {
  Cell *c = cells + offset / 2;
  if (offset & 1) {
    touch(c++, 1, 2);
    bytes--;
  }
  for (Cell *end = c + bytes / 2; c < end;) {
    size_t n = 1, most = std::min((size_t) (end - c), (size_t) 1024);
    while (n < most && c[n].write == c->write && c[n].read == c->read)
      n++;
    touch(c, n, BOTH);
    c += n;
  }
  if (bytes & 1)
    touch(c, 1, 1);
}

int find_constants(struct dl_phdr_info *info, size_t, void *) {
  for (int i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) &h = info->dlpi_phdr[i];
    const char *from = (const char *) (info->dlpi_addr + h.p_vaddr);
    if (h.p_type == PT_LOAD && !(h.p_flags & PF_W))
      constants.push_back({from, from + h.p_memsz});
  }
  return 0;
}

extern "C" char __start_zt_constant[] __attribute__((weak));
extern "C" char __stop_zt_constant[] __attribute__((weak));

/* Neither global, nor shared, nor the thread's own. */
void touch_other(const char *p, size_t bytes, bool write) {
  const char *parameters = (const char *) launch->parameters;
  if (!write) {
    if (p >= parameters && p + bytes <= parameters + launch->parameter_bytes)
      return;
    if (constants.empty()) {
      dl_iterate_phdr(find_constants, NULL);
      constants.push_back({__start_zt_constant, __stop_zt_constant});
    }
    for (const Segment &s : constants)
      if (p >= s.from && p < s.to)
        return;
  }
  if (in_fiber_stack(p))
    report("%s of a variable of another thread", verb(write));
  else
    report("a kernel touches host memory (%s)", verb(write));
}

} // namespace

bool checking() {
  return settings().check && instrumented;
}

void access(const void *pointer, size_t bytes, bool write, bool atomic) {
  const char *p = (const char *) pointer;
  if ((uintptr_t) p - stack_low < STACK_BYTES || !watching)
    return;
  if ((size_t) (p - arena.base) < arena.size) {
    emu_bytes &total = write ? counts->written : counts->read;
    total.accessed += bytes;
    if (atomic)
      counts->read.accessed += bytes;
    each_run(arena.cells, (uintptr_t) (p - arena.base), bytes,
             [=](Cell *c, size_t n, uint64_t m) {
               touch_global(c, n, m, write, atomic);
             });
  } else if ((size_t) (p - shared_memory) < SHARED_BYTES) {
    each_run(shared_cells(), (uintptr_t) (p - shared_memory), bytes,
             [=](Cell *c, size_t n, uint64_t m) {
               touch_shared(c, n, m, write, atomic);
             });
  } else {
    touch_other(p, bytes, write);
  }
}

void shadow_thread(unsigned number) {
  me = number;
  my_warp = number / 32;
}

void shadow_op_start(const Op *op) {
  watching = checking();
  times.op_start = times.block_start = times.floor = ++times.now;
  ordered_time = ordered_until();
  history.push_back({times.now, op->stream, op->number, op->name});
}

void shadow_block_start() {
  times.block_start = ++times.now;
  shadow_barrier();
}

void shadow_barrier() {
  times.floor = ++times.now;
  for (unsigned w = 0; w < 32; w++) {
    times.warp_floor[w] = times.now;
    warp_split[w] = false;
  }
}

void shadow_syncwarp(unsigned warp, unsigned mask, bool all) {
  uint64_t now = ++times.now;
  if (all) {
    times.warp_floor[warp] = now;
    warp_split[warp] = false;
    return;
  }
  uint64_t(*known)[32] = warp_known[warp];
  if (!warp_split[warp])
    std::fill(&known[0][0], &known[0][0] + 1024, times.warp_floor[warp]);
  warp_split[warp] = true;
  uint64_t joined[32] = {};
  for (unsigned l = 0; l < 32; l++)
    for (unsigned k = 0; k < 32; k++)
      if (mask >> l & 1)
        joined[k] = std::max(joined[k], mask >> k & 1 ? now : known[l][k]);
  for (unsigned l = 0; l < 32; l++)
    if (mask >> l & 1)
      memcpy(known[l], joined, sizeof joined);
}

/* A library call or a copy, as one thread. */
void shadow_range(const Range &range) {
  emu_bytes &total = range.write ? counts->written : counts->read;
  total.accessed += range.bytes;
  total.block += range.bytes;
  total.distinct += range.bytes;
  if (!arena.cells || !on_device(range.p))
    return;
  emu_counts *kept = counts, none = {};
  counts = &none;
  shadow_thread(0);
  each_run(arena.cells, (uintptr_t) ((char *) range.p - arena.base),
           range.bytes, [&](Cell *c, size_t n, uint64_t m) {
             touch_global(c, n, m, range.write, false);
           });
  counts = kept;
}

uint64_t shadow_fresh() {
  uint64_t word = ALLOCATED;
  if (current_op)
    word |= times.now << TIME_SHIFT | BOTH << MASK_SHIFT;
  return word;
}

} // namespace emu

/* ---- What the instrumentation of -fsanitize=thread calls ---- */

#define EMU_ACCESS(bytes)                                                      \
  extern "C" void __tsan_read##bytes(void *p) {                                \
    if (emu::self)                                                             \
      emu::access(p, bytes, false, false);                                     \
  }                                                                            \
  extern "C" void __tsan_write##bytes(void *p) {                               \
    if (emu::self)                                                             \
      emu::access(p, bytes, true, false);                                      \
  }                                                                            \
  extern "C" void __tsan_unaligned_read##bytes(void *p) {                      \
    __tsan_read##bytes(p);                                                     \
  }                                                                            \
  extern "C" void __tsan_unaligned_write##bytes(void *p) {                     \
    __tsan_write##bytes(p);                                                    \
  }
EMU_ACCESS(1)
EMU_ACCESS(2)
EMU_ACCESS(4)
EMU_ACCESS(8)
EMU_ACCESS(16)

extern "C" void __tsan_read_range(void *p, size_t bytes) {
  if (emu::self)
    emu::access(p, bytes, false, false);
}
extern "C" void __tsan_write_range(void *p, size_t bytes) {
  if (emu::self)
    emu::access(p, bytes, true, false);
}
/* Called at the start by every instrumented object. */
extern "C" void __tsan_init() {
  emu::instrumented = true;
}
extern "C" void __tsan_func_entry(void *) {}
extern "C" void __tsan_func_exit() {}
extern "C" void __tsan_vptr_update(void **, void *) {}
extern "C" void __tsan_vptr_read(void **) {}
