#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A rank that does not answer: the others leave with 76 and name it.  A job that
# is suspended as a whole goes on afterwards.
# shellcheck disable=SC2086,SC2094
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/launch.sh"
make_inputs
set -- -s train.steps=100000 -s restart.every_steps=5 \
  -s run.watchdog_seconds=2

# hangs RANK RANKS: one is stopped for ever, in the middle.
hangs() {
  victim=$1 ranks=$2 what="rank $1 of $2 stopped"
  shift 2
  start "$ranks" "$@"
  steps_more 8
  send STOP "$victim"
  began=$(date +%s)
  ended "$what"
  took=$(($(date +%s) - began))
  kill -s KILL "$(cat "pid.$victim")" 2>/dev/null
  [ $code -ne 0 ] || fail "$what: code 0" # the launcher chooses one of several
  [ $took -le 15 ] || fail "$what: ended after $took s"
  [ "$(grep -c '^ztrain: ' err)" -eq 1 ] || fail "$what: said: $(cat err)"
  says "^ztrain: no progress .*: rank $victim of $ranks wrote nothing: " err \
    "$what"
  ztinfo status run >status
  [ $? -eq 1 ] || fail "$what: $(cat status)"
  says "failed with code 76 on rank $victim, step .*restart step-0" status \
    "$what"
  ztinfo hang run >report || fail "$what: ztinfo hang: $?"
  says "^rank $victim of $ranks wrote nothing: .*; .* \(is\|are\) in " \
    report "$what"
  says "^  rank $victim: no report" report "$what"
  [ "$(find run/hang -name 'rank-*.txt' | wc -l)" -eq $((ranks - 1)) ] ||
    fail "$what: reports: $(find run/hang)"
}
hangs 1 3 "$@"
hangs 0 2 "$@" # the next life of the same run
[ -s run/hang.old/rank-00002.txt ] || fail "the reports before are gone"

# Longer than the watchdog waits, all of it at once.
start 2 "$@"
steps_more 20
send STOP 0 1
sleep 3
send CONT 0 1
steps_more 50
send TERM 0
ended_well "suspended and continued"
[ ! -e run/hang ] || fail "a suspended run reports a hang"
ztinfo hang run 2>err >out
[ $? -eq 66 ] || fail "ztinfo hang without a hang: $(cat out err)"

# A disk that is slow holds a run up; one that never answers is a rank out of
# step, though all of them ask each other all the time.
shim=$ZT_BUILD/tests/shim/shim.so
if [ -e "$shim" ] && LD_PRELOAD=$shim ztinfo --version >/dev/null 2>&1; then
  ZT_SHIM_UNDER=run/restart ZT_SHIM_RANK=1
  export ZT_SHIM_UNDER ZT_SHIM_RANK
  rm -rf run
  good 2 env LD_PRELOAD="$shim" ZT_SHIM_FAIL=write:1+:slow \
    ztrain run.cfg -s run.watchdog_seconds=1 -s restart.every_steps=0
  # In the save itself, and while the disk's own rate is still measured.
  for where in step- .rate; do
    rm -rf run
    cases=$((cases + 1))
    on 2 env LD_PRELOAD="$shim" ZT_SHIM_FAIL=write:1:stuck \
      ZT_SHIM_UNDER="run/restart/$where" \
      ztrain run.cfg -s run.watchdog_seconds=1 -s restart.every_steps=0
    ztinfo status run >status
    says 'failed with code 76 on rank 1' status "$where: a write never ends"
    ztinfo hang run >report
    case $where in
      step-) says "^rank 1 of 2 is out of step: at 'writing a restart' .*; the \
others are in the end of a save" report "$where: a write never ends" ;;
      *) says "^rank 1 of 2 is out of step: at 'waiting for the thread that \
writes' .*; the others are in all-reduce" report "$where: a write never ends" ;;
    esac
  done
  rm -rf run
fi

# A dead rank: the launcher sees it.
start 3 "$@"
steps_more 1
send KILL 2
ended "rank 2 killed"
[ $code -ne 0 ] || fail "rank 2 killed: code 0"
ztinfo status run >status
[ $? -eq 75 ] || fail "rank 2 killed: $(cat status)"

finish cases
