#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Evaluation in a run: the loss that training has for the same samples, the same
# bits on every number of ranks, once a step however often the run is stopped;
# the best restart stays.
# shellcheck disable=SC2086
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
# shellcheck source=tests/launch.sh
. "$ZT_SRC/tests/launch.sh"
make_inputs
more=
is_long && more=yes

# train RANKS OPTION...: into run.
train() {
  ranks=$1
  shift
  good "$ranks" ztrain run.cfg -s data.valid=tokens.h5 -s train.eval_every=2 "$@"
}

# number KEY FILE: of its last line.
number() {
  sed -n '$s/.*"'"$1"'": \([^,]*\),.*/\1/p' "$2"
}

# ---- The loss of training, of the same samples ----

# loss_of SAMPLES OPTION...: a step of all samples in order, which learns
# nothing, and its evaluation.
loss_of() {
  samples=$1
  shift
  rm -rf run
  train 2 -s data.order=sequential -s train.batch="$samples" -s run.seed=0 \
    -s train.steps=1 -s train.dropout=0 -s train.optimizer.lr=0 "$@"
  steps run >step.one
  evals run >eval.one
  [ "$(number loss step.one)" = "$(number loss eval.one)" ] ||
    fail "$*: $(cat step.one) but $(cat eval.one)"
  grep -q "\"samples\": $samples, " eval.one || fail "$*: $(cat eval.one)"
}

pairs='-s data.train=pairs.h5 -s data.valid=pairs.h5 -s data.task=seq2seq'
loss_of 88
loss_of 40 $pairs -s train.microbatch=8
good 1 ztconv import "$golden/llamatiny" llama.h5
causal="-s model.weights=llama.h5 -s data.task=causal -s data.length=70
  -s data.source_length=512 -s data.target_length=114"
loss_of 40 $pairs $causal -s data.packing=false
! is_long || loss_of 40 $pairs $causal -s data.packing=false \
  -s train.recompute=false

# ---- Any number of ranks, any pieces ----

# The rate makes the model worse after a while.
grows='-s train.optimizer.lr=0.3 -s train.optimizer.clip=0
  -s train.schedule.name=constant -s train.batch=26 -s restart.keep=1'
rm -rf run
train 1 $grows
evals run >want
grep -q '"step": 2, .*"best": true' want && grep -q '"step": 4, ' want &&
  grep -q '"step": 6, .*"best": false' want || fail "evaluations: $(cat want)"
best=$(sed -n '/"best": true/s/.*"step": \([0-9]*\),.*/\1/p' want | tail -n 1)
kept="$(step "$best") $(step 6) "
train_want=$(steps run)

# is_same WHAT
is_same() {
  evals run | cmp -s - want || fail "$1: $(evals run | diff - want)"
  [ "$(steps run)" = "$train_want" ] || fail "$1: other steps"
  [ "$(ls run/restart | tr '\n' ' ')" = "$kept" ] ||
    fail "$1: not $kept but $(ls run/restart)"
  grep -q "\"best\": \"$(step "$best")\"" run/STATUS.json ||
    fail "$1: $(cat run/STATUS.json)"
  grep -q 'exactly all' run/log.txt || fail "$1: memory: $(cat run/log.txt)"
}

is_same "1 rank"
ztinfo status run | grep -q ", best $(step "$best")" ||
  fail "ztinfo status: $(ztinfo status run)"
ztinfo show "run/restart/$(step 6)" | grep -q "best: *step $best," ||
  fail "ztinfo show: $(ztinfo show "run/restart/$(step 6)")"
for ranks in 5 ${more:+2 3 8}; do
  rm -rf run
  train $ranks $grows
  is_same "$ranks ranks"
done

# ---- Alone ----

# alone STEP RANKS OPTION...: the line of that step, and nothing is written.
alone() {
  step=$1 ranks=$2
  shift 2
  good "$ranks" ztrain --eval-only run.cfg -s data.valid=tokens.h5 $grows "$@"
  grep "\"step\": $step," want | sed 's/, "best".*//' >wanted.one
  sed 's/, "seconds".*//' out | cmp -s - wanted.one ||
    fail "--eval-only $*: $(cat out err), not $(cat wanted.one)"
}

find run -printf '%p %T@ %s\n' | sort >before
alone 6 1
alone 6 3 --restart require
alone "$best" 2 --restart "run/restart/$(step "$best")"
alone 6 1 -s run.dir=none --restart "run/restart/$(step 6)"
good 2 ztrain --eval-only run.cfg -s data.valid_fraction=0.2 --restart none
grep -q '"step": 0, .*"samples": 18, ' out || fail "--restart none: $(cat out)"
find run -printf '%p %T@ %s\n' | sort | cmp -s - before ||
  fail "--eval-only writes to the run"
on 2 ztrain --eval-only run.cfg
[ $code -eq 78 ] && grep -q 'data.valid is missing' err ||
  fail "--eval-only without data: $code: $(cat err)"

# Fewer samples than places in a micro-batch, and than ranks; bf16.
head -n 3 pairs.jsonl >few.jsonl
good 1 ztconv tokens few.h5 --vocab 350 few.jsonl
for ranks in 1 5; do
  good $ranks ztrain --eval-only run.cfg $pairs -s data.valid=few.h5 \
    --restart none -s train.batch=14 -s train.microbatch=7 \
    -s train.precision=bf16 -s train.eval_generate=9
  sed 's/, "seconds".*//' out >few.$ranks
