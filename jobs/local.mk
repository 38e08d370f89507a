# SPDX-License-Identifier: BSD-3-Clause
EXTRA_DIST += jobs/quickstart.sh
jobsdir = $(pkgdatadir)/jobs
dist_jobs_DATA = jobs/README jobs/FINETUNING jobs/site.sh.example \
  jobs/train.sbatch jobs/train-gpu.sbatch jobs/train-mpiexec.sbatch \
  jobs/convert.sbatch jobs/generate.sbatch
dist_jobs_SCRIPTS = jobs/train-chain.sh
