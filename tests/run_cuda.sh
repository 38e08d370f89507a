#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The real ztrain on the double of CUDA, cuBLASLt and NCCL: losses are those of
# the processor, bits do not depend on ranks, on the schedule of the streams or
# on what carries the data; restarts go from one device to the other; what
# fails ends all ranks with a message.
. "$ZT_SRC/tests/lib.sh"
[ -x "$ZT_BUILD/tests/ztrain-emu" ] || skip "no CUDA headers"
PATH=$ZT_BUILD/tests:$PATH
CUDAEMU_DIR=$dir
export CUDAEMU_DIR
unset CUDAEMU_SCHEDULE CUDAEMU_SEED CUDAEMU_THREADS CUDAEMU_FAIL \
  CUDAEMU_DEVICES CUDAEMU_CHECK
limit=120
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

# near RUN RUN: the same steps, losses and norms within 1e-6.
near() {
  cases=$((cases + 1))
  steps "$1" >one
  steps "$2" >other
  paste one other | tr -d ',{}"' | awk '
    function value(name, nth,  i) {
      for (i = 1; i < NF; i++)
        if ($i == name ":" && !nth--) return $(i + 1)
    }
    function far(a, b) { return (a - b) ^ 2 > 1e-12 * b ^ 2 }
    value("step", 0) != value("step", 1) ||
    far(value("loss", 0), value("loss", 1)) ||
    far(value("grad_norm", 0), value("grad_norm", 1)) { exit 1 }
    END { if (NR < 2) exit 1 }' ||
    fail "$1 and $2 differ: $(cat one other)"
}

# wrong CODE TEXT RANKS ARGUMENT...: it must end so, and soon.
wrong() {
  cases=$((cases + 1))
  wanted=$1 text=$2
  shift 2
  on "$@"
  [ "$code" -eq "$wanted" ] || fail "$*: code $code, not $wanted: $(cat err)"
  grep -q "$text" err || fail "$*: no '$text' in: $(cat err)"
}

good 1 ztrain run.cfg -s run.dir=cpu -s runtime.device=cpu

# ---- Ranks and schedules ----
while read -r ranks schedule seed threads comm; do
  CUDAEMU_SCHEDULE=$schedule CUDAEMU_SEED=$seed CUDAEMU_THREADS=$threads
  export CUDAEMU_SCHEDULE CUDAEMU_SEED CUDAEMU_THREADS
  good "$ranks" ztrain-emu run.cfg -s "run.dir=gpu$cases" \
    -s runtime.device=cuda -s "runtime.comm=$comm"
  grep -q cudaemu err && fail "$ranks $schedule: $(cat err)"
  run=gpu$((cases - 1))
  if [ -z "${first:-}" ]; then
    first=$run
    near cpu "$first"
  else
    [ "$(state "$run" 2)" = "$(state "$first" 2)" ] ||
      fail "$ranks ranks, $schedule, $comm: other state"
    [ "$(steps "$run")" = "$(steps "$first")" ] ||
      fail "$ranks ranks, $schedule, $comm: other losses"
  fi
done <<'END'
1 fifo 1 fifo nccl
1 late 1 random nccl
2 eager 2 lifo nccl
2 random 3 fifo nccl
2 random 4 fifo mpi
4 random 5 random nccl
END
unset CUDAEMU_SCHEDULE CUDAEMU_SEED CUDAEMU_THREADS

# ---- From one device to the other ----
good 1 ztrain run.cfg -s run.dir=cpu3 -s runtime.device=cpu -s train.steps=3
cp -r cpu there
good 2 ztrain-emu run.cfg -s run.dir=there -s runtime.device=cuda \
  -s train.steps=3
near cpu3 there
cp -r "$first" back
good 2 ztrain run.cfg -s run.dir=back -s runtime.device=cpu -s train.steps=3
near cpu3 back

# ---- No device to be had ----
for what in "-1:no NVIDIA driver" "0:no GPU is visible" "1:on one GPU"; do
  CUDAEMU_DEVICES=${what%%:*} wrong 69 "${what#*:}" 2 ztrain-emu run.cfg \
    -s run.dir=none -s runtime.device=cuda
  [ ! -e none/restart ] || fail "$what: it began"
done
wrong 78 'needs runtime.device' 1 ztrain run.cfg -s run.dir=none \
  -s runtime.device=cpu -s runtime.comm=nccl

# ---- Failures: all ranks end, the restart stays ----
cp -r "$first" broken
kept=$(state broken 2)
more="run.cfg -s run.dir=broken -s runtime.device=cuda -s train.steps=4"
for fault in step.gather@1 step.reduce@0 step.update@1; do
  ZT_FAULT=$fault:1
  export ZT_FAULT
  # shellcheck disable=SC2086
  wrong 74 "fault injected at ${fault%@*}" 2 ztrain-emu $more
  unset ZT_FAULT
done
# shellcheck disable=SC2086
CUDAEMU_FAIL=cudaMalloc:3:1 wrong 71 'rank 1: the GPU has no memory' 2 \
  ztrain-emu $more
[ "$(state broken 2)" = "$kept" ] || fail "the restart is not what it was"
# shellcheck disable=SC2086
good 2 ztrain-emu $more

finish runs
