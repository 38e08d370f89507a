#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Where requeueing is forbidden: queues several jobs for one run.
#   train-chain.sh JOBS [SBATCH OPTION]... train.sbatch RUN.cfg [OPTION]...
# All have one name, and wait for each other by it (--dependency=singleton): one
# starts when the one before has ended, whichever way.  The job that finishes
# the run, or fails, takes the others out of the queue.
set -eu
case ${1:-} in
  '' | *[!0-9]*)
    sed -n '4s/^# *//p' "$0" >&2
    exit 64
    ;;
esac
jobs=$1
shift
ZT_CHAIN=ztrain-$(date +%Y%m%d-%H%M%S)-$$ # its name, which must be its own
export ZT_CHAIN
while [ "$jobs" -gt 0 ]; do
  sbatch --job-name="$ZT_CHAIN" --dependency=singleton --no-requeue "$@"
  jobs=$((jobs - 1))
done
