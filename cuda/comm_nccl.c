/* SPDX-License-Identifier: BSD-3-Clause */
#include "cuda/comm_nccl.h"

#include "base/clock.h"
#include "base/memory.h"
#include "comm/agree.h"
#include "comm/chain.h"
#include "cuda/cuda_inside.h"
#include "cuda/nccl_library.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST_KEPT = 8 };

typedef struct nccl_comm {
  zt_comm base; /* node_of is the host's */
  zt_device *dev;
  const zt_nccl *nccl;
  ncclComm_t handle;
  int64_t limit;       /* ns, 0: none */
  char newest[64];     /* what was queued last, for messages */
  cudaStream_t stream; /* of all communication, in order */
  cudaEvent_t computed, reduced[2], gathered[ZT_COMM_SLOTS];
  struct {
    void *p, *handle;
  } kept[MOST_KEPT]; /* memory that is registered; p NULL: free */
} nccl_comm;

/* ---- Errors and waiting ---- */

/* An error comes when it comes: that it was the newest call is not known. */
static zt_status fail_nccl(const nccl_comm *c, ncclResult_t result) {
  if (result == ncclRemoteError)
    return zt_fail(ZT_ERR_UNAVAILABLE,
                   "NCCL: another rank is gone or out of reach (in %s)",
                   c->newest);
  return zt_fail(ZT_ERR_UNAVAILABLE,
                 "NCCL failed in %s, or before: %.60s; do all ranks run the "
                 "same? NCCL_DEBUG=WARN tells more",
                 c->newest, c->nccl->ncclGetErrorString(result));
}

static zt_status check_clock(const nccl_comm *c, int64_t waited) {
  if (c->limit == 0 || waited < c->limit)
    return ZT_OK;
  return zt_fail(ZT_ERR_HANG,
                 "no answer from the other ranks for %.0f s (in %s)",
                 1e-9 * (double) waited, c->newest);
}

/* A call on a communicator that does not block may still be in progress, during
 * which nothing else may be called. */
static zt_status settle(const nccl_comm *c, ncclResult_t result) {
  const struct timespec nap = {.tv_nsec = 20000};
  int64_t began = zt_clock_ns();
  while (result == ncclInProgress) {
    ncclResult_t asked = c->nccl->ncclCommGetAsyncError(c->handle, &result);
    if (asked != ncclSuccess)
      return fail_nccl(c, asked);
    ZT_TRY(check_clock(c, zt_clock_ns() - began));
    if (result == ncclInProgress)
      nanosleep(&nap, NULL);
  }
  return result == ncclSuccess ? ZT_OK : fail_nccl(c, result);
}

/* While the host waits for the device: whether what it waits for can come. */
static zt_status watch(void *context, int64_t waited) {
  const nccl_comm *c = context;
  ncclResult_t state = ncclSuccess;
  ncclResult_t asked = c->nccl->ncclCommGetAsyncError(c->handle, &state);
  if (asked != ncclSuccess)
    state = asked;
  if (state != ncclSuccess && state != ncclInProgress)
    return fail_nccl(c, state);
  return check_clock(c, waited);
}

/* The second stream goes on when the first has done what is queued there. */
static zt_status follow(cudaStream_t first, cudaEvent_t event,
                        cudaStream_t second) {
  ZT_TRY(zt_cuda_check(cudaEventRecord(event, first), "event"));
  return zt_cuda_check(cudaStreamWaitEvent(second, event, 0), "event");
}

/* ---- Collectives ---- */

static void name_newest(nccl_comm *c, const char *what, size_t bytes) {
  snprintf(c->newest, sizeof c->newest, "%s of %zu bytes a rank", what, bytes);
}

