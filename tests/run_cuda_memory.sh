#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Host memory of a rank that computes on a device does not grow with the model.
# Memory of the double's device is the process's own too: what the arenas take
# is subtracted.
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/emu.sh"
on_emu ztrain-emu
[ -x "$ZT_BUILD/tests/peak" ] || skip "tests/peak is not built"
! is_sanitized || skip "the sanitizers take memory too"
export CUDAEMU_CHECK=0 # no memory for the detectors
make_inputs
cat >run.cfg <<'END'
run = { dir = "run"; };
model = { weights = "weights.h5"; };
data = { train = "tokens.h5"; source_length = 8; target_length = 4; };
train = { steps = 1; batch = 1; microbatch = 1; schedule = { warmup = 1; }; };
restart = { every_steps = 0; staging = "4MiB"; };
log = { every_steps = 1000; tensorboard = false; };
END

# measure WIDTH: a run of a model; sets $device and $host in MiB.
measure() {
  cat >config.json <<END
{"model_type": "t5", "architectures": ["T5ForConditionalGeneration"],
 "d_model": $1, "d_kv": 32, "d_ff": $(($1 * 4)), "num_layers": 2,
 "num_decoder_layers": 2, "num_heads": 4, "vocab_size": 384,
 "relative_attention_num_buckets": 32, "relative_attention_max_distance": 128,
 "dropout_rate": 0.0, "layer_norm_epsilon": 1e-06, "feed_forward_proj": "relu",
 "tie_word_embeddings": true, "is_encoder_decoder": true, "pad_token_id": 0,
 "eos_token_id": 1, "decoder_start_token_id": 0}
END
  rm -f took
  good 1 ztconv init config.json "$1.h5" --seed 1
  good 1 peak took ztrain-emu run.cfg -s "run.dir=run$1" \
    -s "model.weights=$1.h5" -s runtime.device=cuda
  device=$(sed -n 's/^work: .* \([0-9]*\)\.[0-9]* MiB a rank.*/\1/p' err)
  host=$(awk '{ printf "%d", $1 / 1048576 }' took)
  host=$((host - ${device:-0}))
  echo "width $1: $device MiB on the device, $host MiB on the host"
}

measure 256
small_device=${device:-0} small_host=$host
measure 640
[ "${device:-0}" -ge $((small_device + 150)) ] ||
  fail "the models are too much alike"
[ "$host" -le $((small_host + 16)) ] ||
  fail "host memory grows with the model: from $small_host to $host MiB"
finish runs
