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
  # shellcheck disable=SC2046  # a fork of it may be there for a moment
  kill -s KILL $(rank_of "$job" 1)
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
  # shellcheck disable=SC2046  # a fork of it may be there for a moment
  kill -s KILL $(rank_of "$job" 1)
  ends FAILED
  says 'no restart was saved in this life'
  start train 2
  ends COMPLETED
  same_bits
}

# ---- Long forms ----

# The limit itself, of one minute; then the run is made to have an end.
true_limit() {
  sed -i -e 's/warmup = 2;/name = "constant"; &/' \
    -e 's/steps = [0-9]*; batch/steps = 1000000; batch/' run.cfg
  start train 2 --time=1 --signal=USR1@40
  within 120 trained 5
  within 120 is_pending
  name=$(newest run)
  echo "life 0 ended with $name"
  steps=$(($(echo "$name" | sed 's/step-0*//') + 20))
  sed -i "s/steps = 1000000;/steps = $steps;/" run.cfg
  ends COMPLETED
  says "job $job, life 1, on n"
  mv run cut
  uncut "$steps" 14
  mv cut run
  same_bits
}

# All that runs on a node dies, its slurmd first.
slurmd_dies() {
  start train 2 --nodelist=n4,n5
  within 120 trained 5
  rank=$(rank_of "$job" 1)
  kill -s KILL "$(cat "$MINISLURM_DIR/run/slurmd.n5.pid")"
  stepd=$(ss -xlp | grep -F "$MINISLURM_DIR/spool/n5/" |
    sed -n 's/.*pid=\([0-9]*\).*/\1/p')
  # shellcheck disable=SC2086
  kill -s KILL $stepd "$rank" 2>err
  within 120 is_pending
  slurmd -N n5
  scontrol update nodename=n5 state=idle
  ends COMPLETED
  says "job $job, life 1, on n"
  same_bits
}

# Anything at any time.
any_time() {
  uncut 900 14
  count=0
  start train 2 --nodelist=n6,n7
  while [ "$count" -lt 30 ]; do
    within 120 is_running
    sleep "$(random 4).$(random 10)"
    disturb "$(random 4)"
    within 300 is_settled
    case $(job_state) in
      PENDING) ;;
      COMPLETED) break ;;
      *) start train 2 --nodelist=n6,n7 ;;
    esac
    count=$((count + 1))
  done
  ends COMPLETED
  same_bits
  echo "disturbed $count times:$(sort kinds | uniq -c | tr -s '\n ' ' ')"
}
disturb() {
  case $1 in
    0) echo USR1 && scancel --signal=USR1 "$job" ;;
    1) echo scancel && scancel "$job" ;;
    2) echo node && scontrol update nodename=n7 state=down reason=test ;;
    3) echo rank && kill -s KILL "$(rank_of "$job" "$(random 2)")" ;;
  esac >>kinds 2>err
}
random() { # N: below N
  echo $(($(od -An -N2 -tu2 /dev/urandom) % $1))
}
is_running() {
  scontrol update nodename=n7 state=idle 2>err
  [ "$(job_state)" != PENDING ]
}
is_settled() {
  is_pending || has_ended
}

make_inputs
uncut 60 14 # there must be time to disturb others
together limit_srun limit_mpiexec cancel down killed killed_early
if is_long; then
  limit=600
  together true_limit slurmd_dies any_time
fi
finish cases
