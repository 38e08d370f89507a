#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Every fault point, on every rank, in all that passes it: one message that
# names rank and cause, one exit code, STATUS.json says so, no hang, no output
# left behind, and an earlier restart goes on to the same end.
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
make_inputs
limit=30

# What passes a point; the short form takes the first.  step.order is no failure:
# see run_hang.sh.
#   train     ztrain from a weights file     resume     from a restart
#   import    ztconv, of a directory
#   export    ztconv, of a weights file      extract    of a restart
#   generate  ztgen, from a weights file     continue   from a restart
cat >paths <<'END'
config.read train resume
plan.memory resume train
device.allocate train resume generate
data.open resume train
data.read train resume
weights.open generate train export
weights.read train generate
step.gather train resume generate continue
step.order
step.compute resume train
step.reduce train resume
step.update resume train
evaluate.batch resume train
metrics.write train resume
restart.layout resume train
restart.write resume train
restart.sync resume train
restart.seal resume train
restart.open resume extract continue
restart.read resume extract continue
import.read import
import.write import
export.read export extract
export.write extract export
generate.token generate continue
END

# each RANKS PROGRAM ARGUMENT...: the same as on; codes has that of each rank.
each() {
  each_ranks=$1
  shift
  rm -f codes
  # shellcheck disable=SC2016
  on "$each_ranks" sh -c '"$@"
    code=$?
    echo $code >>codes
    exit $code' sh "$@"
}

train() {
  each "$1" ztrain run.cfg -s train.steps=4 -s restart.every_steps=2 \
    -s restart.max_failures=0 -s data.valid=tokens.h5 -s train.eval_every=2
}

# The uncut run, and its first half.
train 2
[ $code -eq 0 ] || fail "without a fault: $code: $(cat err)"
want="$(state run 4) $(steps run)"
mv run half
rm -r half/restart/step-000000004
old=half/restart/step-000000002

# act WHAT RANKS
act() {
  rm -rf run x x.h5
  case $1 in
    train) train "$2" ;;
    resume) cp -r half run && train "$2" ;;
    import) each "$2" ztconv import "$golden/t5v10tiny" x.h5 ;;
    export) each "$2" ztconv export weights.h5 x ;;
    extract) each "$2" ztconv export $old x ;;
    generate) each "$2" ztgen weights.h5 --tokens '5 6 7' --max-new-tokens 3 ;;
    continue) each "$2" ztgen $old --tokens '5 6 7' --max-new-tokens 3 ;;
  esac
}

# In the middle of a collective nobody can be asked: the rank ends all others,
# and a launcher may then report how they died.
is_abrupt() {
  case $2/$1 in
    1/*) return 1 ;;
    */step.* | */evaluate.* | */generate.token) return 0 ;;
    *) return 1 ;;
  esac
}

# says FILE TEXT WHAT
says() {
  grep -qF -- "$2" "$1" || fail "$3: no '$2' in $1: $(cat "$1")"
}

# walk POINT WHAT RANKS RANK
walk() {
  point=$1 what=$2 ranks=$3 rank=$4
  name="$point@$rank of $ranks, $what"
  cases=$((cases + 1))
  export ZT_FAULT="$point@$rank"
  act "$what" "$ranks"
  unset ZT_FAULT
  if is_abrupt "$point" "$ranks"; then
    [ $code -ne 0 ] && [ $code -ne 124 ] || fail "$name: code $code: $(cat err)"
    ! grep -qx 0 codes || fail "$name: a rank ends well"
  else
    [ "$(grep -cx 74 codes)" -eq "$ranks" ] && [ $code -eq 74 ] ||
      fail "$name: code $code, of ranks $(cat codes): $(cat err)"
  fi
  grep '^zt[a-z]*: ' err | grep -v '^zt[a-z]*: warning: ' >said
  [ "$(grep -c . said)" -eq 1 ] && [ "$(wc -m <said)" -le 208 ] ||
    fail "$name: not one line: $(cat err)"
  says said "fault injected at $point" "$name"
  [ "$ranks" -eq 1 ] || says said "rank $rank: " "$name"
  [ -z "$(ls -d x* 2>/dev/null)" ] || fail "$name: leaves $(ls -d x*)"
  case $what in train | resume) check_run ;; esac
}

# The run's directory after a failure of ztrain.
check_run() {
  if [ "$point" != config.read ]; then # which names the directory
    says run/STATUS.json '"state": "failed", "code": 74' "$name"
    says run/STATUS.json "fault injected at $point" "$name"
    [ "$ranks" -eq 1 ] || says run/STATUS.json "\"rank\": $rank," "$name"
  fi
  if [ "$what" = resume ]; then
    [ "$(state run 2)" = "$(state half 2)" ] ||
      fail "$name: the earlier restart is lost"
  fi
  if is_long && [ "$rank" -eq $((ranks - 1)) ]; then
    train $((4 - ranks))
    [ "$(state run 4) $(steps run)" = "$want" ] ||
      fail "$name: goes on to another end: $(state run 4) $(cat err)"
    [ "$(ls run/restart | tr '\n' ' ')" = \
      'step-000000002 step-000000004 ' ] || fail "$name: $(ls run/restart)"
  fi
}

ztinfo faults >points
cut -d ' ' -f 1 paths | cmp -s - points ||
  fail "not the list of points: $(cut -d ' ' -f 1 paths | diff - points)"
turn=0
while read -r point whats <&3; do
  for what in $whats; do
    turn=$((turn + 1))
    if is_long; then
      for ranks in 1 2 3; do
        rank=0
        while [ $rank -lt $ranks ]; do
          walk "$point" "$what" $ranks $rank
          rank=$((rank + 1))
        done
      done
    else
      ranks=$((2 + turn % 2))
      walk "$point" "$what" $ranks $((turn % ranks))
      break
    fi
  done
done 3<paths
finish "faults end as they should"
