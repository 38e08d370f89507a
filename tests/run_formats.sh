#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# shellcheck disable=SC2059,SC2154
# Files of released versions load for ever, newer ones are refused; ztconv verify
# finds and names damage; ztconv diff; ztinfo show and views.
. "$ZT_SRC/tests/lib.sh"

# expect CODE TEXT RANKS PROGRAM ARGUMENT...: with this text in what it says.
expect() {
  wanted=$1 text=$2
  shift 2
  cases=$((cases + 1))
  on "$@"
  [ "$code" -eq "$wanted" ] || fail "$*: code $code, not $wanted: $(cat out err)"
  cat out err | grep -qF -- "$text" || fail "$*: no '$text': $(cat out err)"
}

# flip FILE OFFSET: one byte of a file, changed.
flip() {
  was=$(od -An -tu1 -j "$2" -N 1 "$1" | tr -d ' ')
  printf "\\$(printf %03o $((was ^ 4)))" |
    dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# number KEY: of the first part, by the manifest.
number() {
  sed -n 's/.*"'"$1"'": \([0-9]*\).*/\1/p' good/manifest.json | head -n 1
}

# fresh: a whole restart named r.
fresh() {
  rm -rf r
  cp -r good r
}

for file in weights tokens pairs; do
  gzip -dc "$golden/formats/$file-1.0.h5.gz" >$file.h5 || exit 99
done
gzip -dc "$golden/formats/chats-1.1.h5.gz" >chats.h5 || exit 99
gzip -dc "$golden/formats/restart-1.0.tar.gz" | tar -xf - || exit 99
cp -r step-000000001 good

# ---- Version 1.0 of everything ----

for ranks in 1 3; do
  expect 0 'weights.h5: weights of 26 parameters: intact, digest 1537f27fbaaad4c6' \
    $ranks ztconv verify --deep weights.h5 tokens.h5 pairs.h5 good
  for text in 'tokens.h5: tokens, 1 documents: intact, digest e28b73171df42feb' \
    'pairs.h5: tokens, 12 documents: intact, digest e15522e20deee1a4' \
    'good: restart of step 1: intact, digest e3de308bdd0e3bb3'; do
    grep -qF "$text" out || fail "no '$text' in: $(cat out)"
  done
done
expect 0 1537f27fbaaad4c6 1 ztinfo digest good
expect 0 'layout intact; data not read' 1 ztconv verify weights.h5 tokens.h5
good 2 ztconv export good hf
expect 0 1537f27fbaaad4c6 1 ztinfo digest hf

mkdir -p run/restart
mv step-000000001 run/restart
cat >run.cfg <<'END'
run = { dir = "run"; };
model = { weights = "weights.h5"; };
data = { train = "pairs.h5"; task = "seq2seq"; source_length = 16;
         target_length = 8; };
train = { steps = 2; batch = 4; microbatch = 2; schedule = { warmup = 1; }; };
log = { tensorboard = false; };
END
good 2 ztrain run.cfg
expect 0 'intact' 1 ztconv verify --deep run
[ "$(wc -l <out)" -eq 2 ] || fail "not both restarts: $(cat out)"
expect 0 'step-000000002: by 2 ranks' 1 ztinfo show run
expect 0 '"name": "step-000000001", "step": 1, "ranks": 3, "parts": 3' 2 \
  ztinfo show --json run
expect 0 'data:       epoch 0, place 4' 1 ztinfo show good
expect 0 'libraries:  ' 1 ztinfo show good

# A newer minor version is read, a newer major one is not.
for file in weights tokens; do
  LC_ALL=C sed 's/1\.0\x00/1.7\x00/' $file.h5 >minor.h5
  expect 0 intact 1 ztconv verify --deep minor.h5
  LC_ALL=C sed 's/1\.0\x00/2.0\x00/' $file.h5 >major.h5
  expect 65 "major.h5: has zt-$file version 2.0, this program reads up to 1.x" \
    2 ztinfo show major.h5
done

# What 1.1 added.
expect 0 'chats.h5: tokens, 3 documents: intact, digest 631c55d5e494eba0' 2 \
  ztconv verify --deep chats.h5
expect 0 'sample 0: 72 tokens, 14 learnt' 1 ztinfo show --sample 1 chats.h5

# What 2.0 added: the statistics of Adafactor.
mkdir -p factored/restart
gzip -dc "$golden/formats/restart-2.0.tar.gz" | tar -xf - -C factored/restart ||
  exit 99
expect 0 'restart of step 1: intact, digest 3b48639a47789ff3' 3 \
  ztconv verify --deep factored/restart/step-000000001
good 2 ztrain run.cfg -s run.dir=factored -s train.optimizer.name=adafactor
grep -q 'resuming from factored/restart/step-000000001' err ||
  fail "not resumed: $(cat err)"
cp -r factored anew
rm -r anew/restart anew/metrics.jsonl
good 1 ztrain run.cfg -s run.dir=anew -s train.optimizer.name=adafactor
[ "$(state anew 2)" = "$(state factored 2)" ] ||
  fail "a run on restart 2.0 is not what it is without"

# ---- Damage is found and named ----

master=$(number master_at) sums=$(number checksums_at)
fresh
flip r/part-00000.h5 $((master + 16384 + 100))
expect 0 'checksum tables intact; data not read' 1 ztconv verify r
expect 65 'r/part-00000.h5: /master, chunk 1 (encoder.block.0.' 1 \
  ztconv verify --deep r
flip r/part-00000.h5 $((master + 5 * 16384))
expect 65 'chunk 1 (encoder.block.0.layer.0.SelfAttention.q.weight) is damaged; 2 chunks are damaged in all' \
  2 ztconv verify --deep r
[ "$(grep -c . err)" -eq 1 ] || fail "not one line: $(cat err)"
fresh
flip r/part-00000.h5 $((sums + 8))
expect 65 'r/part-00000.h5: its checksum table does not fit the seal' 1 \
  ztconv verify r
fresh
flip r/part-00001.h5 4000
expect 65 'r/part-00001.h5: its header does not fit the seal' 3 ztconv verify r
fresh
flip r/manifest.json 200
expect 65 'r/manifest.json: does not fit the seal' 1 ztconv verify r
fresh
flip r/COMMIT 30
expect 65 'r/COMMIT: the seal does not fit its text' 1 ztconv verify r
fresh
rm r/COMMIT
expect 65 'r/COMMIT: ' 1 ztconv verify r
fresh
rm r/part-00002.h5
expect 65 'r/part-00002.h5: ' 1 ztconv verify r
fresh
flip r/views.h5 1000 # nobody relies on it
expect 0 'intact, digest' 1 ztconv verify --deep r
cp weights.h5 bad.h5
flip bad.h5 $(($(wc -c <bad.h5) - 2))
expect 65 'bad.h5: damaged: digest ' 2 ztconv verify --deep bad.h5
cp tokens.h5 bad.h5
flip bad.h5 $(($(wc -c <bad.h5) - 70))
expect 65 'bad.h5: ' 1 ztconv verify --deep bad.h5

# All paths are looked at; the code is that of the first bad one.
expect 66 'weights.h5: weights of 26 parameters: layout intact' 2 \
  ztconv verify none weights.h5 bad.h5 good
grep -qF 'none: cannot open' err || fail "none is not named: $(cat err)"
grep -qF 'good: restart of step 1' out || fail "good is passed over"
ZT_FAULT=restart.read@1 expect 74 'fault injected at restart.read' 2 \
  ztconv verify --deep good
expect 64 'too few operands' 1 ztconv verify

# ---- Views ----

rm -r r
cp -r run/restart/step-000000002 r
cp r/views.h5 views.h5
rm r/views.h5
expect 0 'r/views.h5: written' 2 ztinfo views r
cmp -s r/views.h5 views.h5 || fail "ztinfo views makes other views than a save"
expect 64 'too few operands' 1 ztinfo views
expect 66 'none' 1 ztinfo views none

# ---- Differences ----

expect 0 'all equal: 26 tensors' 1 ztconv diff weights.h5 hf
expect 0 'all equal: 78 tensors' 3 ztconv diff good run/restart/step-000000001
newer=run/restart/step-000000002
for ranks in 1 3; do
  expect 1 'step: 1 in good, 2 in run' $ranks ztconv diff good $newer
  mv out out.$ranks
done
cmp out.1 out.3 || fail "ranks see different differences"
for text in 'shared.weight: max abs diff 0.00' 'exp_avg/shared.weight: max' \
  'exp_avg_sq/shared.weight: max' '79 differences'; do
  grep -qF "$text" out.1 || fail "no '$text': $(cat out.1)"
done
good 1 ztconv diff --brief weights.h5 good
[ ! -s out ] || fail "brief is not silent: $(cat out)"
sed 's/"d_ff": 12/"d_ff": 13/; s/"num_layers": 1/"num_layers": 2/' hf/config.json \
  >other.json
good 1 ztconv init other.json other.h5
expect 1 'shape [12,8] in weights.h5, [13,8] in other.h5' 2 \
  ztconv diff weights.h5 other.h5
grep -q 'encoder.block.1.*only in other.h5' out || fail "nothing is missing"
expect 66 'none: cannot open' 2 ztconv diff weights.h5 none

finish "cases of formats, verify, diff"
