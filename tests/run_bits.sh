#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Any rank count, same bits: runs of one configuration on other numbers of ranks
# and threads, with other settings of speed and memory, or cut into pieces, give
# the same weights, moments, losses and gradient norms.
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
make_inputs
steps=4
is_long && steps=12

# train FOLDER RANKS OPTION...: a run there, restarted or new.
train() {
  run=$1 ranks=$2
  shift 2
  good "$ranks" ztrain run.cfg -s "run.dir=$run" -s train.steps=$steps \
    -s restart.every_steps=$((steps / 4)) -s restart.keep=9 "$@"
}

# same NAME RANKS OPTION...: a run as above, which must equal the first of that
# name.
same() {
  name=$1
  shift
  rm -rf "$name.run"
  train "$name.run" "$@"
  compare "$name" "$name.run" "$*"
}

# compare NAME RUN WHAT
compare() {
  { state "$2" $steps && steps "$2"; } >is
  [ "$(grep -c . is)" -eq $((steps + 1)) ] || fail "$1, $3: $(cat is)"
  [ -e "$1.want" ] || cp is "$1.want"
  cmp -s is "$1.want" || fail "$1, $3: other bits: $(diff "$1.want" is)"
}

# resume NAME STEP RANKS OPTION...: the last run of that name goes on from the
# restart of a step.
resume() {
  name=$1 from=$2
  shift 2
  for restart in "$name.run"/restart/*; do
    [ "${restart##*/}" = "$(step "$from")" ] || rm -r "$restart"
  done
  train "$name.run" "$@"
  grep -q "resuming from .*$(step "$from")" err ||
    fail "$name, $*: does not resume: $(cat err)"
  compare "$name" "$name.run" "from step $from on $*"
}

more=
is_long && more='5 8'

# 7 micro-batches in ragged rounds, dropout, span corruption, own head.
for ranks in 1 2 3 $more; do
  same plain $ranks
done
first=$(cat plain.want)
resume plain $((steps / 4)) 1
resume plain $((steps / 2)) 3
resume plain $((steps * 3 / 4)) 2
same plain 2 -s train.recompute=false
same plain 3 -s zero.prefetch=0 -s runtime.threads=2
same plain 2 -s zero.prefetch=3 -s restart.async=false
for ranks in $more; do
  same plain $ranks -s zero.prefetch=0
  resume plain $((steps / 4)) $ranks
  resume plain $((steps / 2)) $((13 - ranks)) -s train.recompute=false
done

# Fewer micro-batches than ranks; the embedding is the head.
tied='-s model.weights=tied.h5 -s data.train=ids.h5 -s train.batch=4'
for ranks in 1 3 $more; do
  same tied $ranks $tied
done
same tied 2 $tied -s train.recompute=false
resume tied $((steps / 2)) 3 $tied

pairs='-s data.train=pairs.h5 -s data.task=seq2seq -s train.schedule.name=constant
  -s train.label_smoothing=0.1 -s train.z_loss=1e-3'
for ranks in 1 3 $more; do
  same pairs $ranks $pairs
done
grep -q '"objective": [0-9]' pairs.want || fail "no objective: $(cat pairs.want)"
if is_long; then
  same pairs 2 $pairs -s train.recompute=false
  resume pairs $((steps / 2)) 1 $pairs
  pairs="$pairs -s model.weights=tied.h5 -s data.order=sequential"
  for ranks in 1 2 3 5 8; do
    same tiedpairs $ranks $pairs
  done
fi

# Each set of kernels is equal to itself.
for set in portable avx2; do
  export ZT_KERNELS=$set
  for ranks in 1 2 ${more:+3 5}; do
    same $set $ranks
  done
  [ -z "$more" ] || resume $set $((steps / 2)) 3
done
unset ZT_KERNELS
[ "$(cat plain.want)" = "$first" ] || fail "the first result was changed"

# Wide enough that threads share the work.
cat >wide.json <<'END'
{"model_type": "t5", "vocab_size": 384, "d_model": 128, "d_kv": 24, "d_ff": 200,
 "num_heads": 5, "num_layers": 1, "num_decoder_layers": 2,
 "feed_forward_proj": "gated-gelu", "tie_word_embeddings": false,
 "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
END
ztconv init wide.json wide.h5 2>err || fail "$(cat err)"
wide='-s model.weights=wide.h5 -s train.batch=12 -s train.microbatch=4
  -s data.source_length=96 -s data.target_length=24'
for ranks in 1 2 $more; do
  for threads in 1 2 ${more:+3}; do
    same wide $ranks $wide -s runtime.threads=$threads
  done
done
finish "runs have equal bits"
