#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What fails in the real ztrain on the double of CUDA and NCCL ends all ranks in
# seconds, with a message, and leaves the restart as it was.
. "$ZT_SRC/tests/lib.sh"
. "$ZT_SRC/tests/emu.sh"
on_emu ztrain-emu
make_inputs
cat >run.cfg <<'END'
run = { dir = "run"; };
model = { weights = "weights.h5"; };
data = { train = "tokens.h5"; source_length = 21; target_length = 9; };
train = { steps = 1; batch = 4; microbatch = 1; schedule = { warmup = 1; }; };
restart = { every_steps = 1; };
log = { every_steps = 1000; tensorboard = false; };
END

# wrong CODE TEXT RANKS ARGUMENT...: it must end so, and soon.
wrong() {
  cases=$((cases + 1))
  wanted=$1 text=$2
  shift 2
  on "$@"
  [ "$code" -eq "$wanted" ] || fail "$*: code $code, not $wanted: $(cat err)"
  grep -q "$text" err || fail "$*: no '$text' in: $(cat err)"
}

# ---- No device to be had ----
for what in "-1:no NVIDIA driver" "0:no GPU is visible" "1:on one GPU"; do
  CUDAEMU_DEVICES=${what%%:*} wrong 69 "${what#*:}" 2 ztrain-emu run.cfg \
    -s run.dir=none -s runtime.device=cuda
  [ ! -e none/restart ] || fail "$what: it began"
done
wrong 78 'needs runtime.device' 1 ztrain run.cfg -s run.dir=none \
  -s runtime.device=cpu -s runtime.comm=nccl

# ---- Failures: all ranks end, the restart stays ----
good 2 ztrain-emu run.cfg -s run.dir=broken -s runtime.device=cuda
kept=$(state broken 1)
more="run.cfg -s run.dir=broken -s runtime.device=cuda -s train.steps=3"
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

# says RUN TEXT WHAT: how it failed, as it says itself.  Of the last lines on
# stderr the launcher may lose some.
says() {
  grep -q "\"state\": \"failed\".* \"message\": \"[^\"]*\($2\)" \
    "$1/STATUS.json" ||
    fail "$3: $(cat "$1/STATUS.json" err)"
}

# A rank leaves out a gather, so that what it calls is not what the others call:
# NCCL finds that, or all wait and the watchdog compares what they did.
for nccl in told silent; do
  case $nccl in
    told) text='rank [01]: NCCL failed in a.* of [0-9]* bytes a rank' ;;
    *) text="rank 1 of 2 does not do what the others do: collective [0-9]* is \
'.*' of [0-9]* bytes on rank 0" ;;
  esac
  ZT_FAULT=step.order@1:6 CUDAEMU_NCCL=$nccl
  export ZT_FAULT CUDAEMU_NCCL
  cases=$((cases + 1))
  began=$(date +%s)
  # shellcheck disable=SC2086
  on 2 ztrain-emu $more -s run.watchdog_seconds=2
  unset ZT_FAULT CUDAEMU_NCCL
  took=$(($(date +%s) - began))
  case $code in 0 | 124) fail "mismatch: code $code: $(cat err)" ;; esac
  [ "$took" -le 20 ] || fail "mismatch, $nccl: $took s"
  says broken "$text" "mismatch, $nccl"
done

# Not enough memory on a device: known before any of it is taken.
CUDAEMU_MEMORY=$((36 << 20))
export CUDAEMU_MEMORY
# shellcheck disable=SC2086
wrong 71 'rank 0: does not fit: a rank needs .* MiB of its GPU, .* are free' 2 \
  ztrain-emu $more
unset CUDAEMU_MEMORY
[ "$(grep -c '^ztrain: ' err)" -eq 1 ] || fail "not one line: $(cat err)"

# A rank is killed while the others compute.  The launcher would end them as soon
# as it sees that; so a shell stays in its place.  They miss it in NCCL, or the
# watchdog does.
for nccl in told silent; do
  missed='rank 1 of 3 wrote nothing: it is stopped, dead or cut off'
  [ $nccl = silent ] || missed="$missed\\|another rank is gone"
  cases=$((cases + 1))
  rm -f pid.*
  CUDAEMU_NCCL=$nccl
  export CUDAEMU_NCCL
  # shellcheck disable=SC2016
  timeout -k 5 60 mpiexec -n 3 sh -c '
    "$@" &
    echo $! >"pid.$PMI_RANK"
    wait $!
    code=$?
    [ "$PMI_RANK" -ne 1 ] || sleep 40
    exit $code' sh ztrain-emu run.cfg -s run.dir=killed -s runtime.device=cuda \
    -s train.steps=100000 -s run.watchdog_seconds=3 >out 2>err </dev/null &
  launcher=$!
  began=$(newest killed 2>/dev/null)
  until [ "$(newest killed 2>/dev/null)" != "$began" ] &&
    [ -e "killed/restart/$(newest killed)/COMMIT" ]; do
    kill -0 "$launcher" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$(cat pid.1)"
  began=$(date +%s)
  wait "$launcher"
  code=$?
  unset CUDAEMU_NCCL
  took=$(($(date +%s) - began))
  case $code in 0 | 124) fail "killed, $nccl: code $code: $(cat err)" ;; esac
  [ "$took" -le 25 ] || fail "killed, $nccl: $took s"
  says killed "$missed" "killed, $nccl"
done
at=$(newest killed)
at=$((1${at#step-} - 1000000000))
good 2 ztrain-emu run.cfg -s run.dir=killed -s runtime.device=cuda \
  -s "train.steps=$((at + 1))"

[ "$(state broken 1)" = "$kept" ] || fail "the restart is not what it was"
# shellcheck disable=SC2086
good 2 ztrain-emu $more

finish runs
