/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/launcher.h"

#include <stdlib.h>

/* What launchers tell their processes, nearest first: mpiexec of MPICH and
 * relatives, and Slurm's pmi2; mpirun of Open MPI; srun for its step, and the
 * job script without srun.  A nearer one that is content settles it: mpiexec
 * may well start one rank in a job of many. */
static const struct {
  const char *name, *way_out;
} sizes[] = {
    {"PMI_SIZE", "start it with the mpiexec of the MPI that it was built with"},
    {"OMPI_COMM_WORLD_SIZE",
     "start it with the mpiexec of the MPI that it was built with"},
    {"SLURM_STEP_NUM_TASKS", "try srun --mpi=pmi2 (srun --mpi=list), or "
                             "mpiexec"},
    {"SLURM_NTASKS", "start it with srun --mpi=pmi2 or mpiexec; for one rank "
                     "srun -n 1"},
};

zt_status zt_check_launcher(int ranks) {
  if (ranks > 1)
    return ZT_OK;
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    const char *value = getenv(sizes[i].name);
    long started = value ? strtol(value, NULL, 10) : 0;
    if (started > 1)
      return zt_fail(ZT_ERR_UNAVAILABLE,
                     "%s is %ld, but each process is alone to MPI (%d rank): "
                     "%s",
                     sizes[i].name, started, ranks, sizes[i].way_out);
    if (started == 1)
      return ZT_OK;
  }
  return ZT_OK;
}
