#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Decoders through whole programs: files with and without the prefix of names,
# the same bits on any number of ranks, restarts, export, generation; and what
# does not fit is refused in one line.
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/safetensors.sh"
make_inputs

# bad CODE TEXT PROGRAM ARGUMENT...: one message, with the text.
bad() {
  wanted=$1 text=$2
  shift 2
  cases=$((cases + 1))
  on 1 "$@"
  [ "$code" -eq "$wanted" ] || fail "$*: code $code, not $wanted: $(cat err)"
  grep -qF -- "$text" err || fail "$*: no '$text' in: $(cat err)"
  [ "$(grep -c '^zt[a-z]*: ' err)" -eq 1 ] ||
    fail "$*: not one message: $(cat err)"
}

digest_of() {
  ztinfo digest "$1" | tail -1
}

awk 'BEGIN {
       for (i = 0; i < 50; i++) {
         printf "{\"tokens\": ["
         for (n = 1 + i * 37 % 90; n > 0; n--) {
           last = (last * 421 + 54773) % 259200
           printf "%d%s", 3 + last % 500, (n > 1 ? ", " : "")
         }
         print "]}"
       }
     }' >texts.jsonl
good 1 ztconv tokens texts.h5 --vocab 512 texts.jsonl
for model in llamatiny gpt2tiny; do
  good 1 ztconv import "$golden/$model" $model.h5
done

# ---- Names ----

# The Hub's GPT-2 has no prefix, but the masks of old versions.
mkdir plain
cp "$golden/gpt2tiny/config.json" "$golden/gpt2tiny/model.safetensors" plain
st_edit plain/model.safetensors 's/"transformer\./"/g'
cp plain/model.safetensors bare
printf '%16s' '' | st_add plain/model.safetensors h.0.attn.bias '[1,1,2,2]'
good 2 ztconv import plain plain.h5
[ "$(digest_of plain.h5)" = "$(digest_of gpt2tiny.h5)" ] ||
  fail "without the prefix: another digest"
good 1 ztconv export plain.h5 again
st_header again/model.safetensors | grep -q '"h.0.ln_1.bias"' ||
  fail "an export has other names than the import had"
for name in wte.weight h.1.attn.c_attn.weight ln_f.bias; do
  st_tensor bare "$name" >wanted
  st_tensor again/model.safetensors "$name" >got
  cmp wanted got || fail "$name: other bytes after the export"
  cases=$((cases + 1))
done

# A head that should be there and is not; one that should not and is.
mkdir headless
cp "$golden/llamatiny/config.json" "$golden/llamatiny/model.safetensors" \
  headless
st_edit headless/model.safetensors \
  's/"lm_head.weight"/"model.rotary_emb.inv_freq"/' # which is ignored
bad 65 'lm_head.weight is missing' ztconv import headless x.h5
sed 's/"tie_word_embeddings": false/"tie_word_embeddings": true/' \
  "$golden/llamatiny/config.json" >headless/config.json
good 1 ztconv import headless tied-llama.h5
grep -q 'head tied' err || fail "no head, and not tied: $(cat err)"

# ---- Training ----

sed -e 's/^data = .*/data = { train = "texts.h5"; task = "causal"; length = 40; };/' \
  -e 's/batch = 14/batch = 7/; s/microbatch = 2/microbatch = 1/' \
  run.cfg >causal.cfg
train() {
  ranks=$1 model=$2 dir=$3
  shift 3
  good "$ranks" ztrain causal.cfg -s model.weights="$model.h5" -s run.dir="$dir" \
    "$@"
}
for model in llamatiny gpt2tiny; do
  for packing in true false; do
    for ranks in 1 2 3 5; do
      is_long || [ $packing$ranks = true3 ] || [ $ranks -le 2 ] || continue
      train $ranks $model run-$ranks -s data.packing=$packing
      tail -1 err | grep -q 'exactly all of the planned bytes' ||
        fail "$model: plan and run differ: $(tail -1 err)"
      digest=$(digest_of run-$ranks)
      [ $ranks -eq 1 ] && wanted=$digest
      [ "$digest" = "$wanted" ] ||
        fail "$model, packing $packing: other bits on $ranks ranks"
    done
    rm -rf run-?
  done
  # Cut after the third step, and on other ranks from there.
  train 2 $model cut -s train.steps=3 -s data.packing=false
  train 3 $model cut -s data.packing=false
  [ "$(digest_of cut)" = "$wanted" ] || fail "$model: a cut run differs"
  good 2 ztconv export cut exported
  good 1 ztconv import exported exported.h5
  good 2 ztgen cut --tokens '5 6 7' --max-new-tokens 5
  cp out tokens
  good 1 ztgen exported.h5 --tokens '5 6 7' --max-new-tokens 5
  cmp out tokens || fail "$model: an export says something else"
  rm -rf cut exported exported.h5
done

# Pairs, in samples of their own and packed; documents that stay apart.
for keys in 'data.packing=false -s data.train=pairs.h5' \
  'data.too_long=skip -s data.train=pairs.h5' data.document_attention=true; do
  for ranks in 1 3; do
    # shellcheck disable=SC2086 # several words
    train $ranks llamatiny run-$ranks -s $keys
    tail -1 err | grep -q 'exactly all of the planned bytes' ||
      fail "$keys: plan and run differ: $(tail -1 err)"
  done
  [ "$(digest_of run-1)" = "$(digest_of run-3)" ] ||
    fail "$keys: other bits on 3 ranks"
  rm -rf run-?
done

# ---- What does not fit ----

plan="ztrain --plan causal.cfg -s run.dir=x"
bad 78 'data.task is "causal"' $plan -s model.weights=weights.h5
bad 78 'data.task needs an encoder' $plan -s model.weights=llamatiny.h5 \
  -s data.task=seq2seq -s data.length=1024
bad 78 'data.length = 65' $plan -s model.weights=gpt2tiny.h5 -s data.length=65
bad 65 'new tokens' ztgen gpt2tiny.h5 --tokens '5 6 7' --max-new-tokens 63
bad 65 'document 31 (from 0) has 51 tokens' ztrain --check causal.cfg -s run.dir=x \
  -s model.weights=llamatiny.h5 -s data.train=pairs.h5 -s data.length=50 \
  -s data.too_long=error
finish 'cases'
