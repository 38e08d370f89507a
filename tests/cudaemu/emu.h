/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A double of CUDA, cuBLASLt and NCCL for tests: kernels run on the CPU, and
 *  what they do is watched.  This header is how a test steers it; the program
 *  under test sees only NVIDIA's own headers.
 *
 *  What is reported (to stderr as "cudaemu: ...", counted; a process that ends
 *  with reports does not end with 0):
 *  - kernels with `checked` objects: access out of bounds, to freed memory or
 *    to host memory, reads of what was never written, races between threads
 *    without __syncthreads or __syncwarp between them and between blocks;
 *  - always: divergent barriers, lanes that disagree about a mask, deadlocks in
 *    a kernel, wrong arguments, wrong directions of copies;
 *  - between streams: memory used without an event that orders the uses (by
 *    vector clocks, so in every schedule and not only when it goes wrong);
 *  - on the host: device memory touched, pinned memory read or changed while a
 *    copy is under way;
 *  - NCCL: collectives that differ between ranks, buffers of the host, calls
 *    while a non-blocking communicator is in progress, memory that is freed
 *    while it is registered or registered when the communicator ends.
 *
 *  Not seen, or seen wrongly: order between blocks by __threadfence and atomics
 *  is reported as a race; of neighbouring bytes the last one counts; after
 *  __syncwarp on part of a warp, writes over reads of other lanes pass; time,
 *  occupancy and the memory model of a real device do not exist here.  A
 *  misreading of CUDA's manual that the double shares stays unseen until a GPU
 *  runs the program.
 *
 *  Environment
 *    CUDAEMU_SCHEDULE  fifo, eager, late or random (default): when streams run
 *    CUDAEMU_SEED      of everything random, default 1
 *    CUDAEMU_THREADS   fifo (default), lifo or random: order of threads
 *    CUDAEMU_CHECK     0: no detection, counters or poison
 *    CUDAEMU_DEVICES   number of devices, default 8; 0: none, -1: no driver
 *    CUDAEMU_MEMORY    bytes of each device, default 16 GiB
 *    CUDAEMU_FAIL      FUNCTION:N[:RANK], the N-th call fails; "alloc" is every
 *                      function that allocates
 *    CUDAEMU_DIR       folder of NCCL's shared files; default: the build folder
 *                      (ZT_BUILD), TMPDIR or /tmp
 *    CUDAEMU_NCCL      silent: dead peers and collectives that differ end
 *                      nothing; old: no registration of memory
 *    CUDAEMU_REPORT    file that gets the counters as JSON; %r is the rank */
#ifndef ZT_CUDAEMU_EMU_H
#define ZT_CUDAEMU_EMU_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** When queued work runs.  Fifo, late, random: when the host waits or asks. */
typedef enum emu_schedule {
  EMU_FIFO,  /* in the order of the calls */
  EMU_EAGER, /* at the call */
  EMU_LATE,  /* only what is waited for */
  EMU_RANDOM /* any stream that can; some at once */
} emu_schedule;

/** In which order the threads of a block, and blocks, run. */
typedef enum emu_order {
  EMU_ORDER_FIFO,
  EMU_ORDER_LIFO,
  EMU_ORDER_RANDOM
} emu_order;

/** Instead of the environment; at any time. */
void emu_configure(unsigned seed, emu_schedule schedule, emu_order threads);

/** Whether kernels are instrumented and the detectors on. */
bool emu_checks(void);

/** Whether the host touches device memory is watched at no more than a 20th of
 *  the time; from here on for a while at any price. */
void emu_watch_host(void);

/** Whether a report with this text came since emu_take_reports(). */
bool emu_reported(const char *text);
/** \return number of reports since the last call; they no longer count for the
 *  exit code.  emu_last_report() stays. */
long emu_take_reports(void);
const char *emu_last_report(void);

/** What was counted for kernels or library calls of one name.  Bytes of global
 *  memory: `accessed` by each access; `block` counts a byte once for each block
 *  that touches it (caches below the block's are not), `distinct` once for each
 *  launch, which is the least that any kernel must move. */
typedef struct emu_bytes {
  uint64_t accessed, block, distinct;
} emu_bytes;
typedef struct emu_counts {
  uint64_t launches, blocks, threads;
  emu_bytes read, written;
  uint64_t tensor_macs, other_macs; /* multiply-adds of matrix products */
} emu_counts;

/** Counts of all names that begin with `name`; "" is the sum of all. */
emu_counts emu_count(const char *name);
/** Bytes that NCCL sent from here to a rank. */
uint64_t emu_sent_to(int peer);
void emu_reset_counts(void);

/** Run what is queued, as if time went by.  \return whether anything ran. */
bool emu_progress(void);

#ifdef __cplusplus
}
#endif

#endif
