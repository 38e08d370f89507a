/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A communicator and its operations. */
#ifndef ZT_CUDAEMU_EMU_NCCL_H
#define ZT_CUDAEMU_EMU_NCCL_H

#include "emu_core.h"
#include "emu_link.h"

#include <nccl.h>
#include <map>
#include <set>

namespace emu {

enum Kind {
  ALL_GATHER,
  REDUCE_SCATTER,
  ALL_REDUCE,
  BROADCAST,
  REDUCE,
  SEND,
  RECV
};
struct Work;
} // namespace emu

/** A communicator. */
struct ncclComm {
  emu::Link *link;
  int size, rank, device;
  bool blocking, ready, aborted, finalized;
  int polls;         /* of a call in progress, until it takes effect */
  uint64_t number;   /* of the last collective called */
  uint64_t finished; /* of the last one done */
  long pending;      /* operations queued */
  ncclResult_t error;
  std::vector<emu::Work> held; /* of a call in progress */
  std::map<const void *, size_t> kept; /* registered buffers, bytes */
  double asked_alive;          /* when peers were last looked at */
};

namespace emu {

/** One call; its arguments, and how far it is. */
struct Work {
  ncclComm *comm;
  Header header;
  const void *from;
  void *to;
  int peer;
  uint64_t number;
  cudaStream_t stream;
  int phase; /* 0: new, 1: posted, 2: done */
};

extern const char *const kind_names[];
size_t type_size(int type);
/** Elements that this rank gives and gets. */
size_t given(const Work &w);
size_t gotten(const Work &w);
/** The attempt's result; if that is false, now and then look for peers that
 *  are gone, and set the error. */
bool unless_dead(ncclComm *c, const std::function<bool()> &attempt);
/** One more try.  \return true if all of the works are done. */
bool advance(std::vector<Work> &works, ncclComm *c);

} // namespace emu

#endif
