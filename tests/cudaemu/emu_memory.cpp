// SPDX-License-Identifier: BSD-3-Clause
// Memory.  Device memory is one arena that the host cannot touch while its own
// code runs; addresses are never used twice, so a stale pointer stays stale.
// Pinned memory is whole pages, which are taken away from the host while a copy
// that it has not waited for may use them.
#include "emu_core.h"

#include <map>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

namespace emu {

Arena arena;

namespace {

enum : size_t { PAGE = 4096, RED_ZONE = 256, LARGE = 64 << 10 };
const size_t ARENA_BYTES = (size_t) 1 << 38;

struct Allocation {
  size_t bytes;
  int device;
  uint64_t fresh; /* Cell::write of what was not touched yet, 0: not there */
};
std::map<char *, Allocation> allocations;
std::map<int, size_t> used; /* by device */
std::map<char *, size_t> pinned, registered;
int opened; /* by whom */
bool closed;
long closings;
double spent;
char stack_of_handler[64 << 10];

/* One copy that the host has not waited for: its whole pages. */
struct Flight {
  char *from, *to;
  bool device_writes;
  int stream;
  uint32_t number;
};
std::vector<Flight> flights;

size_t up(size_t n, size_t to) {
  return (n + to - 1) / to * to;
}

double seconds() {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

void *reserve(size_t bytes) {
  void *p = mmap(NULL, bytes, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED)
    give_up("no address space for the arena of the device");
  return p;
}

void protect(const void *p, size_t bytes, int protection) {
  if (bytes && mprotect((void *) p, bytes, protection))
    give_up("mprotect of %zu bytes failed", bytes);
}

int protection_of(const char *page) {
  int protection = PROT_READ | PROT_WRITE;
  for (const Flight &f : flights)
    if (page >= f.from && page < f.to)
      protection &= f.device_writes ? PROT_NONE : PROT_READ;
  return protection;
}

/* Pages from..to as the flights want them; runs of one kind at once. */
void restore(char *from, char *to) {
  while (from < to) {
    int protection = protection_of(from);
    char *end = from + PAGE;
    while (end < to && protection_of(end) == protection)
      end += PAGE;
    protect(from, (size_t) (end - from), protection);
    from = end;
  }
}

/* The host touched what it must not: say so, and let it go on. */
void on_fault(int number, siginfo_t *info, void *) {
  char *p = (char *) info->si_addr;
  if (!self && on_device(p)) {
    report("the host touches device memory %p", (void *) p);
    protect(arena.base, up(arena.top, PAGE), PROT_READ | PROT_WRITE);
    closed = false;
    return;
  }
  for (size_t i = 0; i < flights.size(); i++) {
    Flight f = flights[i];
    if (p < f.from || p >= f.to)
      continue;
    report(f.device_writes ? "the host touches pinned memory before the copy "
                             "into it is done"
                           : "the host changes pinned memory before the copy "
                             "from it is done");
    flights.erase(flights.begin() + (long) i);
    restore(f.from, f.to);
    return;
  }
  if (self)
    give_up("a kernel touches %p: a wild address, or its stack is over "
            "%d KiB",
            (void *) p, (int) (STACK_BYTES >> 10));
  signal(number, SIG_DFL); /* not ours: as if we were not here */
}

void arena_start() {
  if (arena.base)
    return;
  arena.size = ARENA_BYTES;
  arena.base = (char *) reserve(ARENA_BYTES);
  if (checking())
    arena.cells = (Cell *) reserve(ARENA_BYTES / 2 * sizeof(Cell));
  arena.top = RED_ZONE;
  stack_t stack = {};
  stack.ss_sp = stack_of_handler;
  stack.ss_size = sizeof stack_of_handler;
  struct sigaction action = {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  if (sigaltstack(&stack, NULL) || sigaction(SIGSEGV, &action, NULL))
    give_up("no handler for faults");
}

std::map<char *, Allocation>::iterator find(const void *p) {
  auto it = allocations.upper_bound((char *) p);
  if (it == allocations.begin())
    return allocations.end();
  --it;
  return (char *) p < it->first + it->second.bytes ? it : allocations.end();
}

} // namespace

bool on_device(const void *p) {
  return (char *) p >= arena.base && (char *) p < arena.base + arena.size;
}

size_t allocated(const void *p) {
  auto it = find(p);
  if (it == allocations.end())
    return 0;
  return (size_t) (it->first + it->second.bytes - (char *) p);
}

/* Taking the arena away and back costs, the more the larger it is; so it is
 * left with the host once that has taken a twentieth of all time.  In the fast
 * mode it always is. */
void arena_open() {
  if (opened++ || !closed)
    return;
  double from = seconds();
  protect(arena.base, up(arena.top, PAGE), PROT_READ | PROT_WRITE);
  spent += seconds() - from;
  closed = false;
}

void arena_close() {
  if (--opened || !checking() || !arena.base)
    return;
  double from = seconds();
  if (closings > 100 && spent > 0.05 * from)
    return;
  closings++;
  protect(arena.base, up(arena.top, PAGE), PROT_NONE);
  spent += seconds() - from;
  closed = true;
}

void *device_allocate(size_t bytes) {
  arena_start();
  size_t room = up(bytes ? bytes : 1, 256) + RED_ZONE;
  size_t &mine = used[current_device()];
  if (room > settings().memory || mine > settings().memory - room ||
      room > arena.size - arena.top)
    return NULL;
  char *p = arena.base + arena.top;
  arena.top += room;
  mine += room;
  int now = closed ? PROT_NONE : PROT_READ | PROT_WRITE;
  char *page = (char *) ((uintptr_t) p / PAGE * PAGE);
  protect(page, up((size_t) (p + room - page), PAGE), now);
  if (arena.cells) {
    char *first = (char *) (arena.cells + (p - arena.base) / 2);
    page = (char *) ((uintptr_t) first / PAGE * PAGE);
    size_t cells = up(room / 2 * sizeof(Cell) + (size_t) (first - page), PAGE);
    protect(page, cells, PROT_READ | PROT_WRITE);
  }
  allocations[p] = {bytes, current_device(), 0};
  return p;
}

uint64_t fresh_word(const void *p) {
  auto it = find(p);
  return it == allocations.end() ? 0 : it->second.fresh;
}

/* In large memory nothing is touched: pages, and cells eight times as many,
 * come when they are used. */
void device_ready(void *p) {
  auto it = find(p);
  size_t bytes = it->second.bytes;
  it->second.fresh = shadow_fresh();
  if (checking() && bytes >= LARGE)
    return;
  arena_open();
  memset(p, 0xff, bytes);
  arena_close();
}

/* Whole pages go back, and are zero when they are touched again. */
static void wipe(char *p, size_t bytes, int poison) {
  char *from = (char *) up((uintptr_t) p, PAGE);
  char *to = (char *) (((uintptr_t) p + bytes) / PAGE * PAGE);
  if (bytes < LARGE) {
    memset(p, poison, bytes);
    return;
  }
  memset(p, poison, (size_t) (from - p));
  memset(to, poison, (size_t) (p + bytes - to));
  madvise(from, (size_t) (to - from), MADV_DONTNEED);
}

bool device_free(void *p) {
  auto it = allocations.find((char *) p);
  if (it == allocations.end())
    return false;
  size_t bytes = it->second.bytes;
  used[it->second.device] -= up(bytes ? bytes : 1, 256) + RED_ZONE;
  allocations.erase(it);
  arena_open();
  wipe((char *) p, bytes, 0xdd);
  if (arena.cells)
    wipe((char *) (arena.cells + ((char *) p - arena.base) / 2),
         (bytes + 1) / 2 * sizeof(Cell), 0);
  arena_close();
  return true;
}

void memory_info(size_t *free_bytes, size_t *total) {
  *total = settings().memory;
  *free_bytes = *total - used[current_device()];
}

bool is_pinned(const void *p) {
  for (auto *list : {&pinned, &registered}) {
    auto it = list->upper_bound((char *) p);
    if (it != list->begin() && (char *) p < (--it)->first + it->second)
      return true;
  }
  return false;
}

void *pinned_allocate(size_t bytes) {
  size_t room = up(bytes ? bytes : 1, PAGE);
  void *p = mmap(NULL, room, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED)
    return NULL;
  arena_start(); /* for the handler of faults */
  if (bytes < LARGE)
    memset(p, 0xff, bytes);
  pinned[(char *) p] = room;
  return p;
}

bool pinned_free(void *p) {
  auto it = pinned.find((char *) p);
  if (it == pinned.end())
    return false;
  munmap(p, it->second);
  pinned.erase(it);
  return true;
}

void pinned_register(void *p, size_t bytes) {
  registered[(char *) p] = bytes;
}

bool pinned_unregister(void *p) {
  return registered.erase((char *) p) != 0;
}

/* Whole pages only, and only of our own memory: others share the rest. */
void in_flight(void *p, size_t bytes, bool device_writes, int stream,
               uint32_t number) {
  auto it = pinned.upper_bound((char *) p);
  if (!checking() || it == pinned.begin())
    return;
  --it;
  char *end = it->first + it->second, *to = (char *) p + bytes;
  if ((char *) p >= end)
    return;
  if (up((uintptr_t) to, PAGE) == (uintptr_t) end)
    to = end; /* the rest of its last page is nobody's */
  Flight f = {(char *) up((uintptr_t) p, PAGE),
              (char *) ((uintptr_t) to / PAGE * PAGE), device_writes, stream,
              number};
  if (f.from >= f.to)
    return;
  flights.push_back(f);
  restore(f.from, f.to);
}

void in_flight_check() {
  for (size_t i = 0; i < flights.size();) {
    Flight f = flights[i];
    if (!is_ordered(f.stream, f.number)) {
      i++;
      continue;
    }
    flights.erase(flights.begin() + (long) i);
    restore(f.from, f.to);
  }
}

void in_flight_lift(const void *p, size_t bytes, bool lift) {
  if (flights.empty() || !is_pinned(p))
    return;
  char *from = (char *) ((uintptr_t) p / PAGE * PAGE);
  char *to = (char *) up((uintptr_t) p + bytes, PAGE);
  if (lift)
    protect(from, (size_t) (to - from), PROT_READ | PROT_WRITE);
  else
    restore(from, to);
}

} // namespace emu

void emu_watch_host(void) {
  emu::closings = 0;
}
