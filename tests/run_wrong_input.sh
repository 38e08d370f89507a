#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Wrong inputs of all four programs: each is answered by one line of at most 200
# characters that names file or key, reason and way out, and by the right exit
# code; nothing is written.  (run_wrong_convert.sh and run_conv_tokens.sh have
# those of model directories and of token input.)
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
limit=30
make_inputs
good 2 ztrain run.cfg
ranks=1

# bad CODE TEXT PROGRAM ARGUMENT...
bad() {
  want=$1 text=$2
  shift 2
  cases=$((cases + 1))
  ls -A >before
  on $ranks "$@"
  ls -A | cmp -s - before || fail "$*: writes $(ls -A | diff - before)"
  [ $code -eq "$want" ] || fail "$*: code $code, not $want: $(cat err)"
  grep '^zt[a-z]*: ' err >said
  grep -qF -- "$text" said || fail "$*: no '$text' in: $(cat err)"
  [ "$(grep -c . said)" -eq 1 ] && [ "$(wc -m <said)" -le 208 ] ||
    fail "$*: not one line: $(cat err)"
  [ ! -s out ] || fail "$*: writes to standard output: $(cat out)"
}

# of CODE TEXT KEY=VALUE...: the configuration says what cannot be.
of() {
  want=$1 text=$2
  shift 2
  for setting; do
    set -- "$@" -s "$setting"
    shift
  done
  bad "$want" "$text" ztrain run.cfg -s run.dir=x "$@"
}

: >out && : >said && : >before

# ---- ztrain: usage ----

bad 64 'usage: ztrain RUN.cfg' ztrain
bad 64 'too many operands' ztrain run.cfg run.cfg
bad 64 "'--restrat'; did you mean --restart?" ztrain run.cfg --restrat none
bad 64 "--max-hours '0': expected a number" ztrain run.cfg --max-hours 0
bad 64 "--max-hours '1h'" ztrain run.cfg --max-hours 1h
bad 64 '-s needs a value' ztrain run.cfg -s
bad 64 "did you mean 'train.batch'?" ztrain --explain train.bacth
bad 64 "unknown key 'x'" ztrain run.cfg --allow-change x

# ---- ztrain: the configuration ----

bad 66 'nowhere.cfg: cannot read' ztrain nowhere.cfg
bad 66 'a directory, not a configuration' ztrain .
bad 78 'weights.h5: too large' ztrain weights.h5
bad 78 'text:1: ' ztrain text
of 78 "unknown key 'train.bacth'; did you mean 'train.batch'?" train.bacth=4
of 78 'expected KEY=VALUE' train.batch
of 78 'train.batch: expected an integer' train.batch=x
of 78 'train.batch = 0: must be' train.batch=0
of 78 'train.batch = 4294967297: must be' train.batch=4294967297
of 78 'not a multiple of train.microbatch = 2: take 12 or 14' train.batch=13
of 78 'train.dropout = 1: must be' train.dropout=1
of 78 'train.dropout: expected a number' train.dropout=nan
of 78 'train.optimizer.betas: expected two numbers' train.optimizer.betas='[0.9]'
of 78 'train.optimizer.lr = -1' train.optimizer.lr=-1
of 78 'train.steps = 0' train.steps=0
of 78 'data.task = "seq2sec": must be' data.task=seq2sec
of 78 '"causal"' data.task=causal
of 78 'data.packing' data.packing=maybe
of 78 'restart.staging: expected a size such as "64MiB"' restart.staging=64apples
of 78 'runtime.threads = -1' runtime.threads=-1
of 78 'run.dir is missing' run.dir=
of 78 'run is a group of keys' run=x
of 78 'exclude each other' model.config=x.json
ztrain --version >version # other builds may have both
grep -q 'CUDA:* *no' version &&
  of 69 'runtime.device = "cuda": this build has no CUDA; use' runtime.device=cuda
grep -q 'NCCL:* *no' version &&
  of 69 'runtime.comm = "nccl": this build has no NCCL; use' runtime.comm=nccl

# file CODE TEXT SED-SCRIPT: the file changed.
file() {
  sed "$3" run.cfg >bad.cfg
  bad "$1" "$2" ztrain bad.cfg -s run.dir=x
}
cp run.cfg bad.cfg
file 78 "bad.cfg:4: unknown key 'train.stops'; did you mean 'train.steps'?" \
  's/steps = 6/stops = 6/'