static zt_status nccl_gather_start(zt_comm *comm, int slot, const void *slice,
                                   void *full, size_t bytes) {
  nccl_comm *c = (nccl_comm *) comm;
  cudaStream_t compute = zt_device_cuda_stream(c->dev);
  name_newest(c, "an all-gather", bytes);
  /* What is sent may just be computed; what is written over may be in use. */
  ZT_TRY(follow(compute, c->computed, c->stream));
  ZT_TRY(settle(c, c->nccl->ncclAllGather(slice, full, bytes, ncclUint8,
                                          c->handle, c->stream)));
  return zt_cuda_check(cudaEventRecord(c->gathered[slot], c->stream), "event");
}

static zt_status nccl_gather_wait(zt_comm *comm, int slot) {
  nccl_comm *c = (nccl_comm *) comm;
  return zt_cuda_check(
      cudaStreamWaitEvent(zt_device_cuda_stream(c->dev), c->gathered[slot], 0),
      "event");
}

/* Elements at .. at + n - 1 of every slice, straight to their owners. */
static zt_status exchange(const nccl_comm *c, const zt_fold *call, int64_t at,
                          int64_t n, int64_t room) {
  const zt_nccl *nccl = c->nccl;
  int rank = c->base.rank, size = c->base.size;
  ncclResult_t result = nccl->ncclGroupStart();
  for (int r = 0; r < call->contributors && result == ncclSuccess; r++)
    if (r != rank)
      result = nccl->ncclRecv(call->staging + r * room, (size_t) n, ncclFloat32,
                              r, c->handle, c->stream);
  for (int i = 1; call->gradient && i < size && result == ncclSuccess; i++) {
    int owner = (rank + i) % size;
    result =
        nccl->ncclSend(call->gradient + owner * call->slice + at, (size_t) n,
                       ncclFloat32, owner, c->handle, c->stream);
  }
  ncclResult_t end = nccl->ncclGroupEnd();
  return settle(c, result == ncclSuccess ? end : result);
}

/* What goes on in a tick beside the sum. */
static zt_status move(const nccl_comm *c, const zt_chain_tick *now) {
  const zt_nccl *nccl = c->nccl;
  ncclResult_t result = nccl->ncclGroupStart();
  for (int i = 0; i < now->n_moves && result == ncclSuccess; i++) {
    const zt_chain_move *m = &now->moves[i];
    result = m->send ? nccl->ncclSend(m->data, (size_t) m->n, ncclFloat32,
                                      m->peer, c->handle, c->stream)
                     : nccl->ncclRecv(m->data, (size_t) m->n, ncclFloat32,
                                      m->peer, c->handle, c->stream);
  }
  ncclResult_t end = nccl->ncclGroupEnd();
  return settle(c, result == ncclSuccess ? end : result);
}

/* Carrier `chain`: the moves of a tick wait for the sum of the tick before it,
 * and the sum for the moves before it. */
static zt_status fold_by_chain(nccl_comm *c, const zt_fold *call) {
  cudaStream_t compute = zt_device_cuda_stream(c->dev);
  int64_t ticks = zt_chain_ticks(&c->base, call);
  zt_chain_tick now;
  for (int64_t tick = 0; tick < ticks; tick++) {
    zt_chain_at(&c->base, call, tick, &now);
    ZT_TRY(follow(compute, c->computed, c->stream));
    if (tick > 0)
      ZT_TRY(zt_cuda_check(
          cudaStreamWaitEvent(compute, c->reduced[(tick - 1) % 2], 0),
          "event"));
    if (now.n_moves > 0)
      ZT_TRY(move(c, &now));
    ZT_TRY(zt_cuda_check(cudaEventRecord(c->reduced[tick % 2], c->stream),
                         "event"));
    if (now.n_sum > 0)
      ZT_TRY(call->add(call->context, now.n_sum, now.sum, now.gradient));
  }
  return zt_cuda_check(
      cudaStreamWaitEvent(compute, c->reduced[(ticks - 1) % 2], 0), "event");
}

/* Carrier `flat`, as over MPI.  The additions run on the device's stream, so
 * the next exchange waits for them. */
