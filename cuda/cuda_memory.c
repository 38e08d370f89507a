/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of the GPU, copies, and waiting.
 *
 * All host memory goes through pinned buffers of fixed size: the driver's own
 * staging of pageable memory would wait in ways we cannot watch.  A thread that
 * saves beside the run has a stream of its own, so that it does not wait for
 * what is computed meanwhile. */
#include "cuda/cuda_inside.h"

#include "base/beat.h"
#include "base/clock.h"

#include <sched.h>
#include <string.h>
#include <time.h>

/* ---- Waiting ---- */

/* Polls soon give up their turn, then sleep: ranks may share cores with the
 * threads of NCCL. */
static void pause_between(long polls) {
  enum { SPINS = 100, YIELDS = 1000 };
  const struct timespec nap = {.tv_nsec = 20000};
  if (polls > YIELDS)
    nanosleep(&nap, NULL);
  else if (polls > SPINS)
    sched_yield();
}

zt_status zt_device_cuda_wait(zt_device *dev, cudaEvent_t event) {
  enum { LONG = 1000000000 }; /* ns: reports of a hang shall have it */
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  bool watched = cuda->watch && pthread_equal(pthread_self(), cuda->owner);
  int64_t began = zt_clock_ns();
  bool told = false;
  for (long polls = 0;; polls++) {
    cudaError_t error = cudaEventQuery(event);
    if (error == cudaSuccess)
      return ZT_OK;
    if (error != cudaErrorNotReady)
      return zt_cuda_check(error, "waiting for the GPU");
    int64_t waited = watched ? zt_clock_ns() - began : 0;
    if (waited > LONG && !told) {
      zt_beat("waiting for the GPU");
      told = true;
    }
    if (watched)
      ZT_TRY(cuda->watch(cuda->watch_context, waited));
    pause_between(polls);
  }
}

static zt_status wait_stream(zt_cuda_device *cuda, cudaStream_t stream,
                             cudaEvent_t event) {
  ZT_TRY(zt_cuda_check(cudaEventRecord(event, stream), "event"));
  return zt_device_cuda_wait(&cuda->base, event);
}

zt_status zt_cuda_wait(zt_device *dev) {
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  return wait_stream(cuda, cuda->compute, cuda->reached);
}

/* ---- Lanes ---- */

static zt_status open_lane(zt_cuda_lane *lane, cudaStream_t stream) {
  lane->stream = stream;
  for (int i = 0; i < 2; i++)
    ZT_TRY(zt_cuda_check(
        cudaEventCreateWithFlags(&lane->sent[i], cudaEventDisableTiming),
        "event"));
  return zt_cuda_check(
      cudaMallocHost((void **) &lane->pinned, 2 * ZT_CUDA_HALF),
      "pinned memory");
}

static void close_lane(zt_cuda_lane *lane) {
  if (lane->pinned)
    cudaFreeHost(lane->pinned);
  for (int i = 0; i < 2; i++)
    if (lane->sent[i])
      cudaEventDestroy(lane->sent[i]);
}

zt_status zt_cuda_memory_open(zt_cuda_device *cuda) {
  cudaStream_t beside;
  cuda->owner = pthread_self();
  pthread_mutex_init(&cuda->lock, NULL);
  ZT_TRY(zt_cuda_check(
      cudaStreamCreateWithFlags(&cuda->compute, cudaStreamNonBlocking),
      "stream"));
  ZT_TRY(zt_cuda_check(
      cudaStreamCreateWithFlags(&beside, cudaStreamNonBlocking), "stream"));
  cuda->beside.stream = beside;
  ZT_TRY(zt_cuda_check(
      cudaEventCreateWithFlags(&cuda->reached, cudaEventDisableTiming),
      "event"));
  ZT_TRY(open_lane(&cuda->lane, cuda->compute));
  ZT_TRY(open_lane(&cuda->beside, beside));
  return zt_cuda_check(cudaMalloc(&cuda->scratch, ZT_CUDA_SCRATCH),
                       "device memory");
}

void zt_cuda_memory_close(zt_cuda_device *cuda) {
  close_lane(&cuda->lane);
  close_lane(&cuda->beside);
  if (cuda->scratch)
    cudaFree(cuda->scratch);
  if (cuda->reached)
    cudaEventDestroy(cuda->reached);
  if (cuda->beside.stream)
    cudaStreamDestroy(cuda->beside.stream);
  if (cuda->compute)
    cudaStreamDestroy(cuda->compute);
  pthread_mutex_destroy(&cuda->lock);
}

/* ---- Copies ---- */

/* The next half, when the device has read what was in it. */
static zt_status turn(zt_cuda_device *cuda, zt_cuda_lane *lane) {
  ZT_TRY(zt_cuda_check(cudaEventRecord(lane->sent[lane->half], lane->stream),
                       "event"));
  lane->half = !lane->half;
  lane->used = 0;
  return zt_device_cuda_wait(&cuda->base, lane->sent[lane->half]);
}

/* Returns when the host's memory has been read; small pieces share a half. */
static zt_status send(zt_cuda_device *cuda, zt_cuda_lane *lane, char *to,
                      const char *from, size_t bytes) {
  while (bytes > 0) {
    if (lane->used == ZT_CUDA_HALF)
      ZT_TRY(turn(cuda, lane));
    size_t room = ZT_CUDA_HALF - lane->used, n = bytes < room ? bytes : room;
    char *pinned = lane->pinned + lane->half * ZT_CUDA_HALF + lane->used;
    memcpy(pinned, from, n);
    ZT_TRY(zt_cuda_check(
        cudaMemcpyAsync(to, pinned, n, cudaMemcpyHostToDevice, lane->stream),
        "copy to the GPU"));
    lane->used += n;
    to += n;
    from += n;
    bytes -= n;
  }
  return ZT_OK;
}

