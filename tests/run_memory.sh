#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# No full copy: the private memory of every rank, looked at from outside, stays
# within its slice, three units and 64 MiB while it loads, steps, saves, resumes
# and exports; the weights file is read once by all ranks together; the arenas
# take what the plan says.
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
peak=$ZT_BUILD/tests/peak
[ -r /proc/self/io ] || skip "no /proc to look at memory with"
! is_sanitized || skip "the sanitizers take memory too"
MiB=1048576

# A model of 24.8 million parameters, or one of 1.1 GiB in fp32.
ranks=4 d_model=384 d_ff=1024 layers=6 vocabulary=384
if is_long; then
  ranks=16 d_model=1024 d_ff=2816 layers=10 vocabulary=8192 limit=300
  [ "$(df -Pk . | awk 'NR == 2 {print $4}')" -gt 12000000 ] ||
    skip "12 GB of disk needed"
  [ "$(awk '/^MemAvailable/ {print $2}' /proc/meminfo)" -gt 10000000 ] ||
    skip "10 GB of memory needed"
fi
cat >config.json <<END
{"model_type": "t5", "vocab_size": $vocabulary, "d_model": $d_model, "d_kv": 64,
 "d_ff": $d_ff, "num_heads": $((d_model / 64)), "num_layers": $layers,
 "num_decoder_layers": $layers, "feed_forward_proj": "gated-gelu",
 "tie_word_embeddings": false, "pad_token_id": 0, "eos_token_id": 1,
 "decoder_start_token_id": 0}
END
cat >run.cfg <<END
run = { dir = "run"; };
model = { weights = "weights.h5"; };
data = { train = "tokens.h5"; source_length = 16; target_length = 8; };
train = { steps = 2; batch = $ranks; microbatch = 1; };
restart = { every_steps = 1; };
log = { tensorboard = false; };
END
cat "$ZT_SRC/COPYING" "$ZT_SRC/COPYING" >text

# measure NAME RANKS BYTES PROGRAM ARGUMENT...: no rank takes more than BYTES.
measure() {
  name=$1 on=$2 most=$3
  shift 3
  rm -f looks
  good "$on" "$peak" looks "$@"
  [ "$(grep -c . looks)" -eq "$on" ] || fail "$name: $(cat looks)"
  memory=$(sort -n looks | tail -n 1 | cut -d ' ' -f 1)
  bytes=$(awk '{n += $2} END {printf "%.0f", n}' looks)
  echo "$name: $((memory / MiB)) of $((most / MiB)) MiB," \
    "$((bytes / MiB)) MiB read by all"
  [ "$memory" -le "$most" ] || fail "$name: $memory bytes, more than $most"
}

# A few buffers, whatever the model.
measure init 1 $((64 * MiB)) ztconv init config.json weights.h5
good 1 ztconv tokens tokens.h5 --tokenizer bytes text
size=$(wc -c <weights.h5)
good 1 ztinfo plan run.cfg --ranks $ranks --json
cp out plan

# planned KEY: a number of the plan.
planned() {
  sed "s/.*\"$1\": \([0-9]*\).*/\1/" plan
}
bound=$((16 * $(planned parameters) / ranks + 12 * $(planned largest_unit) + \
  64 * MiB))

measure 'load, step, save' $ranks $bound ztrain run.cfg
sed -n '/^phase/,/^total/p' err
[ "$bytes" -ge "$size" ] && [ $((100 * bytes)) -le $((105 * size)) ] ||
  fail "$bytes bytes read, the weights file has $size"
grep -q 'took exactly all of the planned bytes' err || fail "plan: $(cat err)"
grep -q "\"plan_bytes\": $(planned total)" run/metrics.jsonl ||
  fail "plan_bytes: $(head -n 1 run/metrics.jsonl), planned $(planned total)"
# No phase is beyond the bound either, as the run itself sees it.
for phase in load gather optimizer restart; do
  sed -n "s/^$phase .* \([0-9.]*\) MiB\$/\1/p" err |
    awk -v most=$bound '{n++; bad = $1 * 1048576 > most} END {exit bad || n != 1}' ||
    fail "$phase: $(grep "^$phase" err)"
done
rm -r run/restart/step-000000002
measure 'resume' $ranks $bound ztrain run.cfg

# ---- Conversions ----

measure 'export' $ranks $((64 * MiB)) ztconv export weights.h5 hf
rm weights.h5
measure 'export of a restart' 2 $((64 * MiB)) ztconv export run there
rm -r run there
measure 'import' 2 $((64 * MiB)) ztconv import hf weights.h5
measure 'import, one rank' 1 $((64 * MiB)) ztconv import --force hf weights.h5

# ---- Generation: a slice of the weights, units, buffers ----

measure 'generation' $ranks \
  $((4 * $(planned parameters) / ranks + 12 * $(planned largest_unit) + \
    64 * MiB)) ztgen weights.h5 --tokens '5 6 7' --max-new-tokens 4
finish "programs stay within their memory"
