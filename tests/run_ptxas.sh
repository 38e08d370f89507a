#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# No CUDA kernel keeps registers in memory, on any architecture it is built for:
# by what ptxas said when it was compiled.
. "$ZT_SRC/tests/lib.sh"
most=0 kernels=0
for source in "$ZT_SRC"/cuda/*.cu; do
  log=$ZT_BUILD/cuda/$(basename "$source" .cu).ptxas
  [ -s "$log" ] || skip "no nvcc: $source is not built"
  cases=$((cases + 1))
  grep -q 'bytes spill stores' "$log" || fail "$log: nothing about spills"
  grep 'spill' "$log" | grep -v ' 0 bytes spill stores, 0 bytes spill loads' &&
    fail "$source: spills"
  n=$(grep -c 'Used [0-9]* registers' "$log")
  used=$(sed -n 's/.*Used \([0-9]*\) registers.*/\1/p' "$log" | sort -n | tail -n 1)
  kernels=$((kernels + n))
  [ "${used:-0}" -le "$most" ] || most=$used
done
echo "$kernels kernels for $(grep -h -o 'sm_[0-9]*a*' "$ZT_BUILD"/cuda/*.ptxas |
  sort -u | tr '\n' ' '): at most $most registers, no spills"
finish files
