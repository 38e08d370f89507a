#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# ztconv import, export and init, ztinfo show and digest: whole programs, alone
# and on several ranks.
dir=$(mktemp -d "$ZT_BUILD/run_convert.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
. "$ZT_SRC/tests/safetensors.sh"
export OMP_NUM_THREADS=1
golden="$ZT_SRC/tests/golden"
failures=0

fail() {
  echo "$*"
  failures=$((failures + 1))
}

# zt RANKS PROGRAM ARGUMENT...: must end well; output in out, err.
zt() {
  ranks=$1 program=$2
  shift 2
  if [ "$ranks" -eq 1 ]; then
    timeout 60 "$ZT_BUILD/$program" "$@" >out 2>err
  else
    timeout 60 mpiexec -n "$ranks" "$ZT_BUILD/$program" "$@" >out 2>err
  fi || fail "$ranks ranks: $program $*: $(cat err)"
}

says() {
  grep -qF -- "$1" "$2" || fail "no '$1' in: $(cat "$2")"
}

same() {
  cmp -s "$1" "$2" || fail "$1 and $2 differ"
}

# The directory as a user has it.
for name in t5v10tiny t5v11tiny; do
  mkdir $name
  cp "$golden/$name/config.json" "$golden/$name/generation_config.json" \
    "$golden/$name/model.safetensors" $name || exit 99
  chmod -R u+w $name
  echo "free for all" >$name/LICENSE
done

# ---- There and back, with equal bytes on any number of ranks ----

for name in t5v10tiny t5v11tiny; do
  for ranks in 1 3; do
    zt $ranks ztconv import $name $name.$ranks.h5
    same $name.1.h5 $name.$ranks.h5
    zt $ranks ztinfo digest $name.$ranks.h5
    mv out digest.$ranks
    same digest.1 digest.$ranks
    zt $ranks ztconv export $name.1.h5 $name.$ranks
    for file in config.json generation_config.json LICENSE model.safetensors; do
      same $name/$file $name.$ranks/$file
    done
  done
  zt 1 ztinfo digest $name
  same out digest.1
  [ -z "$(ls -A | grep tmp)" ] || fail "temporaries left: $(ls -A)"
done
# What these models had when the first version of the format was made.
zt 1 ztinfo digest t5v10tiny.1.h5
says b2ceddc86be89a30 out
zt 1 ztinfo digest t5v11tiny.1.h5
says 31a8811ffcbeda59 out

# ---- Shards, formats ----

for ranks in 1 2; do
  zt $ranks ztconv export --max-shard-size 100kB t5v10tiny.1.h5 cut.$ranks
  for file in cut.1/*; do
    same "$file" "cut.$ranks/${file#*/}"
  done
  zt $ranks ztconv import --force cut.$ranks again.h5
  same again.h5 t5v10tiny.1.h5
  zt $ranks ztconv export --dtype bf16 t5v10tiny.1.h5 narrow.$ranks
  same narrow.1/model.safetensors narrow.$ranks/model.safetensors
done
[ "$(ls cut.1/model-*-of-00006.safetensors | wc -l)" -eq 6 ] ||
  fail "shards: $(ls cut.1)"
grep -q '"dtype": "bfloat16"' narrow.1/config.json || fail "dtype not changed"
sed 's/"bfloat16"/"float32"/' narrow.1/config.json | cmp -s - t5v10tiny/config.json ||
  fail "more than the dtype changed"
zt 2 ztconv import narrow.1 narrow.h5
zt 1 ztconv export --dtype fp32 narrow.h5 wide
zt 1 ztinfo digest wide
mv out wide.digest
zt 1 ztinfo digest narrow.h5
same out wide.digest
zt 1 ztconv export narrow.h5 narrow.back
same narrow.1/model.safetensors narrow.back/model.safetensors

zt 2 ztconv export --dtype fp16 t5v11tiny half11 # from directory to directory
zt 1 ztinfo show half11
says '482.00 KiB fp16' out

# ---- Names: ties are kept, the old cross-attention bias is dropped ----

old=old/model.safetensors
cp -r t5v10tiny old
st_tensor $old shared.weight >shared
for name in encoder.embed_tokens decoder.embed_tokens lm_head; do
  st_add $old $name.weight '[350,56]' <shared
