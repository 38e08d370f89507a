/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/backends.h"

#include "comm/agree.h"
#include "device/device_cpu.h"

#include <sched.h>
#include <stdlib.h>

/* Ranks that are not told otherwise share the cores they may run on. */
static int threads_of(int64_t wish, zt_comm *comm) {
  int first, count;
  cpu_set_t set;
  if (wish > 0 || getenv("OMP_NUM_THREADS"))
    return (int) wish;
  zt_comm_node_range(comm, comm->rank, &first, &count);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return 1;
  int threads = CPU_COUNT(&set) / count;
  return threads > 0 ? threads : 1;
}

zt_status zt_open_device(zt_device_choice choice, int64_t threads,
                         zt_comm *comm, zt_device **dev) {
  zt_status status;
  if (choice == ZT_DEVICE_CUDA)
    status = zt_fail(ZT_ERR_UNAVAILABLE,
                     "runtime.device = \"cuda\": this build has no CUDA; use "
                     "\"cpu\" or \"auto\"");
  else
    status = zt_device_cpu_create(threads_of(threads, comm), dev);
  return zt_agree(comm, status);
}

zt_status zt_check_comm(zt_comm_choice choice) {
  if (choice == ZT_COMM_NCCL)
    return zt_fail(ZT_ERR_UNAVAILABLE,
                   "runtime.comm = \"nccl\": this build has no NCCL; use "
                   "\"mpi\" or \"auto\"");
  return ZT_OK;
}
