#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Stopping in good order: by each signal to one rank or to all, by limits of
# time, while loading; and at once by the same signal again.  A run that was
# stopped many times has the bits of one that was not.
# shellcheck disable=SC2086,SC2094
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/launch.sh"
make_inputs
set -- -s 'train.schedule.name="constant"' -s restart.every_steps=7 \
  -s restart.keep=1

# Six lives of one run, on different ranks.
lives=0
for signal in TERM USR1 INT; do
  for who in 0 1 "0 1"; do
    start $((lives % 2 + 2)) "$@" -s train.steps=100000
    steps_more 3
    send $signal $who
    ended_well "SIG$signal to $who"
    says "asked to stop by SIG$signal" status "SIG$signal to $who"
    lives=$((lives + 1))
  done
done
last=$(steps run | wc -l)
mv run stopped
good 1 ztrain run.cfg "$@" -s "train.steps=$last"
steps run >whole.steps
steps stopped | cmp - whole.steps || fail "$lives lives: other steps"
[ "$(state run "$last")" = "$(state stopped "$last")" ] ||
  fail "$lives lives: other bits after step $last"
[ "$(grep -c '"t": "run"' stopped/metrics.jsonl)" -eq $lives ] ||
  fail "lives in metrics.jsonl"
rm -rf run stopped

# Before anything is loaded: the signal comes while MPI starts.
start 2 "$@"
send STOP 1
until_true "rank 0 is ready" is_ready 0
send USR1 0
send CONT 1
ended_well "while loading"
says 'before the first step' status "while loading"
[ ! -s run/metrics.jsonl ] || [ "$(steps run | wc -l)" -eq 0 ] ||
  fail "while loading: steps were done"
rm -rf run

# Again is at once, which others must not hold up; an echo is not again.
start 2 "$@" -s train.steps=100000
steps_more 9
send STOP 1
send TERM 0 0
sleep 1
kill -0 "$(cat pid.0)" || fail "an echo of a signal ends it"
send USR1 0
sleep 0.5
kill -0 "$(cat pid.0)" || fail "another signal ends it"
send TERM 0
ended "SIGTERM again"
[ $code -ne 0 ] || fail "SIGTERM again: code 0"
ztinfo status run >status
[ $? -eq 75 ] || fail "SIGTERM again: $(cat status)"
kill -s CONT "$(cat pid.1)" 2>/dev/null
rm -rf run

# Limits of time.
start 2 "$@" -s train.steps=100000 --max-hours 0.0006
ended_well "--max-hours"
says 'time limit --max-hours' status "--max-hours"
began=$(date +%s)
SLURM_JOB_END_TIME=$((began + 13)) SLURM_JOB_ID=17 SLURM_RESTART_COUNT=2
export SLURM_JOB_END_TIME SLURM_JOB_ID SLURM_RESTART_COUNT
start 2 "$@" -s train.steps=100000
ended_well "the job's end"
says 'end of the job' status "the job's end"
says 'job 17, life 2' status "the job's end"
says 'job 17, life 2; 2 ranks' run/log.txt "the job's end"
tail -n 99 run/metrics.jsonl | grep '"t": "run"' >line
says '"job": "17", "life": 2' line "the job's end"
[ $(($(date +%s) - began)) -le 9 ] || fail "the job's end: too late"
finish cases
