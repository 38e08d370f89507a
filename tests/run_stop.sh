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
held=1
start 2 "$@"
held=
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
grep '"t": "run"' run/metrics.jsonl | tail -n 1 >line
says '"job": "17", "life": 2' line "the job's end"
[ $(($(date +%s) - began)) -le 9 ] || fail "the job's end: too late"

# stopped WHAT COMMAND...: ends by SIGTERM in good order, with nothing left of
# its output.  One that was too fast for the signal runs again.
stopped() {
  what=$1
  shift
  cases=$((cases + 1))
  for _ in 1 2 3 4 5; do
    "$@" >out 2>err &
    echo $! >pid.0
    until is_ready 0 || ! kill -0 $! 2>/dev/null; do :; done
    kill -s TERM $! 2>/dev/null
    [ "$1" != ztconv ] || [ "$2" != tokens ] || cat text >&3
    wait $!
    code=$?
    [ $code -eq 0 ] || break
    rm -rf half*
  done
  [ $code -eq 143 ] || fail "$what: code $code: $(cat err)"
  says 'asked to stop by SIGTERM' err "$what"
  rest=$(find . -name 'half*')
  [ -z "$rest" ] || fail "$what leaves $rest"
}

# The other programs: nothing half done.
sed 's/"d_model": [0-9]*/"d_model": 1024/; s/"d_ff": [0-9]*/"d_ff": 2048/' \
  "$golden/t5v11tiny/config.json" >big.json
good 2 ztconv init big.json big.h5
good 2 ztconv export big.h5 big
stopped "ztconv init" ztconv init big.json half.h5
stopped "ztconv import" ztconv import big half.h5
stopped "ztconv export" ztconv export big.h5 half
mkfifo pipe
exec 3<>pipe
stopped "ztconv tokens" ztconv tokens half.h5 --tokenizer bytes pipe
exec 3>&-
stopped ztgen ztgen big.h5 --tokens "5 6 7" --max-new-tokens 9999 --output half
finish cases
