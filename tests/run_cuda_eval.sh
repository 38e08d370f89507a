#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Evaluation by the real ztrain on the double of CUDA and NCCL: the processor's
# loss and answers, and the same bits on every number of ranks, in a run and
# alone.
# shellcheck disable=SC2086 # words
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/emu.sh"
on_emu ztrain-emu
make_inputs
head -n 5 pairs.jsonl >few.jsonl
good 1 ztconv tokens few.h5 --vocab 350 few.jsonl
pairs='-s data.train=few.h5 -s data.valid=few.h5 -s data.task=seq2seq
  -s data.source_length=24 -s data.target_length=12 -s train.batch=6
  -s train.microbatch=2 -s train.steps=2 -s train.eval_every=1
  -s train.eval_generate=4 -s log.samples=2'

# answers RUN: the ones that its log shows.
answers() {
  grep '^answer ' "$1/log.txt"
}

# on_device RANKS RUN OPTION...
on_device() {
  ranks=$1 run=$2
  shift 2
  good "$ranks" ztrain-emu run.cfg $pairs -s run.dir="$run" \
    -s runtime.device=cuda -s runtime.comm=nccl "$@"
  grep -q cudaemu err && fail "$run: $(cat err)"
}

good 1 ztrain run.cfg $pairs -s run.dir=cpu -s runtime.device=cpu
evals cpu >want
answers cpu >said
[ "$(wc -l <said)" -eq 4 ] || fail "not two answers a time: $(cat said)"
grep -q '"exact_match": .*"f1": ' want || fail "no scores: $(cat want)"
for ranks in 1 4 $(is_long && echo 2); do
  on_device $ranks device-$ranks
  evals "device-$ranks" >got
  agree 1e-5 want got loss 'step samples targets exact_match f1' ||
    fail "$ranks ranks: $(cat want got)"
  answers "device-$ranks" | cmp -s - said || fail "$ranks ranks: other answers"
  [ -e first ] || cp got first
  cmp -s got first || fail "$ranks ranks: $(diff got first)"
done

# Alone, from the last restart: what the run said of its last step.
tail -n 1 first | sed 's/, "best".*//' >last
on_device 3 device-1 --eval-only
sed 's/, "seconds".*//' out >got
cmp -s got last || fail "--eval-only on 3 ranks: $(diff got last)"
finish evaluations
