// SPDX-License-Identifier: BSD-3-Clause
// NCCL's functions.  Calls on a communicator that is not blocking may take
// effect only later, when the program asks how it stands.
#include "emu_nccl.h"

#include <memory>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

using namespace emu;

namespace {

int group_depth;
std::vector<Work> group;
char last_error[256];
std::set<const void *> holders; /* of registrations, of all communicators */

ncclResult_t fail(ncclResult_t result, const char *text) {
  snprintf(last_error, sizeof last_error, "%s", text);
  return result;
}

bool overlaps_wrongly(const Work &w) {
  size_t size = type_size(w.header.type);
  const char *from = (const char *) w.from, *to = (const char *) w.to;
  size_t give = given(w) * size, get = gotten(w) * size;
  if (!give || !get || from + give <= to || to + get <= from)
    return false;
  size_t own = (size_t) w.comm->rank * w.header.count * size;
  return from != (w.header.kind == ALL_GATHER ? to + own : to) &&
         !(w.header.kind == REDUCE_SCATTER && from + own == to);
}

const char *wrong_buffers(const Work &w) {
  size_t size = type_size(w.header.type);
  size_t give = given(w) * size, get = gotten(w) * size;
  if ((give && !on_device(w.from)) || (get && !on_device(w.to)))
    return "a buffer of the host";
  if ((give && allocated(w.from) < give) || (get && allocated(w.to) < get))
    return "a buffer longer than its allocation";
  if (overlaps_wrongly(w))
    return "buffers that overlap and are not in place";
  return NULL;
}

/* Whether memory of a call lies in what is registered with its communicator. */
bool is_registered(const ncclComm *c, const void *p, size_t bytes) {
  auto it = c->kept.upper_bound(p);
  if (it == c->kept.begin())
    return false;
  --it;
  return (const char *) p + bytes <= (const char *) it->first + it->second;
}

/* Counted, for tests: received where the memory is registered or is not. */
void count_registered(const Work &w) {
  size_t bytes = gotten(w) * type_size(w.header.type);
  if (bytes)
    counts_of(is_registered(w.comm, w.to, bytes) ? "nccl registered"
                                                 : "nccl not registered")
        ->launches++;
}

/* One operation for each stream of a communicator. */
void launch_works(std::vector<Work> works) {
  while (!works.empty()) {
    auto together = std::make_shared<std::vector<Work>>();
    std::vector<Work> rest;
    std::vector<Range> ranges;
    ncclComm *c = works[0].comm;
    for (const Work &w : works) {
      if (w.comm != c || w.stream != works[0].stream) {
        rest.push_back(w);
        continue;
      }
      size_t size = type_size(w.header.type);
      together->push_back(w);
      if (given(w))
        ranges.push_back({w.from, given(w) * size, false});
      if (gotten(w))
        ranges.push_back({w.to, gotten(w) * size, true});
    }
    c->pending++;
    enqueue(
        kind_names[works[0].header.kind], works[0].stream,
        [together, c] {
          bool done = advance(*together, c);
          c->pending -= done;
          return done;
        },
        ranges);
    enqueued();
    works.swap(rest);
  }
}

/* Effect of a call: at once, or, not blocking, after some questions; all that a
 * group has for one communicator together. */
ncclResult_t submit(std::vector<Work> works) {
  ncclResult_t result = ncclSuccess;
  std::vector<Work> at_once;
  std::set<ncclComm *> now;
  for (const Work &w : works) {
    ncclComm *c = w.comm;
    if (c->held.empty() && (c->blocking || now.count(c) || draw() % 4)) {
      now.insert(c);
      at_once.push_back(w);
      continue;
    }
    if (c->held.empty())
      c->polls = 1 + (int) (draw() % 3);
    c->held.push_back(w);
    result = ncclInProgress;
  }
  launch_works(std::move(at_once));
  return result;
}

bool in_progress(const ncclComm *c) {
  return !c->ready || !c->held.empty() || (c->finalized && c->pending);
}

/* May the program call this now? */
ncclResult_t usable(ncclComm *c, const char *name) {
  if (c->aborted)
    return fail(ncclInvalidUsage, "the communicator was aborted");
  if (c->error)
    return fail(c->error, "the communicator has failed");
  if (in_progress(c)) {
    report("%s while the communicator is in progress", name);
    return fail(ncclInvalidUsage, "the communicator is in progress");
  }
  if (c->finalized)
    return fail(ncclInvalidUsage, "the communicator was finalized");
  return ncclSuccess;
}

ncclResult_t add(Work w) {
  ncclComm *c = w.comm;
  const char *name = kind_names[w.header.kind];
  Call call(name);
  ncclResult_t result = usable(c, name);
  if (result)
    return result;
  if (call.fails)
    return fail(ncclUnhandledCudaError, "on demand of the test");
  const char *wrong = wrong_buffers(w);
  if (wrong) {
    report("%s: %s", name, wrong);
    return fail(ncclInvalidArgument, wrong);
  }
  count_registered(w);
  if (w.header.kind < SEND)
    w.number = ++c->number;
  if (group_depth) {
    group.push_back(w);
    return ncclSuccess;
  }
  return submit({w});
}

Work work(Kind kind, const void *from, void *to, size_t count, int type, int op,
          int root, ncclComm *c, cudaStream_t stream) {
  Work w = {};
  w.comm = c;
  w.header.kind = kind;
  w.header.type = type;
  w.header.op = op;
  w.header.root = root;
  w.header.count = count;
  w.from = kind == BROADCAST && root != c->rank ? NULL : from;
  w.to = kind == REDUCE && root != c->rank ? NULL : to;
  w.stream = stream;
  return w;
}

ncclResult_t point_to_point(Kind kind, const void *from, void *to, size_t count,
                            int type, int peer, ncclComm *c,
                            cudaStream_t stream) {
  if (peer < 0 || peer >= c->size)
    return fail(ncclInvalidArgument, "no such peer");
  Work w = work(kind, from, to, count, type, 0, 0, c, stream);
  w.peer = peer;
  return add(w);
}

/* ---- The life of a communicator ---- */

/* All are there: is it a good communicator? */
void complete(ncclComm *c) {
  c->ready = true;
  if (c->link->duplicate() >= 0) {
    snprintf(last_error, sizeof last_error,
             "Duplicate GPU detected: ranks %d and %d both have device %d",
             c->rank, c->link->duplicate(), c->device);
    c->error = ncclInvalidUsage;
  }
}

ncclResult_t init(ncclComm_t *out, int size, const char *id, int rank,
                  bool blocking) {
  Call call("ncclCommInitRank");
  if (size < 1 || size > 256 || rank < 0 || rank >= size)
    return fail(ncclInvalidArgument, "no such rank");
  if (call.fails || settings().devices <= 0)
    return fail(ncclUnhandledCudaError, "no device, or on demand of the test");
  Link *link =
      Link::open(settings().directory, id, size, rank, current_device());
  if (!link)
    return fail(ncclSystemError, "no shared files");
  ncclComm *c = new ncclComm();
  c->link = link;
  c->size = size;
  c->rank = rank;
  c->device = current_device();
  c->blocking = blocking;
  c->polls = 1 + (int) (draw() % 3);
  *out = c;
  if (!blocking)
    return ncclInProgress;
  while (!unless_dead(c, [=] { return link->complete(); })) {
    if (c->error)
      return c->error;
    progress(-1);
    usleep(50);
  }
  complete(c);
  return c->error;
}

} // namespace

