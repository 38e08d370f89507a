#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A disk that is really full, at many sizes: the run ends well or with 74, the
# restart that stood before still loads, and with room again the run goes on to
# the uncut run's bits.
# shellcheck source=tests/lib.sh
. "${ZT_SRC:?}/tests/lib.sh"
if [ -z "${ZT_OWN_MOUNTS:-}" ]; then
  unshare -m true 2>/dev/null || skip "no mount name space of its own"
  cd / && rm -rf "$dir"
  ZT_OWN_MOUNTS=1 exec unshare -m sh "$ZT_SRC/tests/run_restart_full.sh"
fi
make_inputs
mkdir run
mount -t tmpfs -o size=64m tmpfs run 2>err || skip "no tmpfs: $(cat err)"
trap 'umount run; cd /; rm -rf "$dir"' EXIT
sed 's/steps = 6/steps = 4/; s/every_steps = 3/every_steps = 2; keep = 1/' \
  run.cfg >small.cfg

good 2 ztrain small.cfg -s run.dir=uncut
want=$(state uncut 4)
steps uncut >want.steps
good 2 ztrain small.cfg -s train.steps=2
cp -r run begun
begun=$(du -sk run | cut -f1)

# From what the first restart takes to more than two of them.
if is_long; then count=60; else count=6; fi
good=0 bad=0 i=0
while [ $i -le $count ]; do
  rm -rf run/*
  cp -r begun/. run/
  size=$((begun + (begun + begun / 2) * i / count))
  mount -o "remount,size=${size}k" run 2>err || fail "remount: $(cat err)"
  on 2 ztrain small.cfg
  cases=$((cases + 1))
  case $code in
  0) good=$((good + 1)) ;;
  74 | 73) bad=$((bad + 1)) ;;
  *) fail "$size KiB: code $code: $(cat err)" ;;
  esac
  mount -o remount,size=64m run
  good 2 ztrain small.cfg
  [ "$(state run 4)" = "$want" ] || fail "$size KiB: other bits"
  find run/restart -name '*.bad' -o -name '*.tmp' | grep . && fail "$size KiB: something is left"
  i=$((i + 1))
done
echo "$good runs had room, $bad had not"
[ $((good * bad)) -gt 0 ] || fail "not both kinds"
finish "full disks"
