/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The communicator over MPI, for host memory. */
#ifndef ZT_COMM_MPI_H
#define ZT_COMM_MPI_H

#include "comm/comm.h"

#include <mpi.h>

/** Collective over `parent`, which is duplicated.
 *  \return ZT_ERR_UNAVAILABLE if MPI fails, ZT_ERR_MEMORY. */
zt_status zt_comm_mpi_create(MPI_Comm parent, zt_comm **comm);
/** The communicator inside, for the parallel HDF5 driver. */
MPI_Comm zt_comm_mpi_handle(const zt_comm *comm);

#endif
