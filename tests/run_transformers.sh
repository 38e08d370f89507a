#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Transformers writes what ztconv imports, and loads what ztconv exports: tensor
# for tensor the same; the digest and the HDF5 file by independent means.
python=${PYTHON:-python3}
"$python" -c 'import h5py, numpy, safetensors, torch, transformers' \
  2>/dev/null || {
  echo "skip: $python lacks h5py, numpy, safetensors, torch or transformers"
  exit 77
}
dir=$(mktemp -d "$ZT_BUILD/run_transformers.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 timeout 300 \
  "$python" "$ZT_SRC/tests/crosscheck_convert.py" "$ZT_BUILD" "$dir"
