#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Byte-level BPE: token for token the ids of the Python package tokenizers on
# text of all sorts, and the ratio of the times.  The long form takes 12 MB.
. "$ZT_SRC/tests/lib.sh"
python=${PYTHON:-python3}
"$python" -c 'import h5py, numpy, tokenizers' 2>/dev/null ||
  skip "$python lacks h5py, numpy or tokenizers"
megabytes=0.3
! is_long || megabytes=12
mkdir work
PYTHONDONTWRITEBYTECODE=1 TOKENIZERS_PARALLELISM=false RAYON_NUM_THREADS=1 \
  timeout 900 "$python" "$ZT_SRC/tests/crosscheck_tokenizers.py" "$ZT_BUILD" work $megabytes
