#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# ztrain on real GPUs; started by tests/gpu.sh.  Losses are those of the
# processor, and the state has the same bits for every number of GPUs, with NCCL
# (also of one rank) and MPI, with both carriers, and in bf16.
#   run_gpu.sh [rate]   rate: tokens a second of T5-small's shapes
. "$ZT_SRC/tests/lib.sh"
: "${ZT_GPU_RANKS:?}"
CUDA_VISIBLE_DEVICES=$(seq -s, 0 $((ZT_GPU_RANKS - 1)))
export CUDA_VISIBLE_DEVICES
limit=600
make_inputs

if [ "${1:-}" = rate ]; then
  cat >config.json <<'END'
{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"],
 "d_model": 512, "d_kv": 64, "d_ff": 2048, "num_layers": 6,
 "num_decoder_layers": 6, "num_heads": 8, "vocab_size": 32128,
 "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
 "dropout_rate": 0.0, "layer_norm_epsilon": 1e-06, "feed_forward_proj": "relu",
 "tie_word_embeddings": true, "is_encoder_decoder": true, "pad_token_id": 0,
 "eos_token_id": 1, "decoder_start_token_id": 0}
END
  good 1 ztconv init config.json small.h5 --seed 1
  good "$ZT_GPU_RANKS" ztrain run.cfg -s run.dir=rate -s model.weights=small.h5 \
    -s runtime.device=cuda -s data.source_length=512 -s data.target_length=114 \
    -s train.batch=$((16 * ZT_GPU_RANKS)) -s train.microbatch=16 \
    -s train.steps=30 -s restart.every_steps=1000 -s train.dropout=0.0
  tail -n 20 err
  finish rates
fi

good 1 ztrain run.cfg -s run.dir=cpu -s runtime.device=cpu
ranks=1
while [ "$ranks" -le "$ZT_GPU_RANKS" ]; do
  for way in nccl-flat nccl-chain mpi-flat; do
    good "$ranks" ztrain run.cfg -s "run.dir=$way$ranks" \
      -s runtime.device=cuda -s "runtime.comm=${way%-*}" \
      -s "zero.carrier=${way#*-}"
    [ "$(state "$way$ranks" 6)" = "$(state nccl-flat1 6)" ] ||
      fail "$ranks GPUs with $way: other state"
  done
  good "$ranks" ztrain run.cfg -s "run.dir=bf16-$ranks" \
    -s runtime.device=cuda -s train.precision=bf16
  [ "$(state "bf16-$ranks" 6)" = "$(state bf16-1 6)" ] ||
    fail "$ranks GPUs in bf16: other state"
  good "$ranks" ztgen weights.h5 --tokens '5 6 7' --max-new-tokens 20 --json
  [ "$ranks" -gt 1 ] || cp out tokens
  cmp -s out tokens || fail "$ranks GPUs: other tokens: $(cat out tokens)"
  ranks=$((ranks * 2))
done
steps cpu | head -n 3
steps nccl-flat1 | head -n 3
paste cpu/metrics.jsonl nccl-flat1/metrics.jsonl | tr -d ',{}"' | awk '
  function loss(nth,  i) {
    for (i = 1; i < NF; i++)
      if ($i == "loss:" && !nth--) return $(i + 1)
  }
  /^t: train/ && (loss(0) - loss(1)) ^ 2 > 1e-10 * loss(0) ^ 2 { exit 1 }' ||
  fail "losses differ from the processor's"
finish runs
