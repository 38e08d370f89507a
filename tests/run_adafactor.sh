#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs with Adafactor: the same bits on any number of ranks and threads, in one
# piece or in several; what its restarts hold and how programs read them; which
# changes are refused.
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
make_inputs
adafactor='-s train.optimizer.name=adafactor -s train.steps=4
  -s restart.every_steps=1 -s restart.keep=9'

# same NAME RANKS OPTION...: a run whose bits must be those of the first of
# that name; it stays in NAME.run.
same() {
  name=$1 ranks=$2
  shift 2
  rm -rf "$name.run"
  # shellcheck disable=SC2086
  good "$ranks" ztrain run.cfg -s run.dir="$name.run" $adafactor "$@"
  compare "$name" "$ranks ranks, $*"
}

# compare NAME WHAT
compare() {
  { state "$1.run" 4 && steps "$1.run"; } >is
  [ "$(grep -c . is)" -eq 5 ] || fail "$1, $2: $(cat is)"
  [ -e "$1.want" ] || cp is "$1.want"
  cmp -s is "$1.want" || fail "$1, $2: other bits: $(diff "$1.want" is)"
}

# resume NAME STEP RANKS OPTION...
resume() {
  name=$1 from=$2 ranks=$3
  shift 3
  for restart in "$name.run"/restart/*; do
    [ "${restart##*/}" = "$(step "$from")" ] || rm -r "$restart"
  done
  # shellcheck disable=SC2086
  good "$ranks" ztrain run.cfg -s run.dir="$name.run" $adafactor "$@"
  grep -q "resuming from .*$(step "$from")" err ||
    fail "$name: does not resume: $(cat err)"
  compare "$name" "from step $from on $ranks ranks"
}

for ranks in 1 2 3 5; do
  same plain $ranks
done
resume plain 1 3 -s restart.staging=64KiB
resume plain 2 1
same plain 2 -s runtime.threads=3 -s zero.carrier=chain

all='-s model.weights=tied.h5 -s data.train=ids.h5 -s train.precision=bf16
  -s train.optimizer.weight_decay=0.1 -s train.optimizer.relative_step=true
  -s train.label_smoothing=0.1 -s train.z_loss=1e-3'
for ranks in 1 3; do
  # shellcheck disable=SC2086
  same all $ranks $all -s 'train.optimizer.freeze=encoder.*' \
    -s 'train.optimizer.lr_scale=*norm*=0.5'
done
grep -q '"lr": 0.01' all.want || fail "relative_step: $(cat all.want)"

# Restarts: smaller, whole, and known to all programs.
two=plain.run/restart/$(step 2) four=plain.run/restart/$(step 4)
good 2 ztconv verify --deep "$four"
[ "$(sed -n 1p "$four/COMMIT")" = 'zt-restart 2.0' ] || fail "$(cat "$four/COMMIT")"
good 1 ztinfo views "$four"
good 2 ztconv export "$four" exported
good 1 ztconv import exported back.h5
[ "$(ztinfo digest back.h5)" = "$(ztinfo digest "$four")" ] ||
  fail "the export differs"
on 2 ztconv diff "$two" "$four"
{ [ $code -eq 1 ] &&
  grep -q 'lm_head.weight.exp_avg_sq_row: max abs diff' out; } ||
  fail "diff: $code: $(cat out err)"
on 1 ztconv diff "$four" "$four"
[ $code -eq 0 ] || fail "diff with itself: $(cat out err)"
good 1 ztinfo plan run.cfg --ranks 2 --json
whole=$(sed 's/.*"restart_bytes": \([0-9]*\).*/\1/' out)
# shellcheck disable=SC2086
good 1 ztinfo plan run.cfg --ranks 2 --json $adafactor
part=$(sed 's/.*"restart_bytes": \([0-9]*\).*/\1/' out)
[ "$part" -lt $((whole * 2 / 5)) ] || fail "restart of $part, not $whole bytes"
for run in plain all; do
  grep -q 'exactly all of the planned' $run.run/log.txt || fail "$run: plan"
done

# A bit in the statistics: the restart before is taken, and the end is the same.
rm -r "$four"
three=plain.run/restart/$(step 3)
size=$(wc -c <"$three/part-00000.h5")
printf '\377' | dd of="$three/part-00000.h5" bs=1 seek=$((size - 16000)) \
  conv=notrunc 2>/dev/null
on 1 ztconv verify --deep "$three"
{ [ $code -eq 65 ] && grep -q 'exp_avg_sq' err; } ||
  fail "a flipped bit: $code: $(cat err)"
cases=$((cases + 1))
# shellcheck disable=SC2086
good 2 ztrain run.cfg -s run.dir=plain.run $adafactor
grep -q "$(step 3) is passed over" err || fail "no fall-back: $(cat err)"
compare plain "after damage"

# says CODE TEXT OPTION...: a line of the trainer that refuses.
says() {
  wanted=$1 text=$2
  shift 2
  cases=$((cases + 1))
  on 2 ztrain run.cfg -s run.dir=plain.run "$@"
  { [ $code -eq "$wanted" ] && grep -q "$text" err; } ||
    fail "$*: code $code: $(cat err)"
}
says 78 'train.optimizer.name is "adamw"' -s train.steps=6
says 78 'relative_step is for' -s train.optimizer.relative_step=true
# shellcheck disable=SC2086
says 78 'warmup_init needs' $adafactor -s train.optimizer.warmup_init=true
says 78 'decay_rate' -s train.optimizer.decay_rate=-0.8
says 78 'z_loss' -s train.z_loss=-1
says 78 'label_smoothing' -s train.label_smoothing=1
says 0 'begins anew' -s train.steps=5 --allow-change train.optimizer.name
good 2 ztconv verify --deep "plain.run/restart/$(step 5)"
[ "$(sed -n 1p "plain.run/restart/$(step 5)/COMMIT")" = 'zt-restart 1.1' ] ||
  fail 'a restart with moments is of another version'
finish "runs and programs"
