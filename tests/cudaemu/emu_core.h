/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the parts of the double share.  The whole device runs on the host
 *  thread that waits for it, so a run is repeated exactly by its seed; one lock
 *  (Call) keeps other host threads out.
 *
 *  - emu_report: settings, reports, counters
 *  - emu_memory: the arena, pinned memory
 *  - emu_shadow: who touched what, and whether that is in order
 *  - emu_fiber: blocks of threads
 *  - emu_tile: wmma
 *  - emu_stream: queues, events, clocks
 *  - emu_runtime: the rest of the CUDA runtime
 *  - emu_gemm, emu_cublaslt: matrix products, and the API to them
 *  - emu_link, emu_collective, emu_nccl: files that ranks share, what the
 *    operations of NCCL do, and the API to them
 *  - emu_mpi: the device goes on while the host waits in MPI */
#ifndef ZT_CUDAEMU_EMU_CORE_H
#define ZT_CUDAEMU_EMU_CORE_H

#include "emu.h"

#include <cuda_runtime_api.h>

#include <functional>
#include <stddef.h>
#include <stdint.h>
#include <string>
#include <vector>

namespace emu {

/* ---- emu_report ---- */

struct Settings {
  unsigned seed;
  emu_schedule schedule;
  emu_order threads;
  bool check;
  int devices;
  size_t memory;
  int rank; /* as the launcher numbers processes; 0 without one */
  std::string fail, directory, report;
  long fail_at; /* which call, 0: none */
  bool silent;
};
Settings &settings();
/** Whether kernels are instrumented and the detectors on. */
bool checking();

/** Count and print; the same text is printed once. */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** The end: for what a device would not come back from. */
[[noreturn]] void give_up(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
/** What reports name: an operation, or "host". */
extern const char *context;
unsigned draw();
/** A copy of the name that stays. */
const char *intern(const std::string &name);

/** Counters of the operation that runs; never NULL. */
extern emu_counts *counts;
emu_counts *counts_of(const char *name);
void count_sent(int peer, uint64_t bytes);

/** Every function of the API holds one of these. */
class Call {
public:
  explicit Call(const char *name, bool allocates = false);
  ~Call();
  bool fails; /* the test wants it to */
};

/* ---- emu_stream ---- */

typedef std::vector<uint32_t> Clock; /* [stream] number of its last known op */

struct Range {
  const void *p;
  size_t bytes;
  bool write;
};
struct Op {
  uint64_t id;
  int stream;
  uint32_t number; /* within its stream, from 1 */
  Clock clock;
  const char *name;
  std::function<bool()> run;   /* true: done; else it is called again */
  std::function<bool()> ready; /* empty: at once */
  std::vector<Range> ranges;   /* touched when it starts */
  bool started, silent;        /* silent: not counted */
};
extern Op *current_op; /* NULL: the host */

/** Queue an operation.  `ranges` are checked when it starts.  The caller may
 *  change what it gets, and calls enqueued() then. */
Op *enqueue(const char *name, cudaStream_t stream, std::function<bool()> run,
            std::vector<Range> ranges = {});
void enqueued();
/** True if the op with this number on this stream is ordered before `current`,
 *  or before the host if there is no current one. */
bool is_ordered(int stream, uint32_t number);
/** Whether something queued has still to read some of this memory. */
bool is_read_later(const void *p, size_t bytes);
/** The time before which all that ran is ordered before the current op. */
uint64_t ordered_until();
/** Wait on the host until `done`. */
void host_wait(const std::function<bool()> &done, int stream);
/** Host and stream know all that the stream has queued. */
void stream_wait(cudaStream_t stream);
void all_wait();
/** Wakes the device a little; `stream` is what is asked for, -1: none. */
bool progress(int stream);

/* ---- emu_memory ---- */

bool on_device(const void *p);
/** Bytes from p to the end of its allocation, 0: freed or none. */
size_t allocated(const void *p);
void *device_allocate(size_t bytes);
/** It is there from now on (in an op, or for the host), filled with NaN. */
void device_ready(void *p);
/** Cell::write of memory there that was not touched yet; 0: freed or none. */
uint64_t fresh_word(const void *p);
/** \return false if there is nothing to free. */
bool device_free(void *p);
void memory_info(size_t *free_bytes, size_t *total);
/** Between these the host may touch the arena; they nest. */
void arena_open();
void arena_close();

bool is_pinned(const void *p);
void *pinned_allocate(size_t bytes);
bool pinned_free(void *p);
void pinned_register(void *p, size_t bytes);
bool pinned_unregister(void *p);
/** From now on until the host knows of the op: reading (if `write` is the
 *  device's) or changing the range is an error. */
void in_flight(void *p, size_t bytes, bool device_writes, int stream,
               uint32_t number);
/** The host has learned something: end what it knows of. */
void in_flight_check();
void in_flight_lift(const void *p, size_t bytes, bool lift);

/* ---- emu_shadow ---- */

/** Two bytes of memory.  write: time << 16 | thread << 6 | byte mask << 4 |
 *  atomic << 3 | allocated << 2 | initialised mask; read: time << 16 | thread
 *  << 6 | byte mask << 4 | flags. */
struct Cell {
  uint64_t write, read;
};
struct Arena {
  char *base;
  size_t size, top;
  Cell *cells;
};
extern Arena arena;

/** The times that order accesses: what is earlier than a floor is known. */
struct Times {
  uint64_t now, op_start, block_start, floor;
  uint64_t warp_floor[32];
};
extern Times times;

/** The CUDA thread that runs from now on. */
void shadow_thread(unsigned number);
void shadow_op_start(const Op *op);
void shadow_block_start();
void shadow_barrier();
void shadow_syncwarp(unsigned warp, unsigned mask, bool all);
void shadow_range(const Range &range);
/** Cell::write of memory that the running operation, or the host, allocates. */
uint64_t shadow_fresh();
/** An access of the running CUDA thread. */
void access(const void *p, size_t bytes, bool write, bool atomic);

/* ---- emu_fiber ---- */

struct Thread;
/* The running CUDA thread, NULL: host code.  One thread of the host may launch
 * while another waits, and so runs kernels. */
extern __thread Thread *self;
extern uintptr_t stack_low;
enum : size_t { STACK_BYTES = 64 << 10, SHARED_BYTES = 256 << 10 };
extern char shared_memory[SHARED_BYTES];

struct Launch {
  const char *name;
  dim3 grid, block;
  size_t shared_bytes;
  void (*call)(void *);
  void *parameters;
  size_t parameter_bytes;
};
extern const Launch *launch; /* the running one */
void run_kernel(const Launch &kernel);
bool in_fiber_stack(const void *p);
Cell *shared_cells(); /* of shared_memory */

/** All 32 lanes of the warp of `self` meet; the last one calls `work` with what
 *  each gave. */
void warp_meeting(const void *value, int site, void (*work)(const uint64_t *));

/* ---- emu_runtime ---- */

cudaError_t set_error(cudaError_t error);
int current_device();

} // namespace emu

#endif
