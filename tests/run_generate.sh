#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# ztgen as people use it: the same tokens on any number of ranks, slots and
# agreements, drawn or not; ends of texts; text as it comes; no prompt, more
# ranks than prompts; wrong options in one line.
. "$ZT_SRC/tests/lib.sh"
cases=0

bad() { # CODE TEXT ARGUMENT...
  wanted=$1 text=$2
  shift 2
  cases=$((cases + 1))
  on 1 ztgen "$@"
  [ "$code" -eq "$wanted" ] || fail "$*: code $code, not $wanted: $(cat err)"
  grep -qF -- "$text" err || fail "$*: no '$text' in: $(cat err)"
  [ "$(grep -c '^zt[a-z]*: ' err)" -eq 1 ] ||
    fail "$*: not one message: $(cat err)"
}

# same NAME RANKS ARGUMENT...: what it writes is in NAME, the first time.
same() {
  name=$1 ranks=$2
  shift 2
  cases=$((cases + 1))
  good "$ranks" ztgen "$@" --json
  [ -e "$name" ] || cp out "$name"
  cmp -s out "$name" || fail "$* on $ranks: $(diff out "$name" | head -n 4)"
}

i=0
while [ $i -lt 9 ]; do
  printf '{"tokens": [%s5, 7, 9]}\n' "$(yes '6, ' | head -n $((i * i % 13)) |
    tr -d '\n')"
  i=$((i + 1))
done > prompts.jsonl
: > none.jsonl

for model in t5v11tiny gpt2tiny llamatiny; do
  from=$golden/$model
  all="$from --input prompts.jsonl --max-new-tokens 12"
  draws="--temperature 1.3 --top-k 50 --top-p 0.95 --seed 3"
  # shellcheck disable=SC2086 # words
  {
    same "$model.best" 1 $all --batch 1
    same "$model.best" 2 $all --batch 3 --agree-every 1
    same "$model.best" 5 $all --agree-every 100
    same "$model.drawn" 1 $all $draws
    same "$model.drawn" 3 $all $draws --batch 2 --agree-every 3 --keep 100kB
    same "$model.best" 2 $all --keep 1GiB
    good 1 ztgen $all $draws --json --seed 4
    if cmp -s out "$model.drawn"; then fail "$model: the seed changes nothing"; fi
  }
done

# Beam search: what Transformers found for these prompts (tests/beams.py).
field() { printf '%s' "$line" | sed "s/.*\"$1\": \"\([^\"]*\)\".*/\1/"; }
ranks=1
while read -r line; do
  rm -rf beams && mkdir beams
  ln -s "$golden/$(field model)/config.json" beams/config.json
  ln -s "$golden/$(field model)/$(field weights).safetensors" \
    beams/model.safetensors
  # shellcheck disable=SC2046 # words
  good $ranks ztgen beams --input prompts.jsonl --json $(field options)
  sed 's/.*"tokens": \(\[[^]]*\]\).*/\1/' out > found
  printf '%s\n' "$line" | sed 's/.*"tokens": \[\(.*\)\]}$/\1/
    s/\], \[/]\n[/g' > wanted
  cmp -s found wanted ||
    fail "beams on $ranks, $(field model): $(diff found wanted | head -n 4)"
  ranks=$((ranks % 3 + 1))
done < "$golden/beams.jsonl"
cases=$((cases + 1))

# Ends of texts.
from=$golden/llamatiny
on 2 ztgen "$from" --tokens '5 7 9' --stop-id 100000
cases=$((cases + 1))
{ [ $code -eq 64 ] && grep -q 'stop-id 100000: the ids of the model are' err; } ||
  fail "--stop-id beyond the vocabulary: code $code: $(cat err)"
third=$(sed -n '1s/.*"tokens": \[[0-9]*, [0-9]*, \([0-9]*\).*/\1/p' llamatiny.best)
good 1 ztgen "$from" --tokens '5 7 9' --stop-id "$third"
[ "$(wc -w < out)" -le 3 ] || fail "--stop-id: $(cat out)"
good 1 ztgen "$from" --tokens '5 7 9' --stop-id "$third" --min-new-tokens 6 \
  --max-new-tokens 7
[ "$(wc -w < out)" -ge 6 ] || fail "--min-new-tokens: $(cat out)"
grep -q 'tokens/s' err || fail "no rate: $(cat err)"

# Text as it comes is that of two prompts, which are written at the end.
printf '{"text": "abc"}\n{"text": "abc"}\n' > twice.jsonl
good 1 ztgen "$from" --tokenizer bytes --input twice.jsonl --max-new-tokens 40
cp out twice
good 2 ztgen "$from" --tokenizer bytes --prompt abc --max-new-tokens 40
cat out out | cmp -s - twice || fail "streamed text differs: $(cat out)"
letter=$(tr -cd 'a-zA-Z0-9' < out | head -c 1)
good 1 ztgen "$from" --tokenizer bytes --prompt abc --max-new-tokens 40 \
  --stop "$letter"
[ "$(tail -c 2 out)" = "$letter" ] || fail "--stop $letter: $(cat out)"

for ranks in 1 3; do
  good $ranks ztgen "$from" --input none.jsonl --json
  [ ! -s out ] || fail "no prompt, but: $(cat out)"
done

bad 64 "--temperature" "$from" --tokens 5 --temperature -1
bad 64 "--temperature" "$from" --tokens 5 --temperature nan
bad 64 "--top-p" "$from" --tokens 5 --top-p 1.5
bad 64 "need --temperature" "$from" --tokens 5 --top-k 5
bad 64 "--min-new-tokens" "$from" --tokens 5 --min-new-tokens 9 --max-new-tokens 8
bad 64 "--agree-every" "$from" --tokens 5 --agree-every 0
bad 64 "--stop" "$from" --tokens 5 --stop ''
bad 64 "--tokenizer" "$from" --tokens 5 --stop x
bad 64 "--beams" "$from" --tokens 5 --beams 2 --temperature 1
bad 64 "--length-penalty" "$from" --tokens 5 --beams 2 --length-penalty x
bad 65 "beams are too many" "$from" --tokens 5 --beams 400
bad 64 "--keep" "$from" --tokens 5 --keep much
bad 64 "--seed" "$from" --tokens 5 --seed -1
bad 65 "empty prompt" "$from" --tokens ''

# Worlds of one.
for variable in SLURM_NTASKS OMPI_COMM_WORLD_SIZE; do
  export "$variable=4"
  bad 69 "$variable is 4" "$from" --tokens 5
  unset "$variable"
done
finish 'cases'
