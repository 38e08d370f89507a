#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Tokens a second of ztgen beside Transformers' generate: the same random
# weights, prompts, threads and batch, greedy, in one interleaved run; the best
# of the rounds.  Prompts are of one length: Transformers would pad others.
#   generate.sh [ROUNDS [NEW [BATCH [THREADS]]]]
# ZT_BUILD=build folder, PYTHON with torch and transformers, TMPDIR=disk
rounds=${1:-3} new=${2:-48} batch=${3:-8} threads=${4:-1}
: "${ZT_BUILD:=.}" "${PYTHON:=python3}"
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$ZT_BUILD" && pwd)
folder=$(mktemp -d "${TMPDIR:-/tmp}/zt-generate.XXXXXX") || exit 99
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 99
export OMP_NUM_THREADS="$threads" CUDA_VISIBLE_DEVICES=

awk -v n="$batch" 'BEGIN {
  for (i = 0; i < 2 * n; i++) {
    text = ""
    for (t = 0; t < 64; t++)
      text = text (t ? ", " : "") 3 + (i * 421 + t * 547) % 30000
    print "{\"tokens\": [" text "]}"
  }
}' >prompts.jsonl

# measure NAME CONFIG: one model.
measure() {
  name=$1
  mkdir "$name"
  printf '%s\n' "$2" >"$name.json"
  "$build/ztconv" init "$name.json" "$name.h5" 2>/dev/null &&
    "$build/ztconv" export "$name.h5" "$name/hf" 2>/dev/null || exit 1
  round=0
  while [ "$round" -lt "$rounds" ]; do
    "$build/ztgen" "$name.h5" --input prompts.jsonl --max-new-tokens "$new" \
      --min-new-tokens "$new" --batch "$batch" --json 2>&1 >"$name.out" |
      sed -n 's|.*: \([0-9.]*\) tokens/s.*|\1|p' >>"$name.ours"
    "$PYTHON" "$here/generate_torch.py" "$name/hf" prompts.jsonl "$new" \
      "$batch" "$threads" 2>"$name.err" >>"$name.theirs" ||
      { cat "$name.err"; exit 1; }
    round=$((round + 1))
  done
  echo "$(sort -g "$name.ours" | tail -n 1) $(sort -g "$name.theirs" |
    tail -n 1)" | awk -v name="$name" '{
      printf "%s: ztgen %.1f, transformers %.1f tokens/s: %.2f times\n",
        name, $1, $2, $1 / $2 }'
}

echo "$threads thread(s), batch $batch, $new new tokens after 64"
measure t5-small '{"model_type": "t5", "vocab_size": 32128, "d_model": 512,
  "d_kv": 64, "num_heads": 8, "d_ff": 2048, "num_layers": 6,
  "decoder_start_token_id": 0}'
measure gpt2 '{"model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024,
  "n_embd": 768, "n_layer": 12, "n_head": 12}'
measure llama-135m '{"model_type": "llama", "vocab_size": 49152,
  "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
  "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_act": "silu",
  "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
  "tie_word_embeddings": true}'
