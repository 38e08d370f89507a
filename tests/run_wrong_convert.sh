#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Wrong inputs of ztconv and ztinfo: each is answered by one line of at most 200
# characters that names file and reason, by the right exit code, and by no
# output.
dir=$(mktemp -d "$ZT_BUILD/run_wrong_convert.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
. "$ZT_SRC/tests/safetensors.sh"
export OMP_NUM_THREADS=1
cases=0 failures=0

fail() {
  echo "$*"
  failures=$((failures + 1))
}

# bad CODE TEXT PROGRAM ARGUMENT...: what it writes would be x or x.h5.
bad() {
  code=$1 text=$2 program=$3
  shift 3
  timeout 60 "$ZT_BUILD/$program" "$@" >out 2>err
  is=$?
  cases=$((cases + 1))
  [ $is -eq "$code" ] || fail "$program $*: code $is, not $code: $(cat err)"
  grep -qF -- "$text" err || fail "$program $*: no '$text' in: $(cat err)"
  [ "$(wc -l <err)" -eq 1 ] || fail "$program $*: not one line: $(cat err)"
  [ "$(wc -m <err)" -le 208 ] || fail "$program $*: too long: $(cat err)"
  [ ! -s out ] || fail "$program $*: writes to standard output"
  [ -z "$(ls -A | grep '^x')" ] || fail "$program $*: leaves $(ls -A)"
  rm -rf x x.h5
}

# A small good model, and a fresh copy of it named d.
cat >small.json <<'EOF'
{"model_type": "t5", "vocab_size": 10, "d_model": 4, "d_kv": 2, "d_ff": 6,
 "num_heads": 2, "num_layers": 1, "torch_dtype": "float32"}
EOF
"$ZT_BUILD/ztconv" init small.json good.h5 2>err &&
  "$ZT_BUILD/ztconv" export good.h5 good 2>err &&
  "$ZT_BUILD/ztconv" export --max-shard-size 900 good.h5 shards 2>err || {
  cat err
  exit 1
}
fresh() {
  rm -rf d
  cp -r "${1:-good}" d
}
model=d/model.safetensors
index=d/model.safetensors.index.json

# edited CODE TEXT SED-SCRIPT: the header changed.
edited() {
  fresh
  st_edit $model "$3"
  bad "$1" "$2" ztconv import d x.h5
}

# ---- Directories ----

bad 66 'none: cannot open' ztconv import none x.h5
bad 66 'small.json/a: cannot open' ztconv import small.json/a x.h5
bad 66 'small.json: not a directory with config.json' ztconv import small.json x.h5
mkdir empty
bad 66 'empty/config.json: cannot open' ztconv import empty x.h5
cp small.json empty/config.json
bad 66 'holds neither model.safetensors nor its index' ztconv import empty x.h5
: >empty/pytorch_model.bin
bad 66 'save pytorch_model.bin as safetensors' ztconv import empty x.h5
fresh
bad 73 'none/x.h5.tmp: cannot create' ztconv import d none/x.h5
bad 73 'd: exists' ztconv import d d
bad 73 'not a regular file' ztconv import --force d d
bad 73 'none/x: cannot create' ztconv export good.h5 none/x
bad 73 'small.json: ' ztconv export good.h5 small.json

# ---- Configurations ----

# config CODE TEXT SED-SCRIPT: config.json changed.
config() {
  fresh
  sed "$3" small.json >d/config.json
  bad "$1" "$2" ztconv import d x.h5
}
config 65 'd/config.json:1: not valid JSON' 's/^{/{{/'
config 65 'duplicate' 's/"d_kv": 2/"d_kv": 2, "d_kv": 2/'
config 65 'model_type "bert" is not supported' 's/"t5"/"bert"/'
config 65 'no "model_type"' 's/"model_type"/"model"/'
config 65 'no "d_model"' 's/"d_model"/"d_modell"/'
config 65 '"num_heads" is -2' 's/"num_heads": 2/"num_heads": -2/'
config 65 '"vocab_size" is not an integer' 's/: 10/: 10.5/'
config 65 '[10,4], config.json says [11,4]' 's/: 10/: 11/'
config 65 'encoder.block.1.layer.0.SelfAttention.q.weight is missing' \
  's/"num_layers": 1/"num_layers": 2/'
config 65 'feed_forward_proj "tanh" is not supported' \
  's/"d_kv"/"feed_forward_proj": "tanh", "d_kv"/'
config 65 'SelfAttention.q.weight has shape [4,4], config.json says [6,4]' \
  's/"num_heads": 2/"num_heads": 3/'
fresh
head -c 1100000 /dev/zero | tr '\0' ' ' >>d/config.json
bad 65 'd/config.json: 1100' ztconv import d x.h5
fresh
printf '\377\376{' >d/config.json
bad 65 'd/config.json:1: not valid JSON' ztconv import d x.h5

# ---- The safetensors file ----

fresh
: >$model
bad 65 "$model: too short" ztconv import d x.h5
fresh
head -c -1 good/model.safetensors >$model
bad 65 'truncated?' ztconv import d x.h5
fresh
head -c 100 good/model.safetensors >$model
bad 65 'longer than the file' ztconv import d x.h5
fresh
printf x >>$model
bad 65 '1 bytes follow the last tensor' ztconv import d x.h5
fresh
head -c 40 /dev/zero >$model
bad 65 "does not begin with '{'" ztconv import d x.h5
fresh
printf '\1\0\0\2\0\0\0\0{' >$model
truncate -s 40000000 $model
bad 65 'at most 33554432 are read' ztconv import d x.h5
fresh
head -c 1000 /dev/urandom >$model
bad 65 "$model: " ztconv import d x.h5
fresh
rm $model
mkdir $model
bad 66 "$model: not a regular file" ztconv import d x.h5
edited 65 "does not begin with '{'" 's/^/ /'
edited 65 'not valid JSON' 's/} *$//'
edited 65 'not valid JSON' 's/"shared.weight"/"encoder.final_layer_norm.weight"/'
edited 65 'd: tensor shared.weight is missing' 's/"shared.weight"/"sharex"/'
fresh
printf abcd | st_add $model lm_head.bias '[1]'
bad 65 "$model: tensor lm_head.bias is unknown" ztconv import d x.h5
edited 65 'unusable name' 's/"shared.weight"/"sha\\nred"/'
edited 65 'unusable name' 's/"shared.weight"/"\\u001b[31m"/'
edited 65 'shared.weight has shape [4,10]' 's/\[10,4\]/[4,10]/'
edited 65 'shared.weight has shape [40]' 's/\[10,4\]/[40]/'
edited 65 'do not fit its shape' 's/\[10,4\]/[10,5]/'
edited 65 'impossible shape' 's/\[10,4\]/[10,-4]/'
edited 65 'dtype is not a known one' 's/"F32","shape":\[10,4\]/"F23","shape":[10,4]/'
edited 65 'shared.weight is stored as I32' \
  's/"F32","shape":\[10,4\]/"I32","shape":[10,4]/'
edited 65 'shared.weight is stored as F64' \
  's/"F32","shape":\[10,4\]/"F64","shape":[5,4]/'
edited 65 'shared.weight has shape [20,4]' \
  's/"F32","shape":\[10,4\]/"BF16","shape":[20,4]/'
range=$(st_header good/model.safetensors | sed 's/}}.*/}}/' >h && st_range h shared.weight)
begin=${range% *} end=${range#* }
edited 65 'overlaps another' "s/\\[$begin,$end\\]/[$((begin - 4)),$((end - 4))]/"
edited 65 'a hole before the data of tensor shared.weight' \
  "s/\\[$begin,$end\\]/[$((begin + 4)),$end]/;s/\\[10,4\\]/[3,13]/"
edited 65 'ends at byte' "s/\\[$begin,$end\\]/[$begin,9$end]/"
edited 65 '__metadata__ holds more than strings' 's/"format":"pt"/"format":1/'
fresh
head -c 160 /dev/urandom | st_add $model encoder.embed_tokens.weight '[10,4]'
bad 65 'encoder.embed_tokens.weight differs from shared.weight' \
  ztconv import d x.h5
fresh
head -c 160 /dev/urandom | st_add $model lm_head.weight '[4,10]'
bad 65 'lm_head.weight has shape [4,10]' ztconv import d x.h5

# ---- Shards ----

# indexed CODE TEXT SED-SCRIPT: the index changed.
indexed() {
  fresh shards
  sed "$3" shards/model.safetensors.index.json >$index
  bad "$1" "$2" ztconv import d x.h5
}
first=model-00001-of-00003.safetensors second=model-00002-of-00003.safetensors
ls shards | grep -q "$first" || fail "not three shards: $(ls shards)"
fresh shards
rm d/$second
bad 66 "$second: cannot open" ztconv import d x.h5
fresh shards
cp d/$first d/$second
bad 65 ' is in ' ztconv import d x.h5
fresh shards
cp d/$second d/other.safetensors
sed '/shared.weight/s/: ".*"/: "other.safetensors"/' \
  shards/model.safetensors.index.json >$index
bad 65 ' is in ' ztconv import d x.h5
indexed 65 'not valid JSON' 's/}//'
indexed 65 'no "weight_map"' 's/"weight_map"/"map"/'
indexed 65 'unusable file name' "s/$second/..\\/$second/"
indexed 65 'unusable file name' "s/\"$second\"/\"\\/etc\\/passwd\"/"
indexed 65 'unusable file name' "s/\"$second\"/7/"
indexed 65 'unusable tensor name' 's/"shared.weight"/"a\\nb"/'
indexed 65 'is not listed there' '/encoder.final_layer_norm.weight/d'
indexed 65 'is not listed there' "/shared.weight/s/$first/$second/"
indexed 65 'tensor lm_head.weight is not in' \
  "s/\"weight_map\": {/&\"lm_head.weight\": \"$first\",/"
fresh shards
head -c 300 shards/$second >d/$second
bad 65 "$second: " ztconv import d x.h5

# ---- Weights files ----

bad 66 'none.h5: cannot open' ztconv export none.h5 x
bad 65 'small.json: not an intact HDF5 file' ztconv export small.json x
head -c 3000 good.h5 >cut.h5
bad 65 'cut.h5: not an intact HDF5 file' ztconv export cut.h5 x
bad 65 'cut.h5: ' ztinfo show cut.h5
bad 65 'cut.h5: ' ztinfo digest cut.h5
# One bit of one weight: the last byte but a few belongs to the last tensor.
cp good.h5 bit.h5
size=$(($(wc -c <bit.h5)))
printf x | dd of=bit.h5 bs=1 seek=$((size - 2)) conv=notrunc 2>/dev/null
bad 65 'bit.h5: damaged: digest ' ztinfo digest bit.h5
bad 65 'bit.h5: damaged: digest ' ztconv export bit.h5 x
bad 64 'optimizer state' ztinfo digest --state good.h5

# ---- Full disks, where a small one can be mounted ----

# full SIZE TEXT ARGUMENT...: ztconv on two ranks, writing into a disk of a size.
full() {
  size=$1 text=$2
  shift 2
  mkdir -p small
  unshare -m sh -c 'mount -t tmpfs -o size="$0" none small || exit 99
    timeout 60 mpiexec -n 2 "$ZT_BUILD/ztconv" "$@"
    code=$?
    ls -A small >left
    exit $code' "$size" "$@" >out 2>err
  is=$?
  cases=$((cases + 1))
  [ $is -eq 74 ] || fail "$size: $*: code $is: $(cat err)"
  grep -q "$text.*No space left on device" err ||
    fail "$size: $*: no '$text' in: $(cat err)"
  [ "$(wc -l <err)" -eq 1 ] || fail "$size: $*: not one line: $(cat err)"
  [ ! -s left ] || fail "$size: $*: leaves $(cat left)"
}
if unshare -m true 2>/dev/null; then
  "$ZT_BUILD/ztconv" init "$ZT_SRC/tests/golden/t5v10tiny/config.json" disk.h5 \
    2>err || fail "init: $(cat err)"
  "$ZT_BUILD/ztconv" export disk.h5 disk 2>err || fail "export: $(cat err)"
  full 8k 'cannot write the layout' import disk small/x.h5
  full 300k 'no room for' import disk small/x.h5
  full 300k 'no room for' init disk/config.json small/x.h5
  full 300k 'no room for' export disk.h5 small/hf
else
  echo "no small disk may be mounted here: full disks are not tried"
fi

# ---- Command lines ----

bad 64 'which command?' ztconv
bad 64 "unknown command 'imprt'; did you mean import?" ztconv imprt
bad 64 "did you mean --force?" ztconv import --forse good x.h5
bad 64 'too few operands; usage: ztconv import HF_DIR OUT.h5' ztconv import good
bad 64 'too many operands' ztconv export a b c
bad 64 '--dtype int8: not fp32, bf16 or fp16' ztconv export --dtype int8 good.h5 x
bad 64 '--max-shard-size 5XB: not a size' \
  ztconv export --max-shard-size 5XB good.h5 x
bad 64 '--max-shard-size 0: not a size' \
  ztconv export --max-shard-size 0 good.h5 x
bad 64 '--seed -1: not a 64-bit number' ztconv init --seed=-1 small.json x.h5
bad 64 '--seed 99999999999999999999' \
  ztconv init --seed 99999999999999999999 small.json x.h5
bad 66 'none.json: cannot open' ztconv init none.json x.h5
bad 65 'good.h5' ztconv init good.h5 x.h5

echo "$cases wrong inputs"
exit $((failures > 0))
