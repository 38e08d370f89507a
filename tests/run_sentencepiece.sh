#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# SentencePiece: our ids are those of its own tools, also for documents that are
# cut on the way; sentinels as T5, mT5 and Llama have them.
for tool in spm_train spm_encode spm_decode h5dump; do
  command -v $tool >/dev/null || {
    echo "skip: no $tool (Debian: sentencepiece, hdf5-tools)"
    exit 77
  }
done
dir=$(mktemp -d "$ZT_BUILD/run_sentencepiece.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
failures=0

fail() {
  echo "$*"
  failures=$((failures + 1))
}

# Plain words, without what JSON would have to escape.
cat "$ZT_SRC/COPYING" "$ZT_SRC"/src/*/*.h "$ZT_SRC"/tests/*.c |
  tr '\t\r"\\' '    ' | grep '[a-z]' | head -n 2000 >text || exit 99
printf 'na\303\257ve caf\303\251  x\314\201y \343\200\200 z\n' >>text

# train NAME OPTION...
train() {
  name=$1
  shift
  timeout 100 spm_train --input=text --model_prefix="$name" --vocab_size=400 \
    --num_threads=1 --minloglevel=2 "$@" >train.log 2>&1 || {
    cat train.log
    exit 99
  }
}

# ids FILE: the tokens in it, one line.
ids() {
  h5dump -d /tokens -b LE -o raw "$1" >/dev/null
  od -An -v -tu2 -w2 raw | tr -s ' \n' ' ' | sed 's/^ //; s/ $//'
}

# tokens MODEL END_ID INPUT: as spm_encode, each line or file with the end id.
same() {
  rm -f x.h5
  timeout 100 "$ZT_BUILD/ztconv" tokens x.h5 --tokenizer "$1.model" "$3" 2>err
  is=$?
  if [ $is -eq 69 ]; then
    echo "skip: $(cat err)"
    exit 77
  fi
  [ $is -eq 0 ] || fail "$1 $3: $(cat err)"
  ids x.h5 >found
  spm_encode --model="$1.model" --output_format=id <"$4" |
    sed "s/\$/ $2/" | tr '\n' ' ' | sed 's/ *$//' >want
  cmp found want || fail "$1: the ids of $3 are not those of spm_encode"
  [ "$(wc -w <want)" -gt 100 ] || fail "$1 $3: nothing compared"
}

# shows TEXT
shows() {
  "$ZT_BUILD/ztinfo" show x.h5 >out
  grep -qF -- "$1" out || fail "no '$1' in: $(cat out)"
}

sed 's/.*/{"text": "&"}/' text >lines.jsonl
# One document of 0.7 MB: cut twice, which must not show.
: >long
while [ "$(wc -c <long)" -lt 700000 ]; do
  cat text >>long
done
tr '\n' ' ' <long >flat

t5='--pad_id=0 --eos_id=1 --unk_id=2 --bos_id=-1'
llama='--pad_id=-1 --unk_id=0 --bos_id=1 --eos_id=2 --byte_fallback
  --normalization_rule_name=identity --remove_extra_whitespaces=false'
train t5 $t5
same t5 1 lines.jsonl text
shows 'vocabulary: 500, end 1, pad 0, first sentinel 499'
shows 'tokenizer:  t5.model'
# Long documents by pair merging, where the whole and its parts have the same
# ids.  In the lattice of a unigram model equal scores are told apart by the
# rounding of all that came before.
train merge $t5 --model_type=bpe
same merge 1 long flat
# Blanks belong to the word after them.
train bare $t5 --model_type=bpe --add_dummy_prefix=false \
  --remove_extra_whitespaces=false
same bare 1 flat flat
train mt5 $t5 --user_defined_symbols='▁<extra_id_1>,▁<extra_id_0>'
same mt5 1 lines.jsonl text
shows 'vocabulary: 400, end 1, pad 0, first sentinel 4'
train llama $llama --model_type=bpe
same llama 2 lines.jsonl text
shows 'vocabulary: 400, end 2, no pad, no sentinels'
same llama 2 flat flat

# A begin id where the files beside the model ask for one: as they say, or as
# Transformers' Llama tokenizers do if nothing is said.
head -n 30 text | tr '\n' ' ' >few
for files in '{"add_bos_token": true}' '{"tokenizer_class": "LlamaTokenizer"}' \
  '{"tokenizer_class": "LlamaTokenizer", "add_bos_token": false}'; do
  first='1 '
  case $files in *false*) first= ;; esac
  rm -rf begins && mkdir begins && cp llama.model begins/tokenizer.model
  echo "$files" >begins/tokenizer_config.json
  "$ZT_BUILD/ztconv" tokens x.h5 --force --tokenizer begins/tokenizer.model few \
    2>err || fail "$files: $(cat err)"
  ids x.h5 >found
  echo "$first$(spm_encode --model=llama.model <few \
    --output_format=id) 2" >want
  [ "$(cat found)" = "$(cat want)" ] || fail "$files: $(cat found want)"
done

# A vocabulary of one's own.
"$ZT_BUILD/ztconv" tokens x.h5 --force --tokenizer t5.model --vocab 1000 \
  --sentinel 999 text 2>err || fail "$(cat err)"
shows 'vocabulary: 1000, end 1, pad 0, first sentinel 999'
"$ZT_BUILD/ztconv" tokens x.h5 --force --tokenizer t5.model --vocab 400 text \
  2>err || fail "$(cat err)"
shows 'vocabulary: 400, end 1, pad 0, no sentinels'

# Text fed in pieces, and back.
encode="$ZT_BUILD/tests/check_tokenizer"
if [ -x "$encode" ]; then
  tr '\n' ' ' <text >line
  "$encode" --encode t5.model <line >found 2>back || fail "$(cat back)"
  spm_encode --model=t5.model --output_format=id <line >want
  [ "$(cat found)" = "$(cat want) " ] || fail "pieces give other ids"
  spm_decode --model=t5.model --input_format=id <want | sed 's/ ⁇ //g' >want.text
  sed 's/ ⁇ //g' back | cmp - want.text || fail "decoded text differs"
fi

# Damaged models are refused, not believed.
size=$(wc -c <t5.model)
for n in 0 1 10 1000 $((size / 2)); do
  head -c "$n" t5.model >cut.model
  "$ZT_BUILD/ztconv" tokens y.h5 --tokenizer cut.model text >out 2>err
  [ $? -eq 65 ] && grep -q 'cut.model: not a SentencePiece model' err ||
    fail "cut at $n: $(cat err)"
done
[ $failures -eq 0 ]
