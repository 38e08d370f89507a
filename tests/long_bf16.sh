#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# 200 steps on real text in bf16, beside fp32 and beside Transformers' autocast.
python=${PYTHON:-python3}
"$python" -c 'import torch, transformers' 2>/dev/null || {
  echo "skip: $python lacks torch or transformers"
  exit 77
}
dir=$(mktemp -d "$ZT_BUILD/long_bf16.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 \
  "$python" "$ZT_SRC/tests/crosscheck_bf16.py" "$ZT_BUILD" "$dir"
