#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The real ztrain on the double of CUDA, cuBLASLt and NCCL: losses are those of
# the processor, bits do not depend on ranks, on the schedule of the streams or
# on what carries the data; restarts go from one device to the other.  Kernels
# move little more than they must, and bf16 is multiplied on tensor cores.
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/emu.sh"
on_emu ztrain-emu
make_inputs
cat >run.cfg <<'END'
run = { dir = "run"; };
model = { weights = "weights.h5"; };
data = { train = "tokens.h5"; source_length = 21; target_length = 9; };
train = { steps = 2; batch = 5; microbatch = 1; dropout = 0.1;
          schedule = { warmup = 1; }; };
restart = { every_steps = 1; };
log = { every_steps = 1000; tensorboard = false; };
END

# near DISTANCE RUN RUN: the same steps, losses and norms so far apart at most.
near() {
  cases=$((cases + 1))
  distance=$1
  shift
  steps "$1" >one
  steps "$2" >other
  [ "$(wc -l <one)" -ge 2 ] &&
    agree "$distance" one other 'loss grad_norm' step ||
    fail "$1 and $2 differ: $(cat one other)"
}

good 1 ztrain run.cfg -s run.dir=cpu-fp32 -s runtime.device=cpu
good 1 ztrain run.cfg -s run.dir=cpu-bf16 -s runtime.device=cpu \
  -s train.precision=bf16

# ---- Ranks and schedules ----
while read -r precision ranks schedule seed threads comm carrier kind; do
  CUDAEMU_SCHEDULE=$schedule CUDAEMU_SEED=$seed CUDAEMU_THREADS=$threads
  CUDAEMU_REPORT=$dir/counts-$precision-$ranks.%r.json
  CUDAEMU_NCCL=$kind
  export CUDAEMU_SCHEDULE CUDAEMU_SEED CUDAEMU_THREADS CUDAEMU_REPORT \
    CUDAEMU_NCCL
  run=$precision-$cases first=first-$precision
  good "$ranks" ztrain-emu run.cfg -s "run.dir=$run" -s runtime.device=cuda \
    -s "runtime.comm=$comm" -s "zero.carrier=$carrier" \
    -s "train.precision=$precision"
  grep -q cudaemu err && fail "$ranks $schedule: $(cat err)"
  [ -e "$first" ] || ln -s "$run" "$first"
  [ "$(state "$run" 2)" = "$(state "$first" 2)" ] ||
    fail "$precision, $ranks ranks, $schedule, $comm, $carrier: other state"
  [ "$(steps "$run")" = "$(steps "$first")" ] ||
    fail "$precision, $ranks ranks, $schedule, $comm, $carrier: other losses"
done <<'END'
fp32 1 fifo 1 fifo nccl flat
fp32 1 late 1 random nccl flat
fp32 2 eager 2 lifo nccl flat old
fp32 2 random 4 fifo mpi flat
fp32 3 random 3 fifo nccl chain
fp32 4 random 5 random nccl flat
bf16 1 fifo 1 fifo nccl flat
bf16 2 eager 2 random mpi chain
bf16 4 late 3 lifo nccl chain
END
unset CUDAEMU_SCHEDULE CUDAEMU_SEED CUDAEMU_THREADS CUDAEMU_REPORT CUDAEMU_NCCL
cases=$((cases + 1))
grep -q '^ *"nccl registered' counts-fp32-4.0.json &&
  ! grep -q '^ *"nccl registered' counts-fp32-2.0.json ||
  fail "memory that NCCL moves is not registered, or is where NCCL is old"
near 1e-6 cpu-fp32 first-fp32
near 1e-3 cpu-bf16 first-bf16

# ---- Counted in the double ----
# Bytes of global memory by each block that touches them against those by the
# launch, which is the least; a table's rows count as often as they are asked
# for.  Sequences here are not longer than a tile: a longer one is read again by
# each tile of queries.
cases=$((cases + 1))
tr -d '{}",:' <counts-bf16-1.0.json | awk -v visits=40 '
  function after(name, nth,  i) {
    for (i = 2; i < NF; i++)
      if ($i == name && !nth--) return $(i + 1)
  }
  $1 == "total" {
    tensor = after("tensor_macs", 0)
    other = after("other_macs", 0)
  }
  $1 ~ /^(total|rank|copy|memset|event|nccl|names)/ || !after("launches", 0) {
    next
  }
  {
    launches += after("launches", 0)
    moved = after("block", 0) + after("block", 1)
    least = after("distinct", 0) + after("distinct", 1)
    if ($1 ~ /^look_up/) {
      least -= after("distinct", 0)
      least += after("distinct", 1)
    }
    printf "%-28s %5d launches, %9d bytes, %.3f of the least\n", $1,
      after("launches", 0), moved, moved / least
    if (moved > 1.1 * least) bad = 1
  }
  END {
    printf "%.2f %% of %.0f multiply-adds on tensor cores\n",
      100 * tensor / (tensor + other), tensor + other
    printf "%.1f launches for a block forward, again and backward\n",
      launches / visits
    exit bad || tensor < 0.99 * (tensor + other) || launches > 80 * visits
  }' || fail "kernels move or launch too much"

# ---- Adafactor, label smoothing and z-loss ----
other='-s train.optimizer.name=adafactor -s train.label_smoothing=0.1
  -s train.z_loss=0.01'
# shellcheck disable=SC2086
{
  good 1 ztrain run.cfg -s run.dir=cpu-other -s runtime.device=cpu $other
  good 1 ztrain-emu run.cfg -s run.dir=other-1 -s runtime.device=cuda $other
  export CUDAEMU_SCHEDULE=random CUDAEMU_SEED=7 CUDAEMU_THREADS=random
  good 3 ztrain-emu run.cfg -s run.dir=other-3 -s runtime.device=cuda $other
  unset CUDAEMU_SCHEDULE CUDAEMU_SEED CUDAEMU_THREADS
}
near 1e-6 cpu-other other-1
{ [ "$(state other-1 2)" = "$(state other-3 2)" ] &&
  [ "$(steps other-1)" = "$(steps other-3)" ]; } ||
  fail "Adafactor on 3 ranks has other bits"

# ---- From one device to the other ----
good 1 ztrain run.cfg -s run.dir=cpu3 -s runtime.device=cpu -s train.steps=3
cp -r cpu-fp32 there
good 2 ztrain-emu run.cfg -s run.dir=there -s runtime.device=cuda \
  -s train.steps=3
near 1e-6 cpu3 there
cp -rL first-fp32 back
good 2 ztrain run.cfg -s run.dir=back -s runtime.device=cpu -s train.steps=3
near 1e-6 cpu3 back

finish runs
