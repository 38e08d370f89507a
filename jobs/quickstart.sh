#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The whole path once, on this machine: text, tokens, a model, training under
# ZeRO-3 on 2 ranks, a crash, going on with 3 ranks, export, generation.
#   quickstart.sh                  English text of this machine, a small model
#   quickstart.sh HF_DIR TEXT      a Hugging Face T5 directory and a text file
# Everything lies in quickstart/ of the build folder ($ZT_BUILD, default build).
set -eu
src=$(cd "$(dirname "$0")/.." && pwd)
build=${ZT_BUILD:-$src/build}
case $# in
  0) hf= ;;
  2) hf=$(cd "$1" && pwd) text=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
     [ -r "$text" ] || { echo "quickstart.sh: $2: no such file" >&2; exit 66; } ;;
  *) sed -n '5,6s/^# *//p' "$0" >&2; exit 64 ;;
esac
"$src/config/prepare.sh" "$build"
PATH=$(cd "$build" && pwd):$PATH
work=$(cd "$build" && pwd)/quickstart
rm -rf "$work" && mkdir "$work" && cd "$work"
say() { printf '\n== %s\n' "$*"; }
began=$(date +%s)

# ---- Data and model ----
if [ -z "$hf" ]; then
  say "Text: licences and documentation of this machine"
  find /usr/share/common-licenses -type f | LC_ALL=C sort > files
  find /usr/share/doc -name copyright -type f -size -200k | LC_ALL=C sort |
    head -n 500 >> files
  tokenizer=bytes source=192 target=44 steps=400 batch=16 micro=4 lr=3e-3
  cat > config.json <<'EOF'
{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"],
 "tokenizer_class": "ByT5Tokenizer", "vocab_size": 384,
 "d_model": 128, "d_kv": 32, "d_ff": 320, "num_heads": 4,
 "num_layers": 3, "num_decoder_layers": 2, "feed_forward_proj": "gated-gelu",
 "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
 "dropout_rate": 0.0, "layer_norm_epsilon": 1e-06,
 "tie_word_embeddings": false, "scale_decoder_outputs": false,
 "pad_token_id": 0, "eos_token_id": 1, "decoder_start_token_id": 0}
EOF
  ztconv init config.json weights.h5
else
  say "Text and model: $text, $hf"
  echo "$text" > files
  source=128 target=32 steps=60 batch=8 micro=2 lr=3e-4
  if [ -f "$hf/spiece.model" ]; then
    tokenizer=$hf/spiece.model
  else
    tokenizer=bytes
    grep -q ByT5 "$hf"/*.json ||
      echo "note: $hf has no spiece.model: its text is read as bytes"
  fi
  ztconv import "$hf" weights.h5
fi
tr '\n' '\0' < files | xargs -0 ztconv tokens tokens.h5 --tokenizer "$tokenizer"

cat > run.cfg <<EOF
run   = { dir = "run"; seed = 1; };
model = { weights = "weights.h5"; };
data  = { train = "tokens.h5"; task = "span-corruption";
          source_length = $source; target_length = $target; };
train = { steps = $steps; batch = $batch; microbatch = $micro;
          optimizer = { lr = $lr; };
          schedule  = { name = "linear"; warmup = $((steps / 10)); }; };
restart = { every_steps = $((steps / 8)); };
log   = { every_steps = $((steps / 20)); };
EOF

# ---- Training, with a crash in the middle ----
lines() { cat run/metrics.jsonl 2> /dev/null | grep -c '"t": "train"' || true; }
say "Training on 2 ranks, to be killed in the middle of a step"
setsid mpiexec -n 2 ztrain run.cfg & job=$!
trap 'kill -s KILL -- "-$job" 2> /dev/null' EXIT
while kill -0 "$job" 2> /dev/null && [ "$(lines)" -lt $((steps * 4 / 10)) ]; do
  sleep 0.05
done
kill -s KILL -- "-$job"
wait "$job" 2> /dev/null || true
trap - EXIT
killed=$(lines)
say "Killed by SIGKILL after $killed steps; going on with 3 ranks"
mpiexec -n 3 ztrain run.cfg
ztinfo status run
say "Export to safetensors, and a few words from the trained model"
ztconv export run hf
if [ "$tokenizer" = bytes ]; then
  # Gaps to fill: id 258 stands for the missing text, bytes are ids - 3.
  for gap in 'This program is _ software; you can redistribute' \
             'WITHOUT ANY WARRANTY; without even the _ warranty of' \
             'You should have received a copy of the GNU _ Public License'; do
    printf '{"tokens": ['
    printf '%s' "$gap" | od -An -v -tu1 -w1 |
      awk '{printf "%d, ", $1 == 95 ? 258 : $1 + 3}'
    printf '1]}\n'
    printf '%s\n' "$gap" >> gaps
  done > prompts.jsonl
  # What the model says is: id 258, the missing text, 257, more.
  mpiexec -n 2 ztgen run --input prompts.jsonl --max-new-tokens 24 --json \
    > filled.jsonl
  sed 's/.*"tokens": \[\([^]]*\).*/\1/' filled.jsonl | awk -F', ' '{
    t = ""
    for (i = 1; i <= NF && !($i == 1 || (i > 1 && $i > 130)); i++)
      if ($i >= 35 && $i < 130) t = t sprintf("%c", $i - 3)
    printf "  _ = \"%s\"\n", t }' > filled
  sed 's/^/  /' gaps | paste -d '\n' - filled
else
  ztgen hf --prompt "$(head -c 200 "$text" | tr '\n' ' ')" --max-new-tokens 24
fi

# ---- Summary ----
awk -F'"loss": ' '/"t": "train"/ {n++; l[n] = $2 + 0}
  END { k = n < 100 ? int(n / 2) : 50
        for (i = 1; i <= k; i++) { a += l[i] / k; b += l[n - i + 1] / k }
        printf "%d %.4f %.4f %.3f\n", n, a, b, b / a }' run/metrics.jsonl > loss
read -r n first last ratio < loss
say "Summary ($(($(date +%s) - began)) s after the build)"
cat <<EOF
trained    $n steps: killed after step $killed on 2 ranks, finished on 3 ranks
loss       $first over the first 50 steps, $last over the last 50: x $ratio
data       $work/tokens.h5
weights    $work/weights.h5
run        $work/run (metrics.jsonl, log.txt, tensorboard, restart)
export     $work/hf (config.json, model.safetensors)
EOF
[ "$n" -eq "$steps" ] || { echo "quickstart.sh: $n steps in metrics.jsonl, $steps wanted" >&2; exit 70; }
[ -n "$hf" ] || awk -v r="$ratio" 'BEGIN {exit !(r < 0.8)}' ||
  { echo "quickstart.sh: the loss did not fall below 0.8 of the first" >&2; exit 70; }