done
cmp -s few.1 few.5 && grep -q '"samples": 3, ' few.1 ||
  fail "few samples: $(cat few.1 few.5)"

# A run without an evaluation has the same steps.
rm -rf run
train 1 $grows -s train.eval_every=0
[ "$(steps run)" = "$train_want" ] || fail "evaluations change steps"

# From each restart on; the best is known from what it says.
rm -rf run
train 2 $grows -s restart.keep=9 -s restart.every_steps=1
cp -r run whole
for from in 3 5 ${more:+1 2 4}; do
  rm -rf run
  cp -r whole run
  for gone in $(seq $((from + 1)) 6); do
    rm -r "run/restart/$(step "$gone")"
  done
  train $((from % 3 + 1)) $grows
  is_same "from step $from"
done

# ---- Answers ----

# quiz END: questions, half of which have an answer that is soon learnt, and the
# id that ends it.
quiz() {
  awk -v last="$1" 'BEGIN {
    for (i = 0; i < 24; i++) {
      printf "{\"source\": [%d", 10 + i % 2
      for (n = i % 5; n > 0; n--)
        printf ", %d", 20 + (i * 7 + n * 11) % 300
      print "], \"target\": [" (i % 2 ? "5, 6" : 5 ", " 9 + i) ", " last "]}"
    }
  }' >quiz.jsonl
  good 1 ztconv tokens quiz.h5 --force --vocab 350 quiz.jsonl
}

cat >count.awk <<'END'
# Exact match and F1 of token lists: of answers, then of what is expected.
function read(line, list) {
  sub(/.*: \[/, "", line)
  sub(/\].*/, "", line)
  size = split(line, list, ", *")
  return size > 0 && list[size] == last ? size - 1 : size
}
FNR == 1 { file++ }
file == 1 { sub(/, "text".*/, ""); answer[FNR] = $0; next }
{
  sub(/.*"target"/, "\"target\"")
  n = read(answer[FNR], a)
  m = read($0, b)
  same = n == m
  common = 0
  split("", left)
  for (i = 1; i <= m; i++)
    left[b[i]]++
  for (i = 1; i <= n; i++) {
    same = same && a[i] == b[i]
    common += left[a[i]]-- > 0
  }
  exact += same
  f1 += n + m ? 2 * common / (n + m) : 1
}
END { printf "%.12f %.12f\n", exact / FNR, f1 / FNR }
END

# scores FILE: exact match and F1 of its last evaluation.
scores() {
  exact=$(number exact_match "$1") f1=$(number f1 "$1")
  printf '%.12f %.12f\n' "$exact" "$f1"
}

# answers NAME END NEW RANKS OPTION...: a run whose scores are those of ztgen
# with its last restart, by awk, on any number of ranks and alone.
answers() {
  name=$1 last=$2 new=$3 ranks=$4
  shift 4
  rm -rf run
  quiz "$last"
  good "$ranks" ztrain run.cfg -s data.train=quiz.h5 -s data.valid=quiz.h5 \
    -s train.eval_every=15 -s train.steps=30 -s train.batch=24 \
    -s train.microbatch=4 -s train.schedule.name=constant \
    -s train.optimizer.lr=0.01 -s train.dropout=0 -s train.eval_generate=24 \
    -s log.samples=2 -s "train.eval_max_new_tokens=$new" "$@"
  grep '"t": "eval"' run/metrics.jsonl >eval.two
  grep 'answer 2: ".*" gives ".*", expected ".*"' err >/dev/null ||
    fail "$name: no answers shown: $(cat err)"
  scores eval.two >is
  good 2 ztgen "run/restart/$(step 30)" --input quiz.jsonl --json \
    --max-new-tokens "$new"
  awk -v last="$last" -f count.awk out quiz.jsonl >counted
  cmp -s is counted || fail "$name: $(cat is), but counted $(cat counted)"
  ! grep -q ' 0.000' counted || fail "$name: nothing is learnt: $(cat counted)"
  for alone in 3 ${more:+1 2 5}; do
    good "$alone" ztrain --eval-only run.cfg -s data.valid=quiz.h5 \
      -s train.batch=24 -s train.microbatch=4 -s train.eval_generate=24 \
      -s "train.eval_max_new_tokens=$new" "$@"
    scores out | cmp -s - is || fail "$name alone: $(scores out), not $(cat is)"
  done
}

answers pairs 1 6 2 -s model.weights=tied.h5 -s data.task=seq2seq
answers texts 2 6 1 $causal -s data.packing=true

# ---- Stopped while it evaluates ----

# The last step's evaluation is long; the first signal leaves it to the next
# start, which has nothing else to do.
for _ in $(seq 40); do
  cat text
done >long
good 1 ztconv tokens long.h5 --tokenizer bytes long
long='-s data.valid=long.h5 -s train.steps=2 -s train.batch=16
  -s train.eval_every=2'
rm -rf run
train 1 $long
evals run >want
train_want=$(steps run)
rm -rf run
start 2 $long
until_true 'step 2' has_steps 2
send TERM 1
ended_well 'SIGTERM while evaluating'
says 'the evaluation after step 2 is left' err 'SIGTERM while evaluating'
says 'asked to stop by SIGTERM' status 'SIGTERM while evaluating'
says '^to continue: ' err 'SIGTERM while evaluating'
[ -z "$(evals run)" ] || fail "SIGTERM while evaluating: $(evals run)"
train 1 $long
best=2 kept="$(step 2) "
is_same 'after SIGTERM'
train 1 $long
says 'the run is finished' err 'a finished run'

finish "runs with evaluations"
