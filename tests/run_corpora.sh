#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Several token files with shares and samples held out, in whole runs: the same
# steps on every number of ranks and after a restart; what is logged; refusals.
. "$ZT_SRC/tests/lib.sh"
make_inputs
head -c 700 text >few
ztconv tokens few.h5 --tokenizer bytes few 2>err || exit 99
two='data.train=["few.h5", tokens.h5]'

# train RANKS RUN OPTION...: steps 1 to 3, then 4 to 6 on another number.
train() {
  train_ranks=$1 train_run=$2
  shift 2
  rm -rf "$train_run"
  good "$train_ranks" ztrain run.cfg -s run.dir="$train_run" \
    -s train.steps=3 -s train.schedule.name=constant "$@"
  good $((train_ranks % 3 + 1)) ztrain run.cfg -s run.dir="$train_run" \
    -s train.schedule.name=constant "$@"
  cp err "$train_run.err"
}

# losses RUN: of its evaluations.
losses() {
  sed -n 's/.*"t": "eval", \(.*\), "perplexity".*/\1/p' "$1/metrics.jsonl"
}

# says FILE TEXT: the file must have it.
says() {
  grep -q -- "$2" "$1" || fail "$1 lacks '$2': $(cat "$1")"
}

for ranks in 1 3; do
  train $ranks mix$ranks -s "$two" -s 'data.weights=[1, 3]' \
    -s data.valid_fraction=0.1 -s train.eval_every=3
  [ "$(grep -c '"t": "eval", "step": [36], .*"samples": [1-9][0-9]*,' \
    mix$ranks/metrics.jsonl)" -eq 2 ] || fail "$ranks ranks: no evaluations"
  losses mix$ranks >mix$ranks.eval
  cmp mix1.eval mix$ranks.eval || fail "other evaluations on $ranks ranks"
  [ $ranks -eq 1 ] || [ "$(steps mix1)" = "$(steps mix$ranks)" ] ||
    fail "shares on $ranks ranks: other steps"
done
[ "$(steps mix1 | wc -l)" -eq 6 ] || fail "not 6 steps: $(steps mix1)"
says mix1.err 'data: few.h5, [0-9]* samples, 25.00 % of all'
says mix1.err 'data: tokens.h5 gave [0-9]* samples ([0-9.]* %), [0-9.]* epochs'
says mix1/metrics.jsonl '"t": "data", "file": "few.h5", "samples": [0-9]*, "share": 0.25'
says mix1/metrics.jsonl '"data": "[0-9a-f]\{16\} [0-9a-f]\{16\}"'

# Other shares, other steps; one file in a list is the file.
train 1 other -s "$two" -s 'data.weights=[3, 1]' -s data.valid_fraction=0.1
[ "$(steps other)" != "$(steps mix1)" ] || fail "shares change nothing"
train 1 alone
train 1 list -s 'data.train=[tokens.h5]'
[ "$(steps alone)" = "$(steps list)" ] || fail "a list of one is another run"

# refuse CODE TEXT OPTION...
refuse() {
  refuse_code=$1 refuse_text=$2
  shift 2
  cases=$((cases + 1))
  on 2 ztrain run.cfg -s run.dir=wrong "$@"
  [ $code -eq "$refuse_code" ] || fail "$*: code $code: $(cat err)"
  says err "$refuse_text"
}
refuse 65 'ids.h5: another tokenizer than tokens.h5 has' \
  -s 'data.train=[tokens.h5, ids.h5]'
refuse 66 'nowhere.h5' -s 'data.train=[tokens.h5, nowhere.h5]'
refuse 78 'data.weights has 1 numbers for the 2 files' -s "$two" \
  -s 'data.weights=[1]'
refuse 78 'must be numbers in' -s "$two" -s 'data.weights=[1, 0]'
refuse 78 'for data.order "shuffled" alone' -s "$two" -s 'data.weights=[1, 1]' \
  -s data.order=sequential
refuse 78 'exclude each other' -s data.valid_fraction=0.1 -s data.valid=few.h5
refuse 78 'below 1' -s data.valid_fraction=1
refuse 65 'samples are held out' -s data.valid_fraction=0.9999
# The shares and the content of files are part of a run.
refuse 78 'data.weights is' -s run.dir=mix1 -s train.steps=7 -s "$two" \
  -s data.valid_fraction=0.1
cp few few2 && echo more >>few2
ztconv tokens few.h5 --force --tokenizer bytes few2 2>err || exit 99
refuse 78 'is not what the restart was made with' -s run.dir=mix1 \
  -s train.steps=7 -s "$two" -s 'data.weights=[1, 3]' \
  -s data.valid_fraction=0.1
good 2 ztrain run.cfg -s run.dir=mix1 -s train.steps=7 -s "$two" \
  -s 'data.weights=[1, 3]' -s data.valid_fraction=0.1 \
  --allow-change data.train
finish "runs and refusals"
