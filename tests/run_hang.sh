#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A rank that does not answer: the others leave with 76 and name it.  A job that
# is suspended as a whole goes on afterwards.
# shellcheck disable=SC2086,SC2094
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/launch.sh"
make_inputs
set -- -s train.steps=100000 -s restart.every_steps=5 \
  -s run.watchdog_seconds=2.5

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
sleep 4
send CONT 0 1
steps_more 50
send TERM 0
ended_well "suspended and continued"
[ ! -e run/hang ] || fail "a suspended run reports a hang"
ztinfo hang run 2>err >out
[ $? -eq 66 ] || fail "ztinfo hang without a hang: $(cat out err)"

# A dead rank: the launcher sees it.
start 3 "$@"
send KILL 2
ended "rank 2 killed"
[ $code -ne 0 ] || fail "rank 2 killed: code 0"
ztinfo status run >status
[ $? -eq 75 ] || fail "rank 2 killed: $(cat status)"

finish cases