extern "C" {

ncclResult_t ncclGetVersion(int *version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
  uint64_t words[2];
  if (getrandom(words, sizeof words, 0) != sizeof words)
    return fail(ncclSystemError, "no random numbers");
  memset(id, 0, sizeof *id);
  snprintf(id->internal, sizeof id->internal, "%016llx%016llx",
           (unsigned long long) words[0], (unsigned long long) words[1]);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRank(ncclComm_t *comm, int size, ncclUniqueId id,
                              int rank) {
  return init(comm, size, id.internal, rank, true);
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id,
                                    int rank, ncclConfig_t *config) {
  ncclConfig_t fresh = NCCL_CONFIG_INITIALIZER;
  if (config && (config->magic != fresh.magic || config->size != fresh.size))
    return fail(ncclInvalidArgument,
                "a configuration that was not initialized");
  bool blocking = !config || config->blocking != 0;
  return init(comm, size, id.internal, rank, blocking);
}

/* What is in progress goes on only when asked for. */
ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *result) {
  Call call("ncclCommGetAsyncError");
  progress(-1);
  if (!c->ready && unless_dead(c, [=] { return c->link->complete(); }) &&
      --c->polls < 0)
    complete(c);
  if (!c->held.empty() && --c->polls < 0) {
    std::vector<Work> works;
    works.swap(c->held);
    launch_works(std::move(works));
  }
  *result = c->error ? c->error : in_progress(c) ? ncclInProgress : ncclSuccess;
  return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t c) {
  Call call("ncclCommFinalize");
  ncclResult_t result = usable(c, "ncclCommFinalize");
  if (result)
    return result;
  c->finalized = true;
  if (!c->blocking)
    return c->pending ? ncclInProgress : ncclSuccess;
  host_wait([=] { return !c->pending || c->error; }, -1);
  return c->error;
}

ncclResult_t ncclCommDestroy(ncclComm_t c) {
  Call call("ncclCommDestroy");
  if (!c)
    return ncclSuccess;
  if (c->pending && !c->aborted) {
    report("ncclCommDestroy while %ld operations run", c->pending);
    host_wait([=] { return !c->pending || c->error; }, -1);
  }
  if (!c->kept.empty())
    report("ncclCommDestroy while %zu buffers are registered", c->kept.size());
  c->aborted = true; /* what still asks for it sees that it is over */
  delete c->link;
  c->link = NULL;
  return ncclSuccess;
}

/* Its operations count as done; the memory they were to fill is undefined. */
ncclResult_t ncclCommAbort(ncclComm_t c) {
  Call call("ncclCommAbort");
  c->aborted = true;
  c->held.clear();
  host_wait([=] { return !c->pending; }, -1);
  return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t c, int *count) {
  *count = c->size;
  return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t c, int *rank) {
  *rank = c->rank;
  return ncclSuccess;
}

ncclResult_t ncclCommCuDevice(const ncclComm_t c, int *number) {
  *number = c->device;
  return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
  switch (result) {
  case ncclSuccess:
    return "no error";
  case ncclUnhandledCudaError:
    return "unhandled cuda error";
  case ncclSystemError:
    return "unhandled system error";
  case ncclInternalError:
    return "internal error";
  case ncclInvalidArgument:
    return "invalid argument";
  case ncclInvalidUsage:
    return "invalid usage";
  case ncclRemoteError:
    return "remote process exited or there was a network error";
  case ncclInProgress:
    return "NCCL operation in progress";
  default:
    return "unknown result code";
  }
}

const char *ncclGetLastError(ncclComm_t) {
  return last_error;
}

/* ---- Operations ---- */

ncclResult_t ncclGroupStart(void) {
  Call call("ncclGroupStart");
  group_depth++;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void) {
  Call call("ncclGroupEnd");
  if (!group_depth)
    return fail(ncclInvalidUsage, "ncclGroupEnd without ncclGroupStart");
  if (--group_depth)
    return ncclSuccess;
  std::vector<Work> works;
  works.swap(group);
  if (call.fails)
    return fail(ncclUnhandledCudaError, "on demand of the test");
  return submit(std::move(works));
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t count,
                           ncclDataType_t type, ncclComm_t c,
                           cudaStream_t stream) {
  return add(work(ALL_GATHER, from, to, count, type, 0, 0, c, stream));
}

ncclResult_t ncclReduceScatter(const void *from, void *to, size_t count,
                               ncclDataType_t type, ncclRedOp_t op,
                               ncclComm_t c, cudaStream_t stream) {
  return add(work(REDUCE_SCATTER, from, to, count, type, op, 0, c, stream));
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count,
                           ncclDataType_t type, ncclRedOp_t op, ncclComm_t c,
                           cudaStream_t stream) {
  return add(work(ALL_REDUCE, from, to, count, type, op, 0, c, stream));
}

ncclResult_t ncclBroadcast(const void *from, void *to, size_t count,
                           ncclDataType_t type, int root, ncclComm_t c,
                           cudaStream_t stream) {
  return add(work(BROADCAST, from, to, count, type, 0, root, c, stream));
}

ncclResult_t ncclReduce(const void *from, void *to, size_t count,
                        ncclDataType_t type, ncclRedOp_t op, int root,
                        ncclComm_t c, cudaStream_t stream) {
  return add(work(REDUCE, from, to, count, type, op, root, c, stream));
}

ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type,
                      int peer, ncclComm_t c, cudaStream_t stream) {
  return point_to_point(SEND, from, NULL, count, type, peer, c, stream);
}

ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t c, cudaStream_t stream) {
  return point_to_point(RECV, NULL, to, count, type, peer, c, stream);
}

