#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Whole runs in which calls fail: the run goes on with a warning or ends with 74,
# the restart it began from stays, and what comes after is the uncut run's.
# Also: damage in whole runs, and a program that dies before its first step.
# shellcheck source=tests/lib.sh
. "${ZT_SRC:?}/tests/lib.sh"
shim=$ZT_BUILD/tests/shim/shim.so
[ -e "$shim" ] || skip "no $shim"
LD_PRELOAD=$shim ztinfo --version >/dev/null 2>&1 ||
  skip "nothing can be preloaded (sanitizers)"
make_inputs
limit=30
sed 's/steps = 6/steps = 4/; s/every_steps = 3/every_steps = 2/' run.cfg >small.cfg

# uncut: steps 1 to 4, the restart of step 2 kept for the other runs.
good 2 ztrain small.cfg -s run.dir=uncut
want=$(state uncut 4)
steps uncut >want.steps
cp -r uncut begun
rm -rf begun/restart/step-000000004

# with RANK CALL:N:WHAT COMMAND...: run it so.
with() {
  rank=$1 what=$2
  shift 2
  cases=$((cases + 1))
  ZT_SHIM_UNDER=run/restart ZT_SHIM_RANK=$rank ZT_SHIM_FAIL=$what
  export ZT_SHIM_UNDER ZT_SHIM_RANK ZT_SHIM_FAIL
  on 2 env LD_PRELOAD="$shim" "$@"
  unset ZT_SHIM_UNDER ZT_SHIM_RANK ZT_SHIM_FAIL
}

# begin: a run that has the restart of step 2 and wants two more steps.
begin() {
  rm -rf run
  cp -r begun run
}

# same: another run, with nothing in its way, ends with the uncut run's bits.
same() {
  good 2 ztrain small.cfg
  [ "$(state run 4)" = "$want" ] || fail "$1: other bits"
  steps run | cmp -s - want.steps || fail "$1: other steps"
  find run/restart -name '*.bad' -o -name '*.tmp' | grep . && fail "$1: something is left"
}

# ---- Calls that fail ----

calls="create write direct fallocate sync mkdir rename close any"
whats="ENOSPC EIO EDQUOT short EINTR"
numbers="1 2 4 9"
if ! is_long; then
  # One of each kind, on each of the two ranks.
  set -- write:2:ENOSPC direct:1:EIO sync:1:EDQUOT write:3:short \
    create:1:EINTR fallocate:1+:ENOSPC rename:1:EIO any:9+:EIO
else
  set --
  for call in $calls; do
    for what in $whats; do
      for n in $numbers 3+; do
        # Interrupted for ever is no failure: the call is made again for ever.
        [ "$n:$what" != 3+:EINTR ] || continue
        set -- "$@" "$call:$n:$what"
      done
    done
  done
fi
rank=0
for fault; do
  for rank in 0 1; do
    is_long || [ $rank -eq $((cases % 2)) ] || continue
    begin
    with $rank "$fault" ztrain small.cfg
    case $code in
    0) ;;
    74 | 73) grep -q 'restart' err || fail "$fault: $(cat err)" ;;
    *) fail "$fault on rank $rank: code $code: $(cat err)" ;;
    esac
    [ -d run/restart/step-000000002 ] || fail "$fault: the restart is gone"
    same "$fault on rank $rank"
  done
done

# What a file system does not know is no failure at all.
for fault in fallocate:1+:EOPNOTSUPP direct:1+:EINVAL sync:1+:slow; do
  begin
  with 0 $fault ztrain small.cfg
  [ $code -eq 0 ] || fail "$fault: code $code: $(cat err)"
  grep -q 'warning' err && fail "$fault: $(cat err)"
  [ "$(state run 4)" = "$want" ] || fail "$fault: other bits"
done

# ---- A save that is due while one is written ----

# slowly RULE: a restart after each step, on a disk that is slower than steps.
slowly() {
  rm -rf run
  with 0 sync:1+:slow ztrain run.cfg -s train.steps=6 -s restart.keep=9 \
    -s restart.every_steps=1 -s restart.busy="$1"
  [ $code -eq 0 ] && [ -d run/restart/step-000000006 ] ||
    fail "restart.busy=$1: code $code: $(cat err)"
  state run 6 >"$1.state"
  find run/restart -name 'step-*' | wc -l >"$1.count"
}

