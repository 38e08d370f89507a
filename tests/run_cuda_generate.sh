#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The real ztgen on the double of CUDA and NCCL: the processor's tokens, on any
# number of ranks and in any company.
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/emu.sh"
on_emu ztgen-emu
cat >prompts.jsonl <<'END_OF_PROMPTS'
{"tokens": [5, 7, 9]}
{"tokens": [6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 5, 7, 9]}
{"tokens": [8]}
{"tokens": [4, 3, 11, 30, 200, 17, 21]}
{"tokens": [100, 5]}
END_OF_PROMPTS

# same NAME RANKS ARGUMENT...: the device says the same as before.
same() {
  name=$1 ranks=$2
  shift 2
  good "$ranks" ztgen-emu "$@" --json
  grep -q cudaemu err && fail "$* on $ranks: $(cat err)"
  cmp -s out "$name" || fail "$* on $ranks: $(diff out "$name" | head -n 4)"
}

# Prompts side by side and one after the other, drawn tokens, beams.
for model in t5v11tiny llamatiny gpt2tiny; do
  all="$golden/$model --input prompts.jsonl --max-new-tokens 5"
  # shellcheck disable=SC2086 # words
  {
    good 1 ztgen $all --json
    cp out best
    same best 1 $all --batch 1
    same best 2 $all --batch 2 --agree-every 1
  }
done
all="$golden/llamatiny --input prompts.jsonl --max-new-tokens 5"
draws="--temperature 1.3 --top-k 50 --seed 3"
# shellcheck disable=SC2086 # words
{
  good 1 ztgen-emu $all $draws --json --batch 5
  cp out drawn
  same drawn 2 $all $draws --batch 1
  all="$golden/t5v11tiny --input prompts.jsonl --max-new-tokens 5 --beams 2"
  good 1 ztgen $all --json
  cp out beams
  same beams 1 $all --batch 2
}
finish texts
