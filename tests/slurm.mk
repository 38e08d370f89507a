# SPDX-License-Identifier: BSD-3-Clause
# Batch jobs: the scripts alone, then on a real Slurm (minislurm starts one).
TESTS += tests/run_jobs.sh tests/run_slurm.sh tests/run_slurm_jobs.sh
EXTRA_DIST += tests/run_jobs.sh tests/run_slurm.sh tests/run_slurm_jobs.sh \
  tests/slurm.sh tests/minislurm tests/slurm.conf.in