/* One half arrives while the other is copied out. */
static zt_status receive(zt_cuda_device *cuda, zt_cuda_lane *lane, char *to,
                         const char *from, size_t bytes) {
  size_t asked = 0, got = 0, size[2] = {0, 0};
  /* What was sent from the buffer is read before it is written: one stream. */
  for (int half = 0; got < bytes; half = !half) {
    for (int i = 0; i < 2 && asked < bytes; i++) {
      int next = i ? !half : half;
      if (size[next] > 0)
        continue;
      size_t left = bytes - asked;
      size[next] = left < ZT_CUDA_HALF ? left : ZT_CUDA_HALF;
      ZT_TRY(zt_cuda_check(
          cudaMemcpyAsync(lane->pinned + next * ZT_CUDA_HALF, from + asked,
                          size[next], cudaMemcpyDeviceToHost, lane->stream),
          "copy from the GPU"));
      ZT_TRY(zt_cuda_check(cudaEventRecord(lane->sent[next], lane->stream),
                           "event"));
      asked += size[next];
    }
    ZT_TRY(zt_device_cuda_wait(&cuda->base, lane->sent[half]));
    memcpy(to + got, lane->pinned + half * ZT_CUDA_HALF, size[half]);
    got += size[half];
    size[half] = 0;
  }
  lane->half = 0; /* the stream has been waited for: both are free */
  lane->used = 0;
  return ZT_OK;
}

/* The lane of the calling thread; others than the owner have to select the
 * device first. */
static zt_cuda_lane *take_lane(zt_cuda_device *cuda) {
  if (pthread_equal(pthread_self(), cuda->owner))
    return &cuda->lane;
  pthread_mutex_lock(&cuda->lock);
  cudaSetDevice(cuda->ordinal);
  return &cuda->beside;
}

static void leave_lane(zt_cuda_device *cuda, const zt_cuda_lane *lane) {
  if (lane == &cuda->beside)
    pthread_mutex_unlock(&cuda->lock);
}

/* What the owner has queued may write there too.  A download does not wait: it
 * would stand still for the step that is computed meanwhile, and who saves has
 * waited for what is saved. */
static zt_status follow_owner(zt_cuda_device *cuda, const zt_cuda_lane *lane) {
  cudaEvent_t event = lane->sent[lane->half]; /* has been waited for */
  ZT_TRY(zt_cuda_check(cudaEventRecord(event, cuda->compute), "event"));
  return zt_cuda_check(cudaStreamWaitEvent(lane->stream, event, 0), "event");
}

zt_status zt_cuda_upload(zt_device *dev, void *to, const void *from_host,
                         size_t bytes) {
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  zt_cuda_lane *lane = take_lane(cuda);
  zt_status status = ZT_OK;
  if (lane == &cuda->beside)
    status = follow_owner(cuda, lane);
  if (status == ZT_OK)
    status = send(cuda, lane, to, from_host, bytes);
  if (status == ZT_OK && lane == &cuda->beside)
    status = wait_stream(cuda, lane->stream, lane->sent[lane->half]);
  leave_lane(cuda, lane);
  return status;
}

zt_status zt_cuda_download(zt_device *dev, void *to_host, const void *from,
                           size_t bytes) {
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  zt_cuda_lane *lane = take_lane(cuda);
  zt_status status = receive(cuda, lane, to_host, from, bytes);
  leave_lane(cuda, lane);
  return status;
}

zt_status zt_cuda_copy(zt_device *dev, void *to, const void *from,
                       size_t bytes) {
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  if (bytes == 0)
    return ZT_OK;
  return zt_cuda_check(
      cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, cuda->compute),
      "copy");
}

zt_status zt_cuda_zero(zt_device *dev, void *to, size_t bytes) {
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  if (bytes == 0)
    return ZT_OK;
  return zt_cuda_check(cudaMemsetAsync(to, 0, bytes, cuda->compute), "zero");
}

/* ---- Memory ---- */

zt_status zt_cuda_no_memory(size_t bytes) {
  size_t available = 0, total = 0;
  cudaGetLastError(); /* it is no longer the last one */
  cudaMemGetInfo(&available, &total);
  return zt_fail(ZT_ERR_MEMORY,
                 "the GPU has no memory for %zu MiB, %zu of %zu MiB are "
                 "free; use more GPUs, train.recompute = true or a smaller "
                 "train.microbatch",
                 bytes >> 20, available >> 20, total >> 20);
}

zt_status zt_cuda_allocate(zt_device *dev, size_t bytes, void **p) {
  (void) dev;
  cudaError_t error = cudaMalloc(p, bytes ? bytes : 1);
  return error == cudaErrorMemoryAllocation
             ? zt_cuda_no_memory(bytes)
             : zt_cuda_check(error, "device memory");
}

/* Of one that only plans nothing is known. */
size_t zt_cuda_free_memory(zt_device *dev) {
  size_t available = 0, total = 0;
  if (!((zt_cuda_device *) dev)->scratch ||
      cudaMemGetInfo(&available, &total) != cudaSuccess) {
    cudaGetLastError();
    return SIZE_MAX;
  }
  return available;
}

void zt_cuda_release(zt_device *dev, void *p, size_t bytes) {
  (void) dev, (void) bytes;
  cudaFree(p);
}
