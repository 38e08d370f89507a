/* SPDX-License-Identifier: BSD-3-Clause */
/* On a real machine the device goes on while the host waits in MPI.  Here these
 * calls turn it on: without that, a rank that waits in MPI and one that waits
 * for NCCL would wait for each other for ever. */
#include "emu.h"

#include <mpi.h>
#include <sched.h>
#include <stddef.h>

int MPI_Test(MPI_Request *request, int *done, MPI_Status *status) {
  emu_progress();
  return PMPI_Test(request, done, status);
}

int MPI_Testall(int count, MPI_Request *requests, int *done,
                MPI_Status *statuses) {
  emu_progress();
  return PMPI_Testall(count, requests, done, statuses);
}

int MPI_Iprobe(int source, int tag, MPI_Comm comm, int *found,
               MPI_Status *status) {
  emu_progress();
  return PMPI_Iprobe(source, tag, comm, found, status);
}

static int wait_for(int error, MPI_Request *request, MPI_Status *status) {
  int done = 0;
  while (!error && !done) {
    error = PMPI_Test(request, &done, status);
    if (!emu_progress())
      sched_yield();
  }
  return error;
}

int MPI_Wait(MPI_Request *request, MPI_Status *status) {
  return wait_for(MPI_SUCCESS, request, status);
}

int MPI_Barrier(MPI_Comm comm) {
  MPI_Request request;
  int error = PMPI_Ibarrier(comm, &request);
  return wait_for(error, &request, MPI_STATUS_IGNORE);
}

int MPI_Bcast(void *data, int count, MPI_Datatype type, int root,
              MPI_Comm comm) {
  MPI_Request request;
  int error = PMPI_Ibcast(data, count, type, root, comm, &request);
  return wait_for(error, &request, MPI_STATUS_IGNORE);
}

int MPI_Allreduce(const void *from, void *to, int count, MPI_Datatype type,
                  MPI_Op op, MPI_Comm comm) {
  MPI_Request request;
  int error = PMPI_Iallreduce(from, to, count, type, op, comm, &request);
  return wait_for(error, &request, MPI_STATUS_IGNORE);
}

int MPI_Allgather(const void *from, int n_from, MPI_Datatype from_type,
                  void *to, int n_to, MPI_Datatype to_type, MPI_Comm comm) {
  MPI_Request request;
  int error = PMPI_Iallgather(from, n_from, from_type, to, n_to, to_type, comm,
                              &request);
  return wait_for(error, &request, MPI_STATUS_IGNORE);
}
