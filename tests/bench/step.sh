#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A training step of t5-small beside PyTorch's, in one interleaved run: forward,
# backward, clipping and AdamW, fp32, dropout 0, recompute off, on one process.
#   ROUNDS=5 STEPS=3 BATCH=8 SOURCE=512 TARGET=114 THREADS=2 PYTHON=python3
#   step.sh          in the build folder; needs torch and transformers
# Prints both times of each round and the ratio of the medians; the machine's
# other work disturbs both alike.
set -eu
rounds=${ROUNDS:-5} steps=${STEPS:-3} batch=${BATCH:-8}
source=${SOURCE:-512} target=${TARGET:-114} threads=${THREADS:-2}
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
build=${ZT_BUILD:-$PWD}
[ -x "$build/ztrain" ] || { echo "step.sh: no ztrain in $build" >&2; exit 66; }
"$python" -c 'import torch, transformers' 2> /dev/null ||
  { echo "skip: $python has no torch and transformers"; exit 77; }
dir=$(mktemp -d "$build/bench-step.XXXXXX")
trap 'rm -rf "$dir"' EXIT
cd "$dir"

cat > config.json << 'END'
{"model_type": "t5", "vocab_size": 32128, "d_model": 512, "d_kv": 64,
 "d_ff": 2048, "num_layers": 6, "num_decoder_layers": 6, "num_heads": 8,
 "feed_forward_proj": "relu", "dropout_rate": 0.0, "layer_norm_epsilon": 1e-6,
 "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
 "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
END
"$build/ztconv" init config.json weights.h5
awk 'BEGIN { srand(1); for (d = 0; d < 300; d++) { printf "{\"tokens\": ["
  for (i = 0; i < 999; i++) printf "%d, ", 3 + int(rand() * 31000)
  print "1]}" } }' > text.jsonl
"$build/ztconv" tokens tokens.h5 --vocab 32128 text.jsonl
cat > run.cfg << END
run = { dir = "run"; };
model = { weights = "weights.h5"; };
data = { train = "tokens.h5"; source_length = $source;
         target_length = $target; };
train = { steps = $((steps + 1)); batch = $batch; microbatch = $batch;
          recompute = false; optimizer = { lr = 1e-4; };
          schedule = { name = "constant"; warmup = 0; }; };
restart = { every_steps = 0; };
runtime = { threads = $threads; };
log = { tensorboard = false; };
END

# The first step warms up and does not count.
zt_step() {
  rm -rf run
  "$build/ztrain" run.cfg 2> log || { cat log; exit 1; }
  sed -n 's/^{"t": "train".*"seconds": \([0-9.]*\).*/\1/p' run/metrics.jsonl |
    tail -n +2 | sort -n | sed -n "$(((steps + 1) / 2))p"
}
torch_step() {
  OMP_NUM_THREADS=$threads "$python" "$here/step_torch.py" config.json \
    "$batch" "$source" "$target" "$steps" 2> log || { cat log; exit 1; }
}
echo "t5-small, batch $batch, $source/$target, $threads threads," \
  "median of $steps steps a round"
"$build/ztrain" --version | sed -n 's/^ *\(BLAS\|blas\|kernels\).*/&/p'
for r in $(seq "$rounds"); do
  a=$(zt_step)
  b=$(torch_step)
  echo "$a $b" >> times
  awk -v r="$r" '{a = $1; b = $2} END {
    printf "round %d: ztrain %.3f s, PyTorch %.3f s: x %.2f\n", r, a, b, a / b}' \
    times
done
median() { cut -d ' ' -f "$1" times | sort -n | sed -n "$(((rounds + 1) / 2))p"; }
awk -v a="$(median 1)" -v b="$(median 2)" 'BEGIN {
  printf "medians: ztrain %.3f s, PyTorch %.3f s: ztrain takes %.2f of its time\n",
    a, b, a / b }'