slowly wait
[ "$(cat wait.count)" -eq 6 ] || fail "wait: $(cat wait.count) restarts"
grep -q 'still being written' err && fail "wait: one is left out: $(cat err)"
slowly skip
skipped=$(grep -c 'no restart of step .* is still being written' err)
[ "$skipped" -gt 0 ] && [ "$(cat skip.count)" -eq $((6 - skipped)) ] ||
  fail "skip: $(cat skip.count) restarts, $skipped left out: $(cat err)"
cmp -s wait.state skip.state || fail "restart.busy changes bits"

# ---- Failures in a row ----

# Two may fail; the third ends the run, in good order.
begin
with 0 fallocate:1+:ENOSPC ztrain run.cfg -s train.steps=9 \
  -s restart.every_steps=1 -s restart.max_failures=2 -s log.every_steps=1
[ $code -eq 74 ] || fail "max_failures: code $code"
[ "$(grep -c '"event": "save failed"' run/metrics.jsonl)" -eq 3 ] ||
  fail "max_failures: events: $(grep event run/metrics.jsonl)"
grep -q '^step .*SAVES FAILED 2' err || fail "not on the progress line"
tail -n 1 err | grep -q 'No space.*in a row: 3' ||
  fail "max_failures: $(tail -n 1 err)"
grep -q '"code": 74' run/STATUS.json || fail "$(cat run/STATUS.json)"
same "max_failures"

# ---- Damage ----

# The newest of three restarts, on all ranks together.
begin
good 2 ztrain run.cfg -s train.steps=3 -s restart.every_steps=1
printf '\377\000' | dd of=run/restart/step-000000003/part-00000.h5 bs=1 \
  seek=500000 conv=notrunc 2>/dev/null
good 3 ztrain small.cfg
grep -q 'step-000000003 is passed over: .*part-00000.h5: /.*chunk.*damaged' \
  err || fail "damage is not named: $(cat err)"
[ -d run/restart/step-000000003.bad ] || fail "not set aside"
[ "$(state run 4)" = "$want" ] || fail "damage: other bits"
steps run | cmp -s - want.steps || fail "damage: other steps"

# One that cannot be read is not damaged, and nobody goes back to an older one.
for fault in read:1+:EIO open:1+:ESTALE; do
  begin
  with 1 $fault ztrain small.cfg
  [ $code -eq 74 ] || fail "$fault: code $code: $(cat err)"
  same "$fault"
done

# None that loads: never a silent new run.
begin
: >run/restart/step-000000002/COMMIT
on 2 ztrain small.cfg
[ $code -eq 65 ] || fail "no restart loads: code $code"
grep -q 'none of its 1 restarts loads' err || fail "$(cat err)"
[ -d run/restart/step-000000002.bad ] || fail "the empty seal is no damage"

# ---- A program that dies ----

# Three times before its first step; signals from outside do not count.
begin
for _ in 1 2 3; do
  with 1 read:2:crash ztrain small.cfg
  [ $code -ne 0 ] || fail "it did not crash"
done
[ "$(grep -c 'rank 1: signal 11' run/attempts)" -eq 3 ] ||
  fail "attempts: $(cat run/attempts)"
on 2 ztrain small.cfg
[ $code -eq 70 ] || fail "attempts: code $code"
tail -n 1 err | grep -q 'run/attempts: 3 starts died.*--restart PATH' ||
  fail "attempts: $(tail -n 1 err)"
good 2 ztrain small.cfg --restart run/restart/step-000000002
[ ! -e run/attempts ] || fail "the first step leaves the record"
[ "$(state run 4)" = "$want" ] || fail "attempts: other bits"

# Going back to a restart leaves the newer ones whole, but out of the way.
good 2 ztrain small.cfg -s train.steps=3 --restart run/restart/step-000000002
[ "$(ls run/restart)" = "step-000000002
step-000000003" ] || fail "going back: $(ls run/restart)"
[ -f run/restart.old-1/step-000000004/COMMIT ] || fail "the branch is lost"
same "going back"

# ---- What saves are compared with ----

good 2 ztinfo iobench --bytes 1MiB --json .
grep -q '"ranks": 2, .*"write_gb_per_second": [0-9.e+-]*, "read_gb' out ||
  fail "iobench: $(cat out)"
[ "$(find . -name '.rate*')" = "" ] || fail "iobench leaves a file"
on 2 ztinfo iobench none
[ $code -eq 73 ] || fail "iobench of no directory: code $code"
grep -q '"t": "restart".*"gb_per_second": .*"raw_share": .*"stall": ' \
  uncut/metrics.jsonl || fail "no rates in the metrics"
finish "runs with failing calls, damage and crashes"