file 78 'bad.cfg:4: ' 's/steps = 6;/steps = ;/'
file 78 'bad.cfg:3: ' 's/data = {/data = {{/'
file 78 'train.batch is missing' 's/batch = 14; //;s/every_steps = 3/every_steps = 4/'
file 78 'bad.cfg:4: ' 's/steps = 6/steps = 99999999999999999999/'
file 78 'bad.cfg:4: ' 's/steps = 6/steps = 6; steps = 7/'
printf 'run = {' >bad.cfg
bad 78 'bad.cfg:1: ' ztrain bad.cfg
printf '\0\377\376' >bad.cfg
bad 78 'bad.cfg: not a text file' ztrain bad.cfg

# ---- ztrain: what the configuration names ----

mkdir x
of 66 'nowhere.h5: cannot open' model.weights=nowhere.h5
of 65 'text: not an intact HDF5 file' model.weights=text
of 65 'tokens.h5: not a zt-weights file but zt-tokens' model.weights=tokens.h5
of 66 '.: not a regular file' model.weights=.
of 66 'nowhere.h5: cannot open' data.train=nowhere.h5
of 65 'text: not an intact HDF5 file' data.train=text
of 65 'weights.h5: not a zt-tokens file but zt-weights' data.train=weights.h5
of 65 'pairs.h5: holds pairs' data.train=pairs.h5
of 65 'tokens.h5: holds no pairs' data.task=seq2seq
of 65 'vocabulary of 384 ids is larger than the model' model.weights=tied.h5
of 78 'data.target_length is 3, too small' data.target_length=3
of 78 'data.source_length is 2, outside' data.source_length=2
of 78 'zero.unit_limit = 5: unit shared has 24576 elements' zero.unit_limit=5
of 73 'text/x: cannot make' run.dir=text/x
of 73 '/proc/x: cannot make' run.dir=/proc/x
cp weights.h5 bad.h5
truncate -s 500000 bad.h5
of 65 'bad.h5: not an intact HDF5 file: truncated' model.weights=bad.h5
cp weights.h5 bad.h5
printf X | dd of=bad.h5 bs=1 seek=600000 conv=notrunc 2>/dev/null
of 65 'bad.h5: its content has digest' model.weights=bad.h5
ranks=2
of 65 'bad.h5: its content has digest' model.weights=bad.h5
of 65 'pairs.h5: holds pairs' data.train=pairs.h5
ranks=1
cp tokens.h5 bad.h5
truncate -s 20000 bad.h5
of 65 'bad.h5: not an intact HDF5 file: truncated' data.train=bad.h5
# The strings of a file, edited where they stand.
sed 's/zt-weights/zt-wights\x00/' weights.h5 >bad.h5
of 65 'bad.h5: not a zt-weights file' model.weights=bad.h5

# ---- ztrain: restarts ----

restart=run/restart/step-000000006
bad 66 'x/restart: no restart there' ztrain run.cfg -s run.dir=x --restart require
bad 66 'nowhere' ztrain run.cfg -s run.dir=x --restart nowhere
bad 66 'weights.h5/COMMIT: ' ztrain run.cfg -s run.dir=x --restart weights.h5
bad 65 'no restart, or a damaged one' ztrain run.cfg -s run.dir=x --restart .
for change in train.batch=28 run.seed=2 model.weights=tied.h5 data.train=ids.h5 \
  train.dropout=0 data.order=sequential; do
  bad 78 "say --allow-change ${change%=*}" ztrain run.cfg -s "$change"
done

# damaged TEXT: a restart asked for by name.
damaged() {
  bad 65 "bad/$1" ztrain run.cfg -s run.dir=x --restart bad
  rm -r bad
  cp -r $restart bad
}
cp -r $restart bad
rm bad/COMMIT
damaged 'COMMIT: '
rm bad/part-00000.h5
damaged 'part-00000.h5: '
printf X >>bad/part-00000.h5
damaged 'part-00000.h5: its size'
printf X | dd of=bad/part-00000.h5 bs=1 seek=9 conv=notrunc 2>/dev/null
damaged 'part-00000.h5: '
sed -i 's/"step": 6/"step": 5/' bad/manifest.json
damaged 'manifest.json: does not fit the seal'
: >bad/COMMIT
damaged 'COMMIT'