static zt_status nccl_fold(zt_comm *comm, const zt_fold *call) {
  nccl_comm *c = (nccl_comm *) comm;
  cudaStream_t compute = zt_device_cuda_stream(c->dev);
  if (comm->size == 1)
    return call->add(call->context, call->slice, call->accumulator,
                     call->gradient);
  name_newest(c, "a reduction", (size_t) call->slice * sizeof(float));
  if (comm->chain)
    return fold_by_chain(c, call);
  int64_t room = (int64_t) (zt_comm_fold_staging(comm) / sizeof(float)) /
                 call->contributors;
  for (int64_t at = 0; at < call->slice; at += room) {
    int64_t n = call->slice - at < room ? call->slice - at : room;
    ZT_TRY(follow(compute, c->computed, c->stream));
    ZT_TRY(exchange(c, call, at, n, room));
    ZT_TRY(follow(c->stream, c->reduced[0], compute));
    for (int r = 0; r < call->contributors; r++) {
      const float *piece = r == comm->rank
                               ? call->gradient + r * call->slice + at
                               : call->staging + r * room;
      ZT_TRY(call->add(call->context, n, call->accumulator + at, piece));
    }
  }
  return ZT_OK;
}

/* ---- Memory ---- */

#ifdef ZT_NCCL_REGISTERS
static int place_of(const nccl_comm *c, const void *p) {
  int i = 0;
  while (i < MOST_KEPT && c->kept[i].p != p)
    i++;
  return i;
}

/* Registered memory is moved without copies through NCCL's own buffers.  It has
 * to be so on all ranks or on none; they run one library. */
static zt_status nccl_allocate(zt_comm *comm, size_t bytes, void **p) {
  nccl_comm *c = (nccl_comm *) comm;
  const zt_nccl *nccl = c->nccl;
  int i = place_of(c, NULL);
  if (!nccl->ncclCommRegister || !nccl->ncclCommDeregister ||
      !nccl->ncclMemAlloc || !nccl->ncclMemFree || comm->size == 1 ||
      bytes == 0 || i == MOST_KEPT)
    return zt_device_allocate(c->dev, bytes, p);
  ZT_TRY(zt_fault_check(ZT_FAULT_ALLOC));
  if (nccl->ncclMemAlloc(p, bytes) != ncclSuccess) {
    *p = NULL;
    return zt_cuda_no_memory(bytes);
  }
  snprintf(c->newest, sizeof c->newest, "registering %zu bytes", bytes);
  ncclResult_t result =
      nccl->ncclCommRegister(c->handle, *p, bytes, &c->kept[i].handle);
  zt_status status = settle(c, result);
  if (status == ZT_OK) {
    c->kept[i].p = *p;
  } else {
    nccl->ncclMemFree(*p);
    *p = NULL;
  }
  return status;
}

/* Nothing may be under way from or to it. */
static void nccl_release(zt_comm *comm, void *p, size_t bytes) {
  nccl_comm *c = (nccl_comm *) comm;
  int i = place_of(c, p);
  if (i == MOST_KEPT) {
    zt_device_release(c->dev, p, bytes);
    return;
  }
  if (cudaEventRecord(c->computed, c->stream) == cudaSuccess &&
      zt_device_cuda_wait(c->dev, c->computed) == ZT_OK) {
    c->nccl->ncclCommDeregister(c->handle, c->kept[i].handle);
    c->nccl->ncclMemFree(p);
  }
  c->kept[i].p = NULL;
}
#endif

/* ---- The end ---- */

static void nccl_abort(zt_comm *comm, int exit_code) {
  nccl_comm *c = (nccl_comm *) comm;
  if (c->handle)
    c->nccl->ncclCommAbort(c->handle);
  comm->host->ops->abort(comm->host, exit_code);
}

