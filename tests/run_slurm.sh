#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs under a real Slurm, disturbed in the ways of a computing centre: each
# ends with the bits of the uncut run.
# shellcheck disable=SC2317  # scenarios are called by name
. "$ZT_SRC/tests/slurm.sh"

# start FORM NODES [OPTION]...: the run, with one rank a node.
start() {
  form=$1 nodes=$2
  shift 2
  submit --nodes="$nodes" --ntasks-per-node=1 --cpus-per-task=1 "$@" \
    "$jobs/$form.sbatch" run.cfg
}

# The time limit comes near: saved, requeued, done.
limit() {
  start "$1" 4
  within 120 trained 5
  scancel --signal=USR1 "$job"
  ends COMPLETED
  says "job $job, life 0, on n"
  says 'more to do: requeueing'
  says "job $job, life 1, on n"
  says 'the run is done'
  same_bits
}
limit_srun() {
  limit train
}
limit_mpiexec() {
  limit train-mpiexec
}

# scancel: saved, and another job goes on with other nodes.
cancel() {
  start train 2
  within 120 trained 5
  scancel "$job"
  ends CANCELLED
  cases=$((cases + 1))
  ztinfo status run >out
  [ $? -eq 75 ] || fail "after scancel: $(cat out)"
  start train 3
  ends COMPLETED
  says 'resuming from run/restart/step-'
  same_bits
}

# A node goes down: requeued by Slurm, done.
down() {
  start train 2 --nodelist=n6,n7
  within 120 trained 5
  scontrol update nodename=n7 state=down reason=test
  within 60 is_pending
  scontrol update nodename=n7 state=idle
  ends COMPLETED
  says "job $job, life 1, on n"
  same_bits
}

# A rank is killed after a restart: all end, and that is worth another life.
killed() {
  start train 2
  within 120 saved
  kill -s KILL "$(rank_of "$job" 1)"
  within 30 grep -q 'ztrain ended with code 137' job.log
  ends COMPLETED
  says 'more to do: requeueing'
  same_bits
}
saved() {
  [ -d run/restart/step-000000010 ]
}

# A rank is killed before the first restart: the job fails and is not repeated,
# but a new one may be started.
killed_early() {
  sed -i 's/every_steps = 10;/every_steps = 1000;/' run.cfg
  start train-mpiexec 2
  within 120 trained 2
  kill -s KILL "$(rank_of "$job" 1)"
  ends FAILED
  says 'no restart was saved in this life'
  start train 2
  ends COMPLETED
  same_bits
}

make_uncut
together limit_srun limit_mpiexec cancel down killed killed_early
finish cases
