#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Configured without CUDA, the programs are whole: they train on processors, and
# say what they have not.
. "$ZT_SRC/tests/lib.sh"
! is_sanitized || skip "another build is for the sanitizers"
make_inputs
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
mkdir build
(cd build && timeout 100 "$ZT_SRC/configure" --with-cuda=no --enable-werror \
  CFLAGS=-O0 && timeout 300 make -j "$(nproc)" ztrain ztconv ztgen ztinfo) \
  >log 2>&1 || {
  tail -n 20 log
  exit 1
}
PATH=$dir/build:$PATH
for program in ztrain ztconv ztgen ztinfo; do
  good 1 $program --version
  grep -q 'CUDA no, NCCL no' out || fail "$program: $(cat out)"
  ldd "build/$program" | grep 'libcudart\|libcublas\|libnccl' &&
    fail "$program: links CUDA"
done
good 2 ztrain run.cfg
good 3 ztrain run.cfg -s train.steps=9
good 1 ztgen run --prompt "a text" --tokenizer bytes
cases=$((cases + 1))
on 2 ztrain run.cfg -s run.dir=gpu -s runtime.device=cuda
[ $code -eq 69 ] && grep -q 'this build has no CUDA' err && [ ! -e gpu ] ||
  fail "a run on CUDA ends with $code: $(cat err)"
finish runs
