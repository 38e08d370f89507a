#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Training in bf16: the same bits on every number of ranks and threads, also
# when cut and resumed; losses beside those of fp32.
# shellcheck disable=SC2086
. "$ZT_SRC/tests/lib.sh"
make_inputs

# train RANKS DIR STEPS ARGUMENT...
train() {
  on_ranks=$1 dir_of=$2 upto=$3
  shift 3
  good "$on_ranks" ztrain run.cfg -s run.dir="$dir_of" \
    -s train.steps="$upto" -s train.batch=14 "$@"
}
bf16='-s train.precision=bf16'
# same NAME ARGUMENT...: on 1, 2 and 3 ranks.
same() {
  name=$1
  shift
  train 1 "$name-1" 6 $bf16 "$@"
  for ranks in 2 3; do
    train $ranks "$name-$ranks" 6 $bf16 "$@"
    [ "$(state "$name-$ranks" 6)" = "$(state "$name-1" 6)" ] ||
      fail "$name: $ranks ranks give another state"
    steps "$name-$ranks" >got
    steps "$name-1" | cmp -s - got || fail "$name: other losses"
  done
}
same own
same tied -s model.weights=tied.h5 -s data.train=ids.h5
OMP_NUM_THREADS=2 train 1 threads 6 $bf16
[ "$(state threads 6)" = "$(state own-1 6)" ] || fail "2 threads"
train 1 recompute 6 $bf16 -s train.recompute=false
[ "$(state recompute 6)" = "$(state own-1 6)" ] || fail "recompute"
# The schedule must be that of the whole run.
on 2 ztrain run.cfg -s run.dir=cut $bf16 -s train.steps=6 -s train.batch=14 \
  -s restart.every_steps=2
for gone in 4 6; do rm -rf cut/restart/step-00000000$gone; done
good 3 ztrain run.cfg -s run.dir=cut $bf16 -s train.steps=6 -s train.batch=14
[ "$(state cut 6)" = "$(state own-1 6)" ] || fail "cut and resumed"
cases=$((cases + 1))
on 1 ztrain run.cfg -s run.dir=cut -s train.steps=9 -s train.batch=14
[ $code -eq 78 ] && grep -q train.precision err ||
  fail "another precision on resume: $code: $(cat err)"

# Means of 20 steps, bf16 beside fp32.
many=40 within=0.03
is_long && many=200 within=0.01
set -- -s train.dropout=0 -s train.optimizer.lr=1e-3 -s train.schedule.warmup=10
train 2 wide $many "$@"
train 2 narrow $many $bf16 "$@"
cases=$((cases + 1))
for run in wide narrow; do
  steps $run | sed 's/.*"loss": \([0-9.e+-]*\).*/\1/' |
    awk '{s += $1} NR % 20 == 0 {print s / 20; s = 0}' >$run.means
done
paste wide.means narrow.means | awk -v w=$within -v n=$((many / 20)) '
  { d = ($1 - $2) / $1; d = d < 0 ? -d : d; if (d > most) most = d }
  END { printf "means of 20 steps: bf16 within %.3f %% of fp32\n", 100 * most
        exit !(NR == n && most <= w) }' || fail "too far from fp32"
finish cases
