// SPDX-License-Identifier: BSD-3-Clause
// Blocks of threads.  A CUDA thread is a fiber with a stack of its own, but
// only from its first wait on: one that never waits runs on the stack of the
// one before it, without a switch.
#include "emu_core.h"
#include "emu_device.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#if !defined(__x86_64__) || defined(EMU_UCONTEXT)
#include <ucontext.h>
#define EMU_UCONTEXT 1
#endif

namespace emu {

enum State { READY, AT_BARRIER, IN_WARP, DONE };

struct Fiber {
#ifdef EMU_UCONTEXT
  ucontext_t context;
#else
  void *sp;
#endif
  char *stack; /* guard page, then STACK_BYTES */
};

struct Thread {
  uint3 index;
  unsigned number, lane, warp;
  State state;
  Fiber *fiber;
  unsigned from; /* of a shuffle */
  uint64_t got;
};

/* Lanes of one mask that wait for each other; found by the first lane.  `work`
 * runs when all are here and leaves in `got` of each thread what it gets. */
struct Meeting {
  unsigned mask, arrived;
  int site;
  void (*work)(unsigned warp, Meeting &);
  void (*tile)(const uint64_t *mail);
  uint64_t mail[32];
};

__thread Thread *self;
const Launch *launch;
uintptr_t stack_low;
alignas(1024) char shared_memory[SHARED_BYTES];

namespace {

enum : size_t { GUARD = 4096, RED_ZONE = 64 };

Thread threads[1024];
Meeting meetings[32][32]; /* by warp and first lane */
unsigned under_way[32];   /* which of them, by warp */
unsigned lanes_alive[32];
unsigned thread_count, alive, at_barrier;
int barrier_site, barrier_votes, barrier_result;
uint3 block_index;
std::vector<Fiber *> pool, all_fibers;
Fiber main_fiber;

/* Threads that can go on; a thread stands here at most once. */
uint16_t queue[1024];
unsigned queue_head, queue_size;

void push(const Thread &t) {
  queue[(queue_head + queue_size++) % 1024] = (uint16_t) t.number;
}

Thread *pick() {
  if (!queue_size)
    return NULL;
  emu_order order = settings().threads;
  unsigned last = (queue_head + queue_size - 1) % 1024;
  if (order == EMU_ORDER_RANDOM)
    std::swap(queue[last], queue[(queue_head + draw() % queue_size) % 1024]);
  queue_size--;
  if (order != EMU_ORDER_FIFO)
    return &threads[queue[last]];
  unsigned first = queue_head;
  queue_head = (queue_head + 1) % 1024;
  return &threads[queue[first]];
}

/* ---- Switching ---- */

void fiber_main();

#ifdef EMU_UCONTEXT
void fiber_reset(Fiber *f) {
  getcontext(&f->context);
  f->context.uc_stack.ss_sp = f->stack + GUARD;
  f->context.uc_stack.ss_size = STACK_BYTES;
  f->context.uc_link = NULL;
  makecontext(&f->context, fiber_main, 0);
}

void fiber_switch(Fiber *from, Fiber *to) {
  swapcontext(&from->context, &to->context);
}
#else
extern "C" void emu_switch_stack(void **save, void *load);
__asm__(".text\n"
        ".globl emu_switch_stack\n"
        ".type emu_switch_stack,@function\n"
        "emu_switch_stack:\n"
        "  push %rbp\n  push %rbx\n  push %r12\n"
        "  push %r13\n  push %r14\n  push %r15\n"
        "  mov %rsp,(%rdi)\n  mov %rsi,%rsp\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n"
        "  pop %r12\n  pop %rbx\n  pop %rbp\n"
        "  ret\n"
        ".size emu_switch_stack,.-emu_switch_stack\n");

/* As if fiber_main were about to be entered by the `ret` above. */
void fiber_reset(Fiber *f) {
  uintptr_t *sp = (uintptr_t *) (f->stack + GUARD + STACK_BYTES - 64);
  *--sp = 0;
  *--sp = (uintptr_t) fiber_main;
  for (int i = 0; i < 6; i++)
    *--sp = 0;
  f->sp = sp;
}

void fiber_switch(Fiber *from, Fiber *to) {
  emu_switch_stack(&from->sp, to->sp);
}
#endif

Fiber *fiber_get() {
  if (!pool.empty()) {
    Fiber *f = pool.back();
    pool.pop_back();
    return f;
  }
  Fiber *f = new Fiber;
  f->stack = (char *) mmap(NULL, GUARD + STACK_BYTES, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (f->stack == MAP_FAILED || mprotect(f->stack, GUARD, PROT_NONE))
    give_up("no memory for the stack of a thread");
  fiber_reset(f);
  all_fibers.push_back(f);
  return f;
}

void run_as(Thread *t) {
  self = t;
  stack_low = t ? (uintptr_t) t->fiber->stack + GUARD : 0;
  if (t)
    shadow_thread(t->number);
}

/* Leave the fiber `from` for the next thread, or for run_block. */
void go_on(Fiber *from, Thread *next) {
  if (next && !next->fiber)
    next->fiber = fiber_get();
  run_as(next);
  fiber_switch(from, next ? next->fiber : &main_fiber);
}

void finish_meeting(unsigned warp, Meeting &m);

void release_barrier() {
  at_barrier = 0;
  barrier_result = barrier_votes;
  barrier_votes = 0;
  shadow_barrier();
  for (unsigned i = 0; i < thread_count; i++)
    if (threads[i].state == AT_BARRIER) {
      threads[i].state = READY;
      push(threads[i]);
    }
}

/* The thread has returned: others may have waited for it alone. */
void thread_ends(Thread *t) {
  t->state = DONE;
  t->fiber = NULL;
  alive--;
  lanes_alive[t->warp] &= ~(1u << t->lane);
  if (at_barrier && at_barrier == alive)
    release_barrier();
  for (unsigned open = under_way[t->warp]; open; open &= open - 1) {
    Meeting &m = meetings[t->warp][__builtin_ctz(open)];
    if (!(m.mask & lanes_alive[t->warp] & ~m.arrived))
      finish_meeting(t->warp, m);
  }
}

void fiber_main() {
  for (;;) {
    launch->call(launch->parameters);
    Thread *done = self;
    Fiber *mine = done->fiber;
    thread_ends(done);
    Thread *next = pick();
    if (next && !next->fiber) {
      next->fiber = mine;
      run_as(next);
      continue;
    }
    pool.push_back(mine);
    go_on(mine, next);
  }
}

void block_thread(State state) {
  self->state = state;
  Thread *me = self, *next = pick();
  if (next != me)
    go_on(me->fiber, next);
}

/* ---- Meetings of a warp ---- */

void finish_meeting(unsigned warp, Meeting &m) {
  m.work(warp, m);
  for (unsigned l = 0; l < 32; l++) {
    Thread &t = threads[warp * 32 + l];
    if (m.arrived >> l & 1 && t.state == IN_WARP) {
      t.state = READY;
      push(t);
    }
  }
  m.arrived = 0;
  under_way[warp] &= ~(1u << __builtin_ctz(m.mask));
}

/* Until all lanes of the mask that live are here. */
uint64_t meet(unsigned mask, uint64_t value, int site,
              void (*work)(unsigned, Meeting &),
              void (*tile)(const uint64_t *) = NULL) {
  unsigned bit = 1u << self->lane, warp = self->warp;
  if (!(mask & bit)) {
    report("lane %u calls a warp primitive with mask %08x, without itself",
           self->lane, mask);
    mask |= bit;
  }
  unsigned first = (unsigned) __builtin_ctz(mask);
  Meeting &m = meetings[warp][first];
  if (!m.arrived) {
    m.mask = mask;
    m.site = site;
    m.work = work;
    m.tile = tile;
    under_way[warp] |= 1u << first;
  } else if (m.mask != mask || m.site != site) {
    report("lanes of a warp disagree about a primitive (mask %08x and %08x)",
           m.mask, mask);
  }
  m.mail[self->lane] = value;
  m.arrived |= bit;
  if (m.mask & lanes_alive[warp] & ~m.arrived)
    block_thread(IN_WARP);
  else
    finish_meeting(warp, m);
  return self->got;
}

void order_memory(unsigned warp, Meeting &m) {
  shadow_syncwarp(warp, m.arrived, !(lanes_alive[warp] & ~m.arrived));
}

void shuffle(unsigned warp, Meeting &m) {
  for (unsigned l = 0; l < 32; l++) {
    Thread &t = threads[warp * 32 + l];
    if (!(m.arrived >> l & 1))
      continue;
    if (!(m.arrived >> t.from & 1))
      report("a shuffle reads lane %u, which takes no part (mask %08x)", t.from,
             m.mask);
    t.got = m.mail[t.from];
  }
}

void ballot(unsigned warp, Meeting &m) {
  uint64_t bits = 0;
  for (unsigned l = 0; l < 32; l++)
    bits |= (uint64_t) (m.arrived >> l & m.mail[l] & 1) << l;
  for (unsigned l = 0; l < 32; l++)
    threads[warp * 32 + l].got = bits;
}

void tile_work(unsigned, Meeting &m) {
  if (~m.arrived)
    report("a warp of %d lanes uses the tensor cores",
           __builtin_popcount(m.arrived));
  else if (m.tile)
    m.tile(m.mail);
}

/* ---- Blocks ---- */

Cell cells_of_shared[SHARED_BYTES / 2];
struct Variable {
  const void *key;
  size_t offset;
};
std::vector<Variable> variables; /* of the launch */
size_t shared_top;

enum : uint64_t { ALLOCATED = 1 << 2 };

void shared_reserve(size_t from, size_t bytes) {
  if (from + bytes > SHARED_BYTES)
    give_up("%zu bytes of shared memory in a block", from + bytes);
  for (size_t i = from / 2; checking() && i < (from + bytes + 1) / 2; i++)
    cells_of_shared[i] = {ALLOCATED, 0};
  memset(shared_memory + from, 0xff, bytes);
  shared_top = from + bytes;
}

void deadlock() {
  unsigned barrier = 0, warp = 0;
  for (unsigned i = 0; i < thread_count; i++) {
    barrier += threads[i].state == AT_BARRIER;
    warp += threads[i].state == IN_WARP;
  }
  report("deadlock in a kernel: %u threads at __syncthreads, %u in warp "
         "primitives, none can go on",
         barrier, warp);
  memset(meetings, 0, sizeof meetings);
  memset(under_way, 0, sizeof under_way);
  pool = all_fibers;
  for (Fiber *f : pool)
    fiber_reset(f);
}

void run_block() {
  alive = thread_count;
  at_barrier = 0;
  barrier_votes = 0;
  queue_head = queue_size = 0;
  shadow_block_start();
  for (unsigned i = 0; i < thread_count; i++) {
    threads[i].state = READY;
    threads[i].fiber = NULL;
    push(threads[i]);
  }
  for (unsigned i = 0; i < (thread_count + 31) / 32; i++) {
    unsigned lanes = thread_count - i * 32;
    lanes_alive[i] = lanes >= 32 ? 0xffffffffu : (1u << lanes) - 1;
  }
  go_on(&main_fiber, pick());
  if (alive)
    deadlock();
}

} // namespace

Cell *shared_cells() {
  return cells_of_shared;
}

bool in_fiber_stack(const void *p) {
  for (const Fiber *f : all_fibers)
    if ((const char *) p >= f->stack &&
        (const char *) p < f->stack + GUARD + STACK_BYTES)
      return true;
  return false;
}

void run_kernel(const Launch &kernel) {
  launch = &kernel;
  dim3 b = kernel.block, g = kernel.grid;
  thread_count = b.x * b.y * b.z;
  for (unsigned i = 0; i < thread_count; i++)
    threads[i] = {{i % b.x, i / b.x % b.y, i / b.x / b.y},
                  i,
                  i % 32,
                  i / 32,
                  READY,
                  NULL,
                  0,
                  0};
  variables.clear();
  memset(cells_of_shared, 0, (shared_top + 1) / 2 * sizeof(Cell));
  shared_reserve(0, kernel.shared_bytes);
  uint64_t blocks = (uint64_t) g.x * g.y * g.z;
  bool last_first = settings().threads == EMU_ORDER_LIFO;
  for (uint64_t k = 0; k < blocks; k++) {
    uint64_t i = last_first ? blocks - 1 - k : k;
    block_index = {(unsigned) (i % g.x), (unsigned) (i / g.x % g.y),
                   (unsigned) (i / g.x / g.y)};
    run_block();
  }
  counts->blocks += blocks;
  counts->threads += blocks * thread_count;
  launch = NULL;
}

void warp_meeting(const void *value, int site, void (*work)(const uint64_t *)) {
  meet(0xffffffffu, (uint64_t) (uintptr_t) value, site, tile_work, work);
}

} // namespace emu

using namespace emu;

/* ---- What kernels call ---- */

uint3 emu_thread_idx() {
  return self->index;
}

uint3 emu_block_idx() {
  return block_index;
}

uint3 emu_block_dim() {
  return {launch->block.x, launch->block.y, launch->block.z};
}

uint3 emu_grid_dim() {
  return {launch->grid.x, launch->grid.y, launch->grid.z};
}

unsigned emu_lane() {
  return self->lane;
}

int emu_syncthreads(int site, bool value) {
  if (!at_barrier)
    barrier_site = site;
  else if (barrier_site != site)
    report("divergent __syncthreads: threads of a block meet at different "
           "calls");
  barrier_votes += value;
  if (++at_barrier == alive) {
    self->state = AT_BARRIER;
    release_barrier(); /* also of this thread: it takes its turn */
    Thread *me = self, *next = pick();
    if (next != me)
      go_on(me->fiber, next);
  } else {
    block_thread(AT_BARRIER);
  }
  return barrier_result;
}

void emu_syncwarp(unsigned mask, int site) {
  meet(mask, 0, site, order_memory);
}

uint64_t emu_shuffle(unsigned mask, uint64_t value, unsigned from, int site) {
  self->from = from;
  return meet(mask, value, site, shuffle);
}

unsigned emu_ballot(unsigned mask, bool value, int site) {
  return (unsigned) meet(mask, value, site, ballot);
}

/* The same place in all blocks of a launch. */
void *emu_shared(const void *key, size_t bytes, size_t alignment) {
  for (const Variable &v : variables)
    if (v.key == key)
      return shared_memory + v.offset;
  size_t at = (shared_top + RED_ZONE + alignment - 1) / alignment * alignment;
  shared_reserve(at, bytes);
  variables.push_back({key, at});
  if (at + bytes - launch->shared_bytes > 48 << 10)
    report("more than 48 KiB of static shared memory");
  return shared_memory + at;
}

void *emu_dynamic_shared() {
  return shared_memory;
}

void emu_atomic(const void *p, size_t bytes) {
  access(p, bytes, true, true);
}

void *emu_copy_bytes(void *to, const void *from, size_t bytes) {
  access(from, bytes, false, false);
  access(to, bytes, true, false);
  return (memcpy) (to, from, bytes);
}

void *emu_set_bytes(void *to, int value, size_t bytes) {
  access(to, bytes, true, false);
  return (memset) (to, value, bytes);
}

void emu_count_macs(uint64_t macs) {
  counts->other_macs += macs;
}
