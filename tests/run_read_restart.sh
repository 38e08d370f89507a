#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A restart read by io/FORMAT alone, with h5py: the kept one, and new ones of a
# tied model in one part and of an untied one in many.
. "$ZT_SRC/tests/lib.sh"
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
# That of the system has the system's packages.
for python in "${PYTHON:-python3}" /usr/bin/python3; do
  "$python" -c 'import ctypes, h5py, numpy
ctypes.CDLL("libxxhash.so.0").XXH3_128bits' 2>/dev/null && break
  lacks=$python
done
[ "${lacks:-}" != "$python" ] || skip "$python lacks h5py, numpy or libxxhash"

# compare RESTART: what Python finds and what ztinfo says.
compare() {
  cases=$((cases + 1))
  "$python" "$ZT_SRC/tests/read_restart.py" "$1" >found 2>&1 ||
    fail "$1: $(tail -n 3 found)"
  echo "$(ztinfo digest "$1") $(ztinfo digest --state "$1")" | cmp -s - found ||
    fail "$1: $(cat found), but $(ztinfo digest --state "$1")"
}

gzip -dc "$golden/formats/restart-1.0.tar.gz" | tar -xf - || exit 99
compare step-000000001
make_inputs
good 2 ztrain run.cfg -s run.dir=one -s train.steps=3 -s model.weights=tied.h5 \
  -s data.train=ids.h5 -s restart.ranks_per_part=2
compare one/restart/step-000000003
good 5 ztrain run.cfg -s run.dir=many -s train.steps=3 \
  -s restart.ranks_per_part=1
compare many/restart/step-000000003
rm many/restart/step-000000003/views.h5
good 1 ztinfo views many/restart/step-000000003
compare many/restart/step-000000003
finish "restarts read with h5py"