/* ---- Memory ---- */

ncclResult_t ncclMemAlloc(void **p, size_t bytes) {
  return cudaMalloc(p, bytes) ? ncclUnhandledCudaError : ncclSuccess;
}

ncclResult_t ncclMemFree(void *p) {
  if (holders.count(p))
    report("ncclMemFree of memory that is registered");
  return cudaFree(p) ? ncclUnhandledCudaError : ncclSuccess;
}

ncclResult_t ncclCommRegister(const ncclComm_t c, void *p, size_t bytes,
                              void **handle) {
  Call call("ncclCommRegister");
  ncclResult_t result = usable(c, "ncclCommRegister");
  if (result)
    return result;
  if (!on_device(p) || allocated(p) < bytes || c->kept.count(p)) {
    report("ncclCommRegister of what is no device memory, or registered");
    return fail(ncclInvalidArgument, "no memory to register");
  }
  c->kept[p] = bytes;
  holders.insert(p);
  *handle = p;
  return ncclSuccess;
}

ncclResult_t ncclCommDeregister(const ncclComm_t c, void *handle) {
  Call call("ncclCommDeregister");
  if (c->kept.erase(handle)) {
    holders.erase(handle);
    return ncclSuccess;
  }
  report("ncclCommDeregister of what is not registered");
  return fail(ncclInvalidArgument, "not registered");
}

ncclResult_t ncclCommWindowRegister(ncclComm_t c, void *p, size_t bytes,
                                    ncclWindow_t *window, int) {
  return ncclCommRegister(c, p, bytes, (void **) window);
}

ncclResult_t ncclCommWindowDeregister(ncclComm_t c, ncclWindow_t window) {
  return ncclCommDeregister(c, (void *) window);
}

} // extern "C"
