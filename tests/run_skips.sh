#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Steps that are not finite: skipped and named alike on any number of ranks, and
# too many of them end the run.  One row of the embedding is NaN: steps that
# meet its token are bad, others are not.
# shellcheck disable=SC2094
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/safetensors.sh"
make_inputs
cp -R "$golden/t5v11tiny" bad
chmod -R u+w bad
file=bad/model.safetensors
st_header $file >header
row=$((($(printf %d "'%") + 3) * 64 * 4)) # the byte % and three special ids
begin=$(st_range header shared.weight | cut -d' ' -f1)
printf '\000\000\300\177' |
  dd of=$file bs=1 seek=$((8 + $(st_length $file) + begin + row)) conv=notrunc \
    2>/dev/null
good 1 ztconv import bad bad.h5
sed '1~6s/ /%/' "$ZT_SRC/COPYING" >odd
good 1 ztconv tokens odd.h5 --tokenizer bytes odd
set -- -s model.weights=bad.h5 -s data.train=odd.h5 -s train.steps=24 -s train.batch=4 \
  -s restart.every_steps=5 -s 'train.schedule.name="constant"'

for ranks in 1 2 3; do
  rm -rf run
  good $ranks ztrain run.cfg "$@" -s train.max_skips=24 -s log.every_steps=1
  steps run >steps.$ranks
  state run 24 >state.$ranks
  cmp steps.1 steps.$ranks || fail "$ranks ranks: other steps"
  cmp state.1 state.$ranks || fail "$ranks ranks: other bits"
done
bad=$(grep -c '"loss": null, "grad_norm": null, .*"bad": "shared.weight"' steps.1)
[ "$bad" -ge 3 ] || fail "$bad bad steps"
[ "$(grep -c '"loss": [0-9]' steps.1)" -eq $((24 - bad)) ] ||
  fail "$bad bad steps, and others that are not good"
[ "$(grep -c 'warning: step .* is skipped: shared.weight is not' err)" -eq \
  "$bad" ] || fail "warnings: $(cat err)"
[ "$(grep -c 'SKIPPED for shared.weight' err)" -eq "$bad" ] ||
  fail "progress lines: $(cat err)"

# In pieces: the same steps are skipped, and the same bits come out.
mv run whole
good 2 ztrain run.cfg "$@" -s train.steps=7 -s train.max_skips=24
good 3 ztrain run.cfg "$@" -s train.max_skips=24
steps run | cmp - steps.1 || fail "in pieces: other steps"
state run 24 | cmp - state.1 || fail "in pieces: other bits"

# Too many in a row.
on 2 ztrain run.cfg "$@" -s run.dir=blown -s train.optimizer.lr=1e30 \
  -s train.optimizer.clip=0.0 -s train.schedule.warmup=0 \
  -s model.weights=weights.h5 -s train.max_skips=2
cases=$((cases + 1))
[ $code -eq 79 ] || fail "lr 1e30: code $code: $(cat err)"
grep -q '^ztrain: diverged: 3 steps in a row were not finite, .*; lower' err ||
  fail "lr 1e30: $(cat err)"
ztinfo status blown >status
grep -q 'failed with code 79, step' status || fail "lr 1e30: $(cat status)"
[ "$(steps blown | tail -n 3 | grep -c '"bad"')" -eq 3 ] ||
  fail "lr 1e30: $(steps blown)"
finish cases
