// SPDX-License-Identifier: BSD-3-Clause
// Streams, events, and what is ordered before what.
//
// An operation has a vector clock: for each stream the number of the last
// operation that is ordered before it.  Clocks join where the API orders
// things: within a stream, at cudaStreamWaitEvent, where the host waits, and at
// a query that says "done".  The queues run when the host waits or asks (or at
// once, if the schedule is eager), in an order that the schedule picks.
#include "emu_core.h"

#include <deque>
#include <memory>
#include <sched.h>
#include <unistd.h>

namespace emu {
namespace {

struct Stream {
  int index, device;
  bool blocking; /* with the legacy default stream */
  bool destroyed;
  uint32_t queued, done; /* numbers */
  Clock clock;           /* after its last queued op */
  std::deque<std::unique_ptr<Op>> queue;
  std::vector<uint64_t> times; /* [number - 1] when each op started */
};

struct Event {
  int stream; /* -1: never recorded */
  uint32_t number;
  Clock clock;
  int device;
};

std::vector<Stream *> streams;
Clock host_clock;
uint64_t last_id;

void join(Clock &to, const Clock &from) {
  if (to.size() < from.size())
    to.resize(from.size());
  for (size_t i = 0; i < from.size(); i++)
    to[i] = from[i] > to[i] ? from[i] : to[i];
}

Stream *stream_new(bool blocking) {
  Stream *s = new Stream();
  s->index = (int) streams.size();
  s->device = current_device();
  s->blocking = blocking;
  streams.push_back(s);
  return s;
}

Stream *stream_of(cudaStream_t stream) {
  if (streams.empty())
    stream_new(true);
  if (!stream || stream == cudaStreamLegacy || stream == cudaStreamPerThread)
    return streams[0];
  Stream *s = (Stream *) stream;
  if (s->destroyed)
    report("use of a stream that was destroyed");
  if (s->device != current_device())
    report("use of a stream of device %d while device %d is current", s->device,
           current_device());
  return s;
}

/* The default stream waits for the blocking ones, and they for it. */
bool legacy_allows(const Stream *s, const Op *op) {
  if (!s->blocking)
    return true;
  for (const Stream *t : streams)
    if (t != s && t->blocking && (s->index == 0 || t->index == 0) &&
        !t->queue.empty() && t->queue.front()->id < op->id)
      return false;
  return true;
}

void start(Stream *s, Op *op) {
  op->started = true;
  counts = counts_of(op->name);
  counts->launches += !op->silent;
  shadow_op_start(op);
  s->times.push_back(times.op_start);
  for (const Range &r : op->ranges)
    shadow_range(r);
}

/* One try at the first operation.  \return whether anything happened. */
bool step(Stream *s) {
  if (s->queue.empty())
    return false;
  Op *op = s->queue.front().get();
  if ((op->ready && !op->ready()) || !legacy_allows(s, op))
    return false;
  const char *context_before = context;
  emu_counts *counts_before = counts;
  Op *op_before = current_op;
  context = op->name;
  counts = counts_of(op->name);
  current_op = op;
  arena_open();
  bool fresh = !op->started;
  if (fresh)
    start(s, op);
  bool done = op->run();
  arena_close();
  current_op = op_before;
  counts = counts_before;
  context = context_before;
  if (done) {
    s->done = op->number;
    s->queue.pop_front();
  }
  return done || fresh;
}

bool step_first() {
  Stream *first = NULL;
  for (Stream *s : streams)
    if (!s->queue.empty() &&
        (!first || s->queue.front()->id < first->queue.front()->id))
      first = s;
  if (first && step(first))
    return true;
  for (Stream *s : streams)
    if (s != first && step(s))
      return true;
  return false;
}

bool step_any() {
  size_t n = streams.size(), from = n ? draw() % n : 0;
  for (size_t i = 0; i < n; i++)
    if (step(streams[(from + i) % n]))
      return true;
  return false;
}

/* Only what this stream needs; when that is waited for, now and then others:
 * another process may need them. */
bool step_late(int stream) {
  static unsigned tries;
  if (stream >= 0 && step(streams[(size_t) stream]))
    return true;
  if (stream >= 0 && !streams[(size_t) stream]->queue.empty()) {
    const Op *op = streams[(size_t) stream]->queue.front().get();
    for (Stream *s : streams)
      if (s->done < (s->index < (int) op->clock.size()
                         ? op->clock[(size_t) s->index]
                         : 0) &&
          s->index != stream && step(s))
        return true;
  }
  return ++tries % 16 == 0 && step_any();
}

void after_enqueue() {
  switch (settings().schedule) {
  case EMU_EAGER:
    while (step_first())
      ;
    break;
  case EMU_RANDOM:
    while (draw() % 4 == 0 && step_any())
      ;
    break;
  case EMU_FIFO:
  case EMU_LATE:
    break;
  }
}

Op *queue_op(Stream *s, const char *name, std::function<bool()> run,
             std::vector<Range> ranges) {
  if (s->blocking)
    for (Stream *t : streams)
      if (t->blocking && (s->index == 0 || t->index == 0))
        join(s->clock, t->clock);
  join(s->clock, host_clock);
  size_t index = (size_t) s->index;
  if (s->clock.size() <= index)
    s->clock.resize(index + 1);
  s->clock[index] = ++s->queued;
  s->queue.emplace_back(new Op{++last_id, s->index, s->queued, s->clock, name,
                               std::move(run), nullptr, std::move(ranges),
                               false, false});
  return s->queue.back().get();
}

bool done_until(int stream, uint32_t number) {
  return streams[(size_t) stream]->done >= number;
}

void host_knows(const Clock &clock) {
  join(host_clock, clock);
  in_flight_check();
}

} // namespace

bool is_ordered(int stream, uint32_t number) {
  const Clock &known = current_op ? current_op->clock : host_clock;
  return (current_op && stream == current_op->stream) ||
         ((size_t) stream < known.size() && known[(size_t) stream] >= number);
}

bool is_read_later(const void *p, size_t bytes) {
  const char *from = (const char *) p, *to = from + bytes;
  for (const Stream *s : streams)
    for (const auto &op : s->queue)
      for (const Range &r : op->ranges)
        if (!r.write && (const char *) r.p < to &&
            (const char *) r.p + r.bytes > from)
          return true;
  return false;
}

uint64_t ordered_until() {
  uint64_t until = UINT64_MAX;
  for (const Stream *s : streams) {
    if (s->index == current_op->stream)
      continue;
    size_t known = (size_t) s->index < current_op->clock.size()
                       ? current_op->clock[(size_t) s->index]
                       : 0;
    if (known < s->times.size() && s->times[known] < until)
      until = s->times[known];
  }
  return until;
}

Op *enqueue(const char *name, cudaStream_t stream, std::function<bool()> run,
            std::vector<Range> ranges) {
  Op *op = queue_op(stream_of(stream), name, std::move(run), std::move(ranges));
  return op;
}

void enqueued() {
  after_enqueue();
}

bool progress(int stream) {
  switch (settings().schedule) {
  case EMU_LATE:
    return step_late(stream);
  case EMU_RANDOM:
    return step_any();
  case EMU_FIFO:
  case EMU_EAGER:
    break;
  }
  return step_first();
}

void host_wait(const std::function<bool()> &done, int stream) {
  unsigned idle = 0;
  arena_open();
  while (!done()) {
    if (progress(stream)) {
      idle = 0;
      continue;
    }
    idle++;
    bool other_process = false;
    for (Stream *s : streams)
      other_process |= !s->queue.empty() && s->queue.front()->started;
    if (!other_process && idle > 1000)
      give_up("the device stands still: no stream can go on");
    if (idle > 200)
      usleep(50);
    else
      sched_yield();
  }
  arena_close();
}

void stream_wait(cudaStream_t stream) {
  Stream *s = stream_of(stream);
  uint32_t number = s->queued;
  Clock clock = s->clock;
  host_wait([=] { return s->done >= number; }, s->index);
  host_knows(clock);
}

void all_wait() {
  for (size_t i = 0; i < streams.size(); i++)
    if (!streams[i]->destroyed && streams[i]->device == current_device())
      stream_wait((cudaStream_t) streams[i]);
}

} // namespace emu

