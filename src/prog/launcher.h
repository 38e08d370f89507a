/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Whether MPI and the launcher mean the same by "all ranks". */
#ifndef ZT_PROG_LAUNCHER_H
#define ZT_PROG_LAUNCHER_H

#include "base/status.h"

/** A launcher whose plug-in does not go with the MPI library starts N programs
 *  that each believe to be alone: N trainers of one run.
 *  Local.
 *  \param[in] ranks  MPI's number
 *  \return ZT_ERR_UNAVAILABLE if it is 1 and the launcher's variables say
 *          more. */
zt_status zt_check_launcher(int ranks);

#endif
