// SPDX-License-Identifier: BSD-3-Clause
// What the operations of NCCL do.  Ranks are processes of one machine.
// Reductions go in the order of a ring and are rounded to the type at every
// hop, as NCCL's ring does.
#include "emu_nccl.h"

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <string.h>
#include <time.h>

namespace emu {

const char *const kind_names[] = {
    "ncclAllGather", "ncclReduceScatter", "ncclAllReduce", "ncclBroadcast",
    "ncclReduce",    "ncclSend",          "ncclRecv"};

size_t type_size(int type) {
  switch (type) {
  case ncclInt8:
  case ncclUint8:
    return 1;
  case ncclFloat16:
  case ncclBfloat16:
    return 2;
  case ncclInt64:
  case ncclUint64:
  case ncclFloat64:
    return 8;
  default:
    return 4;
  }
}

size_t given(const Work &w) {
  const ncclComm *c = w.comm;
  if (w.header.kind == REDUCE_SCATTER)
    return w.header.count * (size_t) c->size;
  bool silent = (w.header.kind == BROADCAST && w.header.root != c->rank) ||
                w.header.kind == RECV;
  return silent ? 0 : w.header.count;
}

size_t gotten(const Work &w) {
  const ncclComm *c = w.comm;
  if (w.header.kind == ALL_GATHER)
    return w.header.count * (size_t) c->size;
  bool silent = (w.header.kind == REDUCE && w.header.root != c->rank) ||
                w.header.kind == SEND;
  return silent ? 0 : w.header.count;
}

namespace {

double now() {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* ---- Arithmetic ---- */

template <class T, class Wide>
void reduce_as(T *to, const char *from, size_t n, int op) {
  for (size_t i = 0; i < n; i++) {
    T element;
    memcpy((void *) &element, from + i * sizeof(T), sizeof(T));
    Wide a = (Wide) to[i], b = (Wide) element;
    to[i] = (T) (op == ncclMax    ? (a > b ? a : b)
                 : op == ncclMin  ? (a < b ? a : b)
                 : op == ncclProd ? a * b
                                  : a + b);
  }
}

void reduce(char *to, const char *from, size_t n, const Header &h) {
  switch (h.type) {
  case ncclFloat32:
    return reduce_as<float, float>((float *) to, from, n, h.op);
  case ncclFloat64:
    return reduce_as<double, double>((double *) to, from, n, h.op);
  case ncclBfloat16:
    return reduce_as<__nv_bfloat16, float>((__nv_bfloat16 *) to, from, n, h.op);
  case ncclFloat16:
    return reduce_as<__half, float>((__half *) to, from, n, h.op);
  case ncclInt32:
    return reduce_as<int32_t, int32_t>((int32_t *) to, from, n, h.op);
  case ncclInt64:
    return reduce_as<int64_t, int64_t>((int64_t *) to, from, n, h.op);
  case ncclUint64:
    return reduce_as<uint64_t, uint64_t>((uint64_t *) to, from, n, h.op);
  default:
    report("the double cannot reduce type %d", h.type);
  }
}

void divide(char *p, size_t n, const Header &h, int by) {
  for (size_t i = 0; i < n; i++)
    if (h.type == ncclFloat32)
      ((float *) p)[i] /= (float) by;
    else if (h.type == ncclBfloat16)
      ((__nv_bfloat16 *) p)[i] =
          __float2bfloat16_rn((float) ((__nv_bfloat16 *) p)[i] / (float) by);
    else if (i == 0)
      report("the double cannot average type %d", h.type);
}

/* The part that ends on rank `last` starts on the one after it. */
void ring(Work &w, char *to, size_t offset, size_t n, int last) {
  ncclComm *c = w.comm;
  size_t bytes = given(w) * type_size(w.header.type);
  for (int i = 1; i <= c->size; i++) {
    const char *from =
        c->link->data((last + i) % c->size, w.number, bytes) + offset;
    if (i == 1)
      memcpy(to, from, n * type_size(w.header.type));
    else
      reduce(to, from, n, w.header);
  }
  if (w.header.op == ncclAvg)
    divide(to, n, w.header, c->size);
}

void combine(Work &w) {
  ncclComm *c = w.comm;
  size_t size = type_size(w.header.type), n = w.header.count, bytes = n * size;
  char *to = (char *) w.to;
  int next = (c->rank + 1) % c->size;
  uint64_t others = (uint64_t) (c->size - 1);
  switch ((Kind) w.header.kind) {
  case ALL_GATHER:
    for (int r = 0; r < c->size; r++)
      memcpy(to + (size_t) r * bytes, c->link->data(r, w.number, bytes), bytes);
    count_sent(next, others * bytes);
    break;
  case REDUCE_SCATTER:
    ring(w, to, (size_t) c->rank * bytes, n, c->rank);
    count_sent(next, others * bytes);
    break;
  case ALL_REDUCE: {
    size_t part = (n + (size_t) c->size - 1) / (size_t) c->size;
    for (size_t q = 0; q * part < n; q++)
      ring(w, to + q * part * size, q * part * size,
           (q + 1) * part <= n ? part : n - q * part, (int) q);
    count_sent(next, 2 * others * part * size);
    break;
  }
  case BROADCAST:
    memcpy(to, c->link->data(w.header.root, w.number, bytes), bytes);
    if (next != w.header.root)
      count_sent(next, bytes);
    break;
  case REDUCE:
    if (c->rank == w.header.root)
      ring(w, to, 0, n, c->rank);
    else
      count_sent(next, bytes);
    break;
  case SEND:
  case RECV:
    break;
  }
}

/* ---- Progress ---- */

void mismatch(ncclComm *c, const Header &mine, int peer, const Header &other) {
  if (c->error)
    return;
  report("collectives differ: rank %d calls %s of %llu elements of type %d, "
         "rank %d calls %s of %llu of type %d",
         c->rank, kind_names[mine.kind], (unsigned long long) mine.count,
         mine.type, peer, kind_names[other.kind],
         (unsigned long long) other.count, other.type);
  c->error = settings().silent ? ncclSuccess : ncclInvalidUsage;
}

/* Who reads what has not come yet finds NaN. */
void poison(const Work &w) {
  size_t size = type_size(w.header.type), bytes = gotten(w) * size;
  const char *from = (const char *) w.from, *to = (const char *) w.to;
  bool apart = !from || from + given(w) * size <= to || to + bytes <= from;
  if (checking() && bytes && apart)
    memset(w.to, 0xff, bytes);
}

/* One more try.  A mismatch is never done: on a device it would hang. */
void advance_collective(Work &w) {
  ncclComm *c = w.comm;
  if (w.phase == 0) {
    if (c->finished + 1 != w.number || !c->link->may_post(w.number))
      return;
    c->link->post(w.number, w.header, w.from,
                  given(w) * type_size(w.header.type));
    poison(w);
    w.phase = 1;
  }
  for (int r = 0; r < c->size; r++)
    if (!c->link->posted(r, w.number))
      return;
  for (int r = 0; r < c->size; r++) {
    const Header &h = c->link->header(r, w.number);
    if (memcmp(&h, &w.header, sizeof h))
      return mismatch(c, w.header, r, h);
  }
  combine(w);
  c->finished = w.number;
  c->link->finished(w.number);
  w.phase = 2;
}

void advance_send(Work &w) {
  ncclComm *c = w.comm;
  size_t bytes = w.header.count * type_size(w.header.type);
  if (!c->link->may_send(w.peer))
    return;
  if (w.phase == 0) {
    c->link->send(w.peer, w.header, w.from, bytes);
    count_sent(w.peer, bytes);
    w.phase = 1;
  } else {
    w.phase = 2; /* it was taken */
  }
}

void advance_recv(Work &w) {
  ncclComm *c = w.comm;
  size_t bytes = w.header.count * type_size(w.header.type);
  if (w.phase == 0)
    poison(w);
  w.phase = 1;
  const Header *h = c->link->arrived(w.peer);
  if (!h)
    return;
  if (h->count != w.header.count || h->type != w.header.type)
    return mismatch(c, w.header, w.peer, *h);
  memcpy(w.to, c->link->arrived_data(w.peer, bytes), bytes);
  c->link->take(w.peer);
  w.phase = 2;
}

} // namespace

/* Real NCCL notices over a network only, and late. */
bool unless_dead(ncclComm *c, const std::function<bool()> &attempt) {
  if (attempt())
    return true;
  if (settings().silent || c->error || now() < c->asked_alive + 0.02)
    return false;
  c->asked_alive = now();
  int rank = c->link->dead();
  if (rank < 0)
    return false;
  if (attempt()) /* it did its part before it went */
    return true;
  report("rank %d of a communicator is gone", rank);
  c->error = ncclRemoteError;
  return false;
}

/* Messages of a group to one peer, or from one, keep their order: one that comes
 * just after the first was asked for must not be taken for the second. */
bool advance(std::vector<Work> &works, ncclComm *c) {
  if (c->aborted)
    return true;
  return unless_dead(c, [&] {
    bool done = true;
    std::set<std::pair<int, int>> waiting; /* kind and peer */
    for (Work &w : works) {
      const bool message = w.header.kind >= SEND;
      const std::pair<int, int> way = {w.header.kind, w.peer};
      if (message && waiting.count(way)) {
        done = false;
        continue;
      }
      if (w.phase < 2 && w.header.kind == SEND)
        advance_send(w);
      else if (w.phase < 2 && w.header.kind == RECV)
        advance_recv(w);
      else if (w.phase < 2)
        advance_collective(w);
      done &= w.phase == 2;
      if (message && w.phase < 2)
        waiting.insert(way);
    }
    return done;
  });
}

} // namespace emu