# ---- ztgen ----

bad 64 'usage: ztgen SRC' ztgen
bad 66 'nowhere: cannot open' ztgen nowhere --tokens 5
bad 65 'text: not an intact HDF5 file' ztgen text --tokens 5
bad 65 'tokens.h5: not a zt-weights file' ztgen tokens.h5 --tokens 5
bad 64 'one of --prompt, --tokens and --input' ztgen weights.h5
bad 64 'one of --prompt, --tokens and --input' ztgen weights.h5 --prompt a --tokens 5
bad 64 "'x' is no id" ztgen weights.h5 --tokens '5 x'
bad 65 'an empty prompt' ztgen weights.h5 --tokens ''
bad 65 "id 384 is not one of the model's 0 to 383" ztgen weights.h5 --tokens '5 384'
bad 64 "99999999': expected a number from 1 to 16777216" ztgen weights.h5 --tokens 5 \
  --max-new-tokens 99999999
bad 64 "--max-new-tokens '0'" ztgen weights.h5 --tokens 5 --max-new-tokens 0
bad 64 'brings no tokenizer; give ids, or --tokenizer' ztgen weights.h5 --prompt a
bad 66 'nowhere: cannot open' ztgen weights.h5 --tokenizer nowhere --prompt a
bad 65 'text: not a SentencePiece model' ztgen weights.h5 --tokenizer text --prompt a
bad 66 'nowhere: cannot open' ztgen weights.h5 --input nowhere
bad 66 '.: ' ztgen weights.h5 --input .
bad 65 'text:1: not JSON' ztgen weights.h5 --input text --output y
printf '{"tokens": [5]}\n{"tokens": [400]}\n' >p.jsonl
bad 65 'p.jsonl:2: id 400' ztgen weights.h5 --input p.jsonl --output y
printf '{"tokens": [5]}\n{"token": [5]}\n' >p.jsonl
bad 65 'p.jsonl:2: neither' ztgen weights.h5 --input p.jsonl --output y
ranks=2
bad 65 'p.jsonl:2: neither' ztgen weights.h5 --input p.jsonl --output y
bad 73 'no/y.tmp: cannot create' ztgen weights.h5 --tokens 5 --output no/y
ranks=1
bad 74 '/dev/full: cannot write' ztgen weights.h5 --tokens 5 --max-new-tokens 2 \
  --output /dev/full

# ---- ztinfo, ztconv ----

bad 64 'which command?' ztinfo
bad 64 "'shw'; did you mean show?" ztinfo shw
bad 64 'usage: ztinfo show' ztinfo show
bad 66 'nowhere: cannot open' ztinfo show nowhere
bad 65 'text: not an intact HDF5 file' ztinfo show text
bad 66 'nowhere: cannot open' ztinfo digest nowhere
bad 64 '--state is for restarts' ztinfo digest --state weights.h5
bad 64 "--ranks '0'" ztinfo plan run.cfg --ranks 0
bad 78 "did you mean 'train.batch'?" ztinfo plan run.cfg -s train.bacth=3
bad 66 'nowhere: cannot open' ztinfo plan run.cfg -s model.weights=nowhere
bad 66 'nowhere: cannot open' ztinfo status nowhere
bad 64 "'imprt'; did you mean import?" ztconv imprt
bad 66 'nowhere: cannot open' ztconv verify nowhere
bad 65 'tokens.h5: not a zt-weights file' ztconv diff weights.h5 tokens.h5
bad 65 'text:1: not valid JSON' ztconv init text y.h5
bad 64 '--seed x: not a 64-bit number' ztconv init --seed x text y.h5
bad 66 'nowhere: cannot open' ztconv export nowhere y
bad 64 '--max-shard-size 0: not a size' ztconv export --max-shard-size 0 weights.h5 y
bad 73 'weights.h5: exists' ztconv import "$golden/t5v11tiny" weights.h5
bad 64 'no such fault point' env ZT_FAULT=x@0 ztinfo faults

# A run that could not begin says so, and holds no more than that.
grep -q '"state": "failed"' x/STATUS.json || fail "x/STATUS.json: $(cat x/STATUS.json)"
[ ! -e x/restart ] && [ ! -e x/metrics.jsonl ] || fail "leaves $(ls x)"
finish "wrong inputs are answered in one line"
