#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Models of every kind as Transformers makes them: what ztconv, ztrain and ztgen
# make of them is what Transformers makes of them.
python=${PYTHON:-python3}
"$python" -c 'import torch, transformers' 2>/dev/null || {
  echo "skip: $python lacks torch or transformers"
  exit 77
}
dir=$(mktemp -d "$ZT_BUILD/run_families.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 timeout 300 \
  "$python" "$ZT_SRC/tests/crosscheck_families.py" "$ZT_BUILD" "$dir"
