#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Tokens a second of ztgen on several ranks beside Transformers' generate under
# DeepSpeed ZeRO-3 with synced_gpus (gloo): the same random t5-small, prompts
# and batch a rank, one thread a rank, greedy, in one interleaved run; the best
# of the rounds.  --keep is ztgen with the whole model gathered once.
#   generate_ranks.sh [ROUNDS [NEW [BATCH [RANKS]]]]
# ZT_BUILD=build folder, PYTHON with torch, transformers and deepspeed
rounds=${1:-2} new=${2:-32} batch=${3:-8} ranks=${4:-2}
: "${ZT_BUILD:=.}" "${PYTHON:=python3}"
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$ZT_BUILD" && pwd)
"$PYTHON" -c 'import deepspeed, torch, transformers' >/dev/null 2>&1 ||
  { echo "skip: $PYTHON has no deepspeed, torch and transformers"; exit 77; }
folder=$(mktemp -d "${TMPDIR:-/tmp}/zt-generate.XXXXXX") || exit 99
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 99
export OMP_NUM_THREADS=1 CUDA_VISIBLE_DEVICES='' HF_HUB_OFFLINE=1

awk -v n=$((ranks * batch)) 'BEGIN {
  for (i = 0; i < n; i++) {
    text = ""
    for (t = 0; t < 64; t++)
      text = text (t ? ", " : "") 3 + (i * 421 + t * 547) % 30000
    print "{\"tokens\": [" text "]}"
  }
}' >prompts.jsonl
cat >config.json <<'END'
{"model_type": "t5", "vocab_size": 32128, "d_model": 512, "d_kv": 64,
 "num_heads": 8, "d_ff": 2048, "num_layers": 6, "decoder_start_token_id": 0}
END
{
  "$build/ztconv" init config.json model.h5 &&
    "$build/ztconv" export model.h5 hf
} 2>err || { cat err; exit 1; }

# ours FILE [OPTION]...
ours() {
  file=$1
  shift
  mpiexec -n "$ranks" "$build/ztgen" model.h5 --input prompts.jsonl \
    --min-new-tokens "$new" --max-new-tokens "$new" --batch "$batch" --json \
    "$@" 2>&1 >out | sed -n 's|.*: \([0-9.]*\) tokens/s.*|\1|p' >>"$file"
}
best() {
  sort -g "$1" | tail -n 1
}

round=0
while [ "$round" -lt "$rounds" ]; do
  ours plain
  ours kept --keep 4G
  "$PYTHON" -m torch.distributed.run --nproc_per_node "$ranks" \
    "$here/generate_deepspeed.py" hf prompts.jsonl "$new" "$batch" \
    >out 2>err || { tail -n 20 err; exit 1; }
  sed -n 's/^tokens a second: //p' out >>theirs
  round=$((round + 1))
done
echo "t5-small, $ranks ranks, 1 thread and batch $batch each, $new new tokens"
echo "$(best plain) $(best kept) $(best theirs)" | awk '{
  printf "ztgen %.1f, with --keep %.1f, DeepSpeed %.1f tokens/s: ", $1, $2, $3
  printf "%.2f and %.2f times\n", $1 / $3, $2 / $3 }'
