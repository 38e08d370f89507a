# shellcheck shell=sh
# SPDX-License-Identifier: BSD-3-Clause
# For tests of whole programs on the double of CUDA; to be sourced after lib.sh.

# on_emu PROGRAM: skip where it is not built; the double as it is by default.
on_emu() {
  [ -x "$ZT_BUILD/tests/$1" ] || skip "no CUDA headers"
  PATH=$ZT_BUILD/tests:$PATH
  CUDAEMU_DIR=$zt_scratch
  export CUDAEMU_DIR
  unset CUDAEMU_SCHEDULE CUDAEMU_SEED CUDAEMU_THREADS CUDAEMU_FAIL \
    CUDAEMU_DEVICES CUDAEMU_CHECK
}