static void nccl_destroy(zt_comm *comm) {
  nccl_comm *c = (nccl_comm *) comm;
  zt_device_cuda_watch(c->dev, NULL, NULL);
  if (c->handle) {
    snprintf(c->newest, sizeof c->newest, "its end");
    zt_status status = settle(c, c->nccl->ncclCommFinalize(c->handle));
    if (status == ZT_OK)
      c->nccl->ncclCommDestroy(c->handle);
    else
      c->nccl->ncclCommAbort(c->handle);
  }
  for (int i = 0; i < ZT_COMM_SLOTS; i++)
    if (c->gathered[i])
      cudaEventDestroy(c->gathered[i]);
  if (c->computed)
    cudaEventDestroy(c->computed);
  for (int i = 0; i < 2; i++)
    if (c->reduced[i])
      cudaEventDestroy(c->reduced[i]);
  if (c->stream)
    cudaStreamDestroy(c->stream);
  free(c);
}

static const zt_comm_ops nccl_ops = {
    .name = "nccl",
    .all_gather_start = nccl_gather_start,
    .all_gather_wait = nccl_gather_wait,
    .fold = nccl_fold,
#ifdef ZT_NCCL_REGISTERS
    .allocate = nccl_allocate,
    .release = nccl_release,
#endif
    .abort = nccl_abort,
    .destroy = nccl_destroy,
};

/* ---- Creation ---- */

static zt_status make_stream(nccl_comm *c) {
  enum { EVENTS = 3 + ZT_COMM_SLOTS };
  cudaEvent_t *events[EVENTS] = {&c->computed, &c->reduced[0], &c->reduced[1]};
  for (int i = 0; i < ZT_COMM_SLOTS; i++)
    events[3 + i] = &c->gathered[i];
  for (int i = 0; i < EVENTS; i++)
    ZT_TRY(zt_cuda_check(
        cudaEventCreateWithFlags(events[i], cudaEventDisableTiming), "event"));
  return zt_cuda_check(
      cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "stream");
}

/* The rank that makes the identifier serves the others' start, so it must be
 * one that stays. */
static zt_status prepare(nccl_comm *c, ncclUniqueId *id) {
  ZT_TRY(zt_nccl_load(&c->nccl));
  ZT_TRY(make_stream(c));
  if (c->base.rank != 0)
    return ZT_OK;
  ncclResult_t result = c->nccl->ncclGetUniqueId(id);
  return result == ncclSuccess ? ZT_OK : fail_nccl(c, result);
}

static zt_status start(nccl_comm *c, const ncclUniqueId *id) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0; /* else it could not be aborted */
  ncclResult_t result = c->nccl->ncclCommInitRankConfig(
      &c->handle, c->base.size, *id, c->base.rank, &config);
  return settle(c, result);
}

const char *zt_comm_nccl_version(void) {
  return ZT_TEXT(NCCL_MAJOR) "." ZT_TEXT(NCCL_MINOR) "." ZT_TEXT(NCCL_PATCH);
}

zt_status zt_comm_nccl_create(zt_comm *host, zt_device *dev, double limit,
                              zt_comm **comm) {
  ncclUniqueId id;
  nccl_comm *c = zt_calloc(1, sizeof *c);
  zt_status status = ZT_ERR_MEMORY;
  if (c) {
    c->base = (zt_comm){.ops = &nccl_ops,
                        .rank = host->rank,
                        .size = host->size,
                        .node_of = host->node_of,
                        .host = host};
    c->dev = dev;
    snprintf(c->newest, sizeof c->newest, "its start");
    c->limit = (int64_t) (1e9 * limit);
    status = prepare(c, &id);
  }
  status = zt_agree(host, status);
  if (status == ZT_OK)
    status = zt_comm_broadcast(host, &id, sizeof id, 0);
  if (status == ZT_OK)
    status = zt_agree(host, start(c, &id));
  if (status == ZT_OK) {
    zt_device_cuda_watch(dev, watch, c);
    *comm = &c->base;
  } else if (c) {
    if (c->handle)
      c->nccl->ncclCommAbort(c->handle);
    c->handle = NULL;
    nccl_destroy(&c->base);
  }
  return status;
}
