#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# One trainer to a run directory; launchers that start worlds of one.
# shellcheck disable=SC2086,SC2094
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/launch.sh"
make_inputs
set -- -s train.steps=100000 -s restart.every_steps=5

# refused CODE TEXT WHAT ARGUMENT...: a second trainer.
refused() {
  wanted=$1 text=$2 what=$3
  shift 3
  cases=$((cases + 1))
  on 2 ztrain run.cfg "$@"
  [ $code -eq "$wanted" ] || fail "$what: code $code: $(cat err)"
  [ "$(grep -c '^ztrain: ' err)" -eq 1 ] || fail "$what: said: $(cat err)"
  says "$text" err "$what"
}

start 2 "$@"
steps_more 12
# The step in it goes on.
status() { sed 's/"step".*//' run/STATUS.json; }
status >before
mv err first.err
refused 73 "run: pid $(cat pid.0) on .*, since 20..-.*Z, trains there" \
  "a second one" "$@"
refused 73 "trains there" "anew" "$@" --restart none
status | cmp - before || fail "a refused one writes STATUS.json"
[ "$(grep -c 'ranks on' run/log.txt)" -eq 1 ] || fail "a refused one logs"
good 1 ztrain run.cfg --check
steps_more 3

# The lock goes with its holder, however that ends.
send KILL 0
ended "rank 0 killed"
good 2 ztrain run.cfg "$@" -s "train.steps=$((has + 40))"
ztinfo status run >status || fail "after the kill: $(cat status)"
steps run | sed 's/.*"step": \([0-9]*\),.*/\1/' >numbers
seq $((has + 40)) | cmp - numbers || fail "steps in metrics.jsonl"
[ ! -s run/lock ] || fail "the lock names one who has left: $(cat run/lock)"

# Worlds of one.
for variable in SLURM_NTASKS SLURM_STEP_NUM_TASKS OMPI_COMM_WORLD_SIZE; do
  cases=$((cases + 1))
  env $variable=4 ztrain run.cfg -s run.dir=other >out 2>err
  code=$?
  [ $code -eq 69 ] || fail "$variable=4: code $code: $(cat err)"
  says "$variable is 4, .* alone" err "$variable=4"
  [ ! -e other ] || fail "$variable=4: it began"
done
SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=1 good 1 ztrain run.cfg
SLURM_NTASKS=4 good 2 ztrain run.cfg
SLURM_NTASKS=4 good 1 ztrain run.cfg --check
finish cases
