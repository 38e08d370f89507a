/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/backends.h"

#include "base/memory.h"
#include "comm/agree.h"
#include "config.h"
#include "device/device_cpu.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#ifdef ZT_HAVE_CUDA
#include "cuda/comm_staged.h"
#include "cuda/device_cuda.h"
#endif
#ifdef ZT_HAVE_NCCL
#include "cuda/comm_nccl.h"
#endif

void zt_backends_text(char text[64]) {
  const char *cuda = "no", *nccl = "no";
#ifdef ZT_HAVE_CUDA
  cuda = zt_device_cuda_version();
#endif
#ifdef ZT_HAVE_NCCL
  nccl = zt_comm_nccl_version();
#endif
  snprintf(text, 64, "CUDA %.20s, NCCL %.20s", cuda, nccl);
}

/* ---- Device ---- */

/* Ranks of this node that may run on the same cores as this one, itself
 * included. */
static zt_status count_sharers(zt_comm *comm, const cpu_set_t *cores,
                               int *count) {
  int64_t *of_rank = zt_calloc((size_t) comm->size, sizeof *of_rank);
  ZT_TRY(zt_agree(comm, of_rank ? ZT_OK : ZT_ERR_MEMORY));
  int64_t mine = (int64_t) XXH3_64bits(cores, sizeof *cores);
  of_rank[comm->rank] = mine;
  zt_status status = zt_comm_all_reduce(comm, of_rank, comm->size, ZT_SUM);
  *count = 0;
  for (int r = 0; r < comm->size; r++)
    *count +=
        comm->node_of[r] == comm->node_of[comm->rank] && of_rank[r] == mine;
  free(of_rank);
  return status;
}

/* Ranks that are not told otherwise share the cores they may run on; those that
 * the launcher bound have theirs for themselves. */
static zt_status threads_of(int64_t wish, zt_comm *comm, int *threads) {
  cpu_set_t cores;
  int count;
  CPU_ZERO(&cores);
  bool known = sched_getaffinity(0, sizeof cores, &cores) == 0;
  ZT_TRY(count_sharers(comm, &cores, &count));
  *threads = known ? CPU_COUNT(&cores) / count : 1;
  if (*threads < 1)
    *threads = 1;
  if (wish > 0 || getenv("OMP_NUM_THREADS"))
    *threads = (int) wish;
  return ZT_OK;
}

#ifdef ZT_HAVE_CUDA
static zt_status open_cuda(zt_comm *comm, bool to_plan, zt_device **dev) {
  return to_plan ? zt_agree(comm, zt_device_cuda_create_to_plan(dev))
                 : zt_device_cuda_create(comm, dev);
}

/* A GPU everywhere or nowhere: between is a mistake of the job. */
static zt_status resolve(zt_comm *comm, zt_device_choice *choice) {
  int64_t there[2] = {zt_device_cuda_is_there(), 0};
  if (*choice != ZT_DEVICE_AUTO)
    return ZT_OK;
  there[1] = !there[0];
  ZT_TRY(zt_comm_all_reduce(comm, there, 2, ZT_MAX));
  if (there[0] && there[1])
    return zt_fail(ZT_ERR_UNAVAILABLE,
                   "some ranks see a GPU and others none; ask the launcher for "
                   "one a rank, or use runtime.device = \"cpu\"");
  *choice = there[0] ? ZT_DEVICE_CUDA : ZT_DEVICE_CPU;
  return ZT_OK;
}
#else
static zt_status open_cuda(zt_comm *comm, bool to_plan, zt_device **dev) {
  (void) to_plan, (void) dev;
  return zt_agree(comm, zt_fail(ZT_ERR_UNAVAILABLE,
                                "runtime.device = \"cuda\": this build has no "
                                "CUDA; use \"cpu\" or \"auto\""));
}

static zt_status resolve(zt_comm *comm, zt_device_choice *choice) {
  (void) comm, (void) choice;
  return ZT_OK;
}
#endif

static zt_status open_device(zt_device_choice choice, int64_t threads,
                             zt_comm *comm, bool to_plan, zt_device **dev) {
  ZT_TRY(resolve(comm, &choice));
  if (choice == ZT_DEVICE_CUDA)
    return open_cuda(comm, to_plan, dev);
  int of_rank;
  ZT_TRY(threads_of(threads, comm, &of_rank));
  return zt_agree(comm, zt_device_cpu_create(of_rank, dev));
}

zt_status zt_open_device(zt_device_choice choice, int64_t threads,
                         zt_comm *comm, zt_device **dev) {
  return open_device(choice, threads, comm, false, dev);
}

zt_status zt_open_device_to_plan(zt_device_choice choice, int64_t threads,
                                 zt_comm *comm, zt_device **dev) {
  return open_device(choice, threads, comm, true, dev);
}

/* ---- Communicator ---- */

static zt_status open_nccl(double limit, zt_comm *host, zt_device *dev,
                           zt_comm **comm) {
#ifdef ZT_HAVE_NCCL
  return zt_comm_nccl_create(host, dev, limit, comm);
#else
  (void) limit, (void) dev, (void) comm;
  return zt_agree(host, zt_fail(ZT_ERR_UNAVAILABLE,
                                "runtime.comm = \"nccl\": this build has no "
                                "NCCL; use \"mpi\" or \"auto\""));
#endif
}

static zt_status open_staged(zt_comm *host, zt_device *dev, zt_comm **comm) {
#ifdef ZT_HAVE_CUDA
  return zt_comm_staged_create(host, dev, comm);
#else
  (void) dev, (void) comm;
  return zt_agree(host, zt_fail(ZT_ERR_INTERNAL, "a device without a build"));
#endif
}

zt_status zt_open_comm(zt_comm_choice choice, double limit, zt_comm *host,
                       zt_device *dev, zt_comm **comm) {
  bool on_host = strcmp(dev->ops->name, "cuda") != 0;
  if (on_host && choice == ZT_COMM_NCCL)
    return zt_agree(host,
                    zt_fail(ZT_ERR_CONFIG,
                            "runtime.comm = \"nccl\" needs runtime.device = "
                            "\"cuda\", and this run is on processors; use "
                            "\"mpi\" or \"auto\""));
  *comm = host;
  if (on_host)
    return ZT_OK;
#ifdef ZT_HAVE_NCCL
  if (choice == ZT_COMM_AUTO)
    choice = ZT_COMM_NCCL;
#endif
  return choice == ZT_COMM_NCCL ? open_nccl(limit, host, dev, comm)
                                : open_staged(host, dev, comm);
}

void zt_close_comm(zt_comm *host, zt_comm **comm) {
  if (*comm != host)
    zt_comm_destroy(comm);
  *comm = NULL;
}
