#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# SIGKILL at random instants, of all ranks or of one, and on with another number
# of ranks: always the uncut run's bits.
#   ZT_KILLS=N  how many (20; 1,000 in the long form)  ZT_SEED=N
# shellcheck source=tests/lib.sh
. "${ZT_SRC:?}/tests/lib.sh"
make_inputs
if is_long; then kills=${ZT_KILLS:-1000}; else kills=${ZT_KILLS:-20}; fi
seed=${ZT_SEED:-1}
sed 's/steps = 6/steps = 60/; s/every_steps = 3/every_steps = 2/' run.cfg >long.cfg

# draw N: 0 .. N - 1
draw() {
  seed=$(((seed * 1103515245 + 12345) % 2147483648))
  drawn=$((seed / 65536 % $1))
}

began=$(date +%s%N)
good 2 ztrain long.cfg -s run.dir=uncut
whole=$((($(date +%s%N) - began) / 1000)) # us; parts get up to half of it
want=$(state uncut 60)
steps uncut >want.steps

# ranks_of MPIEXEC: process ids of its ranks.
ranks_of() {
  for proxy in $(ps -o pid= --ppid "$1"); do
    ps -o pid=,comm= --ppid "$proxy" | awk '$2 == "ztrain" { print $1 }'
  done
}

# killed: one part of the run, ended by force after a while.
killed() {
  draw 3
  ranks=$((drawn + 1))
  draw 2
  single=$drawn
  draw 70
  mpiexec -n $ranks ztrain long.cfg >out 2>err </dev/null &
  launcher=$!
  sleep "$(awk -v t=$drawn -v whole=$whole 'BEGIN {
    print 0.05 + t / 140 * whole / 1e6 }')"
  pids=$(ranks_of $launcher)
  draw $ranks
  if [ "$single" -eq 1 ] && [ $ranks -gt 1 ]; then
    pids=$(echo "$pids" | sed -n "$((drawn + 1))p")
  fi
  # shellcheck disable=SC2086
  [ -z "$pids" ] || kill -9 $pids 2>/dev/null
  wait $launcher
  code=$?
}

count=0 runs=0
while [ $count -lt "$kills" ]; do
  rm -rf run
  runs=$((runs + 1))
  code=1
  while [ $count -lt "$kills" ] && ! grep -qs '"done"' run/STATUS.json; do
    killed
    [ $code -eq 0 ] || count=$((count + 1))
  done
  cases=$((cases + 1))
  draw 3
  on $((drawn + 1)) ztrain long.cfg
  [ $code -eq 0 ] || fail "after $count kills: code $code: $(cat err)"
  [ "$(state run 60)" = "$want" ] || fail "after $count kills: other bits"
  steps run | cmp -s - want.steps || fail "after $count kills: other steps"
  find run/restart -name '*.bad' -o -name '*.tmp' | grep . && fail "after $count kills: leftovers"
  [ ! -e run/attempts ] || fail "a kill counts as an attempt"
done
echo "$count kills in $runs runs"
finish "runs cut by SIGKILL"
