/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  main() of a unit test that runs on several ranks. */
#ifndef ZT_TESTS_MPI_UNIT_H
#define ZT_TESTS_MPI_UNIT_H

#include "comm/comm_mpi.h"
#include "device/device_cpu.h"
#include "unit.h"

/** All ranks, and this rank by itself. */
static zt_comm *comm, *alone;

static inline int mpi_unit_main(int argc, char **argv, Suite *(*make)(void) ) {
  zt_device_cpu_prepare(argv);
  MPI_Init(&argc, &argv);
  if (zt_comm_mpi_create(MPI_COMM_WORLD, &comm) != ZT_OK ||
      zt_comm_mpi_create(MPI_COMM_SELF, &alone) != ZT_OK)
    return 99; /* a test that could not start */
  int failed = unit_main(make(), CK_NOFORK);
  zt_comm_destroy(&alone);
  zt_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}

#endif
