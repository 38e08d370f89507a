#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Benchmark of saves and loads: stall, rates beside the raw rate of the same
# disk in the same run, memory and open files over many saves.  Run it in the
# build folder, after make check:
#   tests/bench/restart.sh [DIR [RANKS [MIB [ROUNDS [SAVES]]]]]
build=${ZT_BUILD:-.}
ranks=${2:-1} mib=${3:-512} rounds=${4:-7} saves=${5:-100}
[ -x "$build/tests/bench/restart_rates" ] || {
  echo "no $build/tests/bench/restart_rates: make check builds it"
  exit 1
}
dir=$(mktemp -d "${1:-$build}/restart_rates.XXXXXX") || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM HUP
OMP_NUM_THREADS=1 mpiexec -n "$ranks" "$build/tests/bench/restart_rates" \
  "$dir" "$mib" "$rounds" "$saves"
