#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What has to be run where there is a GPU, from a plain checkout: builds with
# CUDA, then the kernels against the processor's, whole runs on GPU and
# processor, compute-sanitizer, and rates.  Writes a report to the build folder.
#   gpu.sh [CONFIGURE ARGUMENT]...   in $ZT_BUILD, default build-gpu
# Several GPUs: as many ranks are started, at most 4.  PYTHON with torch and
# transformers: PyTorch's rate on the same shapes too.
set -u
ZT_SRC=$(cd "$(dirname "$0")/.." && pwd)
ZT_BUILD=${ZT_BUILD:-$ZT_SRC/build-gpu}
export ZT_SRC ZT_BUILD
nvidia-smi -L 2>/dev/null | grep -q '^GPU' || {
  echo "skip: no GPU here (nvidia-smi shows none)"
  exit 77
}
gpus=$(nvidia-smi -L | grep -c '^GPU')
[ "$gpus" -le 4 ] || gpus=4
"$ZT_SRC/config/prepare.sh" "$ZT_BUILD" --enable-werror "$@" || exit 1
cd "$ZT_BUILD" || exit 1
make -j "$(nproc)" all tests/check_cuda_kernels-gpu \
  tests/check_cuda_attention-gpu tests/check_cuda_optim-gpu \
  tests/check_cuda_rows-gpu || exit 1
report=$ZT_BUILD/gpu-report.txt
failures=0

# part NAME COMMAND...: run it, into the report.
part() {
  name=$1
  shift
  echo "== $name: $*" | tee -a "$report"
  if "$@" >part.log 2>&1; then
    echo "passed" >>part.log
  else
    echo "FAILED with $?" >>part.log
    failures=$((failures + 1))
  fi
  tail -n "${lines:-8}" part.log | tee -a "$report"
}

{
  date -u
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap \
    --format=csv
  ./ztrain --version
} >"$report" 2>&1

# ---- Kernels ----
part "kernels" tests/check_cuda_kernels-gpu
part "attention" tests/check_cuda_attention-gpu
part "optimizers" tests/check_cuda_optim-gpu
part "generation" tests/check_cuda_rows-gpu
if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck initcheck synccheck; do
    for suite in kernels attention optim rows; do
      part "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
        "tests/check_cuda_$suite-gpu"
    done
  done
else
  echo "compute-sanitizer is not installed: not run" | tee -a "$report"
fi

# ---- Whole runs ----
export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-$(seq -s, 0 $((gpus - 1)))}"
ZT_GPU_RANKS=$gpus
export ZT_GPU_RANKS
part "runs on 1 to $gpus GPUs" "$ZT_SRC/tests/run_gpu.sh"

# ---- Rates ----
lines=12
part "rate of T5-small shapes" "$ZT_SRC/tests/run_gpu.sh" rate
if "${PYTHON:-python3}" -c 'import torch, transformers' 2>/dev/null; then
  part "rate of PyTorch" "${PYTHON:-python3}" "$ZT_SRC/tests/bench/gpu_torch.py"
else
  echo "no torch and transformers: PyTorch is not timed" | tee -a "$report"
fi
echo "$failures failures; the report is $report"
exit $((failures > 0))
