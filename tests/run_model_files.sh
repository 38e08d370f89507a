#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What the files kept with the weights say of texts: the id that a prompt begins
# with, the ids that end a text; they come back with an export.
. "$ZT_SRC/tests/lib.sh"
tokens=$golden/tokenizer

# model NAME TOKENIZER CONFIG [POST_PROCESSOR]: a weights file with these.
model() {
  rm -rf hf "$1.h5"
  mkdir hf
  cp "$golden/llamatiny/config.json" "$golden/llamatiny/model.safetensors" hf
  if [ -n "${4:-}" ]; then
    sed "s~\"post_processor\": *null~\"post_processor\": $4~" \
      "$tokens/$2.json" >hf/tokenizer.json
    grep -q Template hf/tokenizer.json || fail "no template in $1"
  else
    cp "$tokens/$2.json" hf/tokenizer.json
  fi
  [ -z "$3" ] || echo "$3" >hf/tokenizer_config.json
  good 1 ztconv import hf "$1.h5"
}

# begins NAME ID: prompts get this id, "" none.
begins() {
  good 1 ztgen "$1.h5" --prompt ab --max-new-tokens 3 --json
  cp out got
  good 2 ztgen "$1.h5" --tokens "$2 $ab" --max-new-tokens 3 --json
  cmp -s got out || fail "$1: a prompt does not begin with '$2': $(cat got out)"
}

echo '{"text": "ab"}' >ab.jsonl
ztconv tokens ab.h5 --tokenizer "$tokens/gpt2.json" --eos 1 --bos -1 ab.jsonl \
  2>err || exit 99
ab=$(ztinfo show --sample 1 --json ab.h5 |
  sed -n 's/.*"tokens": \[\([0-9, ]*\), 1\].*/\1/p' | tr -d ,)
[ -n "$ab" ] || fail "no ids: $(ztinfo show --sample 0 --json ab.h5)"

template='{"type": "Sequence", "processors": [{"type": "ByteLevel"}, {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]}]}'
bos='"bos_token": {"content": "<|endoftext|>"}'
model plain gpt2 ''
begins plain ''
model names gpt2 "{$bos, \"model_max_length\": 1000000000000000019884624838656}"
begins names ''
model asks gpt2 "{$bos, \"add_bos_token\": true}"
begins asks 0
model template llama3 '' "$template"
begins template 420
model both llama3 "{$bos}" "$template"
begins both 420
# tokenizer_config.json has the last word, as in Transformers.
model denies llama3 "{$bos, \"add_bos_token\": false}" "$template"
begins denies ''
model other llama3 "{$bos, \"add_bos_token\": true}" "$template"
begins other 0

# ---- Ends ----

# texts NAME: the new ids of three prompts.
texts() {
  good "$1" ztgen "$2.h5" --input prompts.jsonl --max-new-tokens 6 --json
  sed 's/.*"tokens": \[\([^]]*\)\].*/\1/' out
}
for i in 5 60 200; do
  echo "{\"tokens\": [$i, 7, 9]}"
done >prompts.jsonl
texts 1 plain >whole
# The third id of the first text and the second of the last end texts.
a=$(sed -n '1s/, /\n/gp' whole | sed -n 3p)
b=$(sed -n '3s/, /\n/gp' whole | sed -n 2p)
rm -rf hf
mkdir hf
cp "$golden/llamatiny/config.json" "$golden/llamatiny/model.safetensors" hf
echo "{\"eos_token_id\": [$a, $b], \"do_sample\": false}" \
  >hf/generation_config.json
good 2 ztconv import hf ends.h5
awk -v a="$a" -v b="$b" '{
  n = split($0, id, ", ")
  text = id[1]
  for (i = 2; i <= n && id[i - 1] != a && id[i - 1] != b; i++)
    text = text ", " id[i]
  print text }' whole >want
[ "$(tr -d '\n' <want | wc -c)" -lt "$(tr -d '\n' <whole | wc -c)" ] ||
  fail "nothing ends: $(cat whole)"
for ranks in 1 2; do
  texts $ranks ends >got
  cmp got want || fail "texts do not end at $a or $b: $(cat got want)"
done
good 1 ztconv export ends.h5 back
cmp hf/generation_config.json back/generation_config.json ||
  fail "generation_config.json does not come back"
echo '{"eos_token_id": [512]}' >hf/generation_config.json
cases=$((cases + 1))
on 2 ztgen hf --tokens 5
[ $code -eq 65 ] || fail "an end id beyond the vocabulary: code $code"
grep -q 'generation_config.json: eos_token_id is no id' err || fail "$(cat err)"
finish 'cases of files kept with weights'