done
bias=decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight
head -c 256 /dev/zero | st_add $old $bias '[16,4]'
for ranks in 1 2; do
  zt $ranks ztconv import --force old old.h5
  says "$bias is no parameter" err
  zt $ranks ztinfo digest old.h5
  says b2ceddc86be89a30 out # as without the further names
  zt $ranks ztconv export --force old.h5 old.back
  st_header old.back/model.safetensors >header
  for name in shared encoder.embed_tokens decoder.embed_tokens lm_head; do
    st_tensor old.back/model.safetensors $name.weight | cmp -s - shared ||
      fail "$name is not what it was"
  done
  grep -qF $bias header && fail "$bias came back"
done
zt 1 ztinfo show old.h5
says 'embedding and head tied' out
[ "$(grep -c 'the same' out)" -eq 3 ] || fail "ties not shown: $(cat out)"

# No shared.weight, and a head of its own: names stay, the head is not tied.
cp -r t5v10tiny part
st_edit part/model.safetensors 's/"shared.weight"/"decoder.embed_tokens.weight"/'
tr '\000' '\001' <shared | st_add part/model.safetensors lm_head.weight '[350,56]'
zt 2 ztconv import part part.h5
says 'embedding and head not tied' err
zt 2 ztconv export part.h5 part.back
zt 1 ztinfo digest part
mv out digest.part
zt 1 ztinfo digest part.back
same out digest.part
st_header part.back/model.safetensors >header
grep -q '"decoder.embed_tokens.weight"' header || fail "a name was lost"
grep -q '"shared.weight"' header && fail "a name appeared"
# The head alone stands for both.
cp -r t5v10tiny head
st_edit head/model.safetensors 's/"shared.weight"/"lm_head.weight"/'
zt 1 ztconv import head head.h5
zt 1 ztinfo digest head.h5
says b2ceddc86be89a30 out

zt 1 ztinfo show --json t5v10tiny.1.h5
says '"tied": true' out
says '{"name": "shared.weight", "shape": [350, 56], "dtype": "fp32", "unit": 0, "also": []}' out
zt 1 ztinfo show t5v10tiny.1.h5
says 't5v10tiny.1.h5: weights file, version 1.0' out
says 'parameters: 55, 136992 elements, 535.12 KiB fp32' out
says 'config.json (758 B), generation_config.json (226 B)' out
zt 3 ztinfo show t5v11tiny.1.h5
says 'embedding and head not tied' out
says 'lm_head.weight' out

# ---- Random weights ----

for ranks in 1 2; do
  zt $ranks ztconv init --seed 7 t5v11tiny/config.json init.$ranks.h5
  same init.1.h5 init.$ranks.h5
done
OMP_NUM_THREADS=2 zt 1 ztconv init --seed 7 t5v11tiny/config.json threads.h5
same init.1.h5 threads.h5
zt 1 ztconv init --seed 8 t5v11tiny/config.json other.h5
cmp -s init.1.h5 other.h5 && fail "two seeds, one model"
zt 1 ztconv init --dtype fp16 t5v10tiny/config.json half.h5
zt 1 ztinfo show half.h5
says 'KiB fp16' out

# ---- What is there stays ----

echo precious >there.h5
for command in "import t5v10tiny" "init t5v10tiny/config.json"; do
  "$ZT_BUILD/ztconv" $command there.h5 2>err
  [ $? -eq 73 ] || fail "$command replaces a file"
  says 'there.h5: exists; --force replaces it' err
  [ "$(cat there.h5)" = precious ] || fail "$command touched a file"
done
zt 1 ztconv import --force t5v10tiny there.h5
same there.h5 t5v10tiny.1.h5
mkdir full
echo precious >full/model.safetensors
"$ZT_BUILD/ztconv" export t5v10tiny.1.h5 full 2>err
[ $? -eq 73 ] || fail "export replaces weights"
says 'already holds weights' err
[ "$(ls -A full)" = model.safetensors ] || fail "export wrote to $(ls -A full)"
cp cut.1/* full
zt 1 ztconv export --force t5v10tiny.1.h5 full
same full/model.safetensors t5v10tiny/model.safetensors
[ -z "$(ls full | grep -e -of- -e index)" ] || fail "old shards left: $(ls full)"
zt 1 ztconv export --force --max-shard-size 300kB t5v10tiny.1.h5 full
[ ! -e full/model.safetensors ] || fail "old single file left"
zt 1 ztinfo digest full

[ $failures -eq 0 ] && echo "conversions are exact on any number of ranks"
exit $((failures > 0))