using namespace emu;

bool emu_progress(void) {
  Call call("emu_progress");
  return progress(-1);
}

/* ---- CUDA runtime: streams and events ---- */

extern "C" {

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  Call call("cudaStreamCreateWithFlags");
  stream_of(NULL);
  if (call.fails)
    return set_error(cudaErrorMemoryAllocation);
  if (flags & ~(unsigned) cudaStreamNonBlocking)
    return set_error(cudaErrorInvalidValue);
  *stream = (cudaStream_t) stream_new(!(flags & cudaStreamNonBlocking));
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) {
  return cudaStreamCreateWithFlags(stream, cudaStreamDefault);
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags,
                                         int) {
  return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}

/* What is queued still runs, as CUDA has it. */
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Call call("cudaStreamDestroy");
  if (!stream)
    return set_error(cudaErrorInvalidResourceHandle);
  Stream *s = stream_of(stream);
  host_wait([=] { return s->queue.empty(); }, s->index);
  s->destroyed = true;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Call call("cudaStreamSynchronize");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  stream_wait(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
  Call call("cudaStreamQuery");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  Stream *s = stream_of(stream);
  progress(s->index);
  if (!s->queue.empty())
    return cudaErrorNotReady;
  host_knows(s->clock);
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void) {
  Call call("cudaDeviceSynchronize");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  all_wait();
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned) {
  Call call("cudaEventCreateWithFlags");
  if (call.fails)
    return set_error(cudaErrorMemoryAllocation);
  *event = (cudaEvent_t) new Event{-1, 0, {}, current_device()};
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event) {
  return cudaEventCreateWithFlags(event, cudaEventDefault);
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  Call call("cudaEventDestroy");
  delete (Event *) event;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Call call("cudaEventRecord");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  Event *e = (Event *) event;
  Stream *s = stream_of(stream);
  if (e->device != s->device)
    return set_error(cudaErrorInvalidResourceHandle);
  Op *op = queue_op(s, "event", [] { return true; }, {});
  op->silent = true;
  *e = {s->index, op->number, op->clock, e->device};
  after_enqueue();
  return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  Call call("cudaEventSynchronize");
  Event e = *(Event *) event;
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  if (e.stream < 0)
    return cudaSuccess;
  host_wait([=] { return done_until(e.stream, e.number); }, e.stream);
  host_knows(e.clock);
  return cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  Call call("cudaEventQuery");
  Event e = *(Event *) event;
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  progress(e.stream);
  if (e.stream >= 0 && !done_until(e.stream, e.number))
    return cudaErrorNotReady;
  host_knows(e.clock);
  return cudaSuccess;
}

/* Time is not modelled: a little passes with each operation. */
cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t from, cudaEvent_t to) {
  Call call("cudaEventElapsedTime");
  Event *a = (Event *) from, *b = (Event *) to;
  if (a->stream < 0 || b->stream < 0)
    return set_error(cudaErrorInvalidResourceHandle);
  *ms = 1e-3f * (float) (b->number > a->number ? b->number - a->number : 1);
  return cudaSuccess;
}

/* CUDA lets an event that was never recorded pass; it is a bug all the same. */
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event,
                                unsigned) {
  Call call("cudaStreamWaitEvent");
  if (call.fails)
    return set_error(cudaErrorIllegalAddress);
  Event e = *(Event *) event;
  Stream *s = stream_of(stream);
  if (e.stream < 0) {
    report("cudaStreamWaitEvent on an event that was never recorded");
    return cudaSuccess;
  }
  join(s->clock, e.clock);
  Op *op = queue_op(s, "wait", [] { return true; }, {});
  op->silent = true;
  op->ready = [=] { return done_until(e.stream, e.number); };
  after_enqueue();
  return cudaSuccess;
}

} // extern "C"
