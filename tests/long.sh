#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Every test in its long form: scripts and programs that know ZT_LONG, the
# scripts long_*.sh, and all MPI tests on 5 and 8 ranks.  A test joins by asking
# for ZT_LONG (is_long of lib.sh), or by its name.  Needs the build folder,
# 30 GB of disk and 10 GB of memory; some 20 minutes on 2 cores.
#   long.sh [BUILD FOLDER [NAME]...]     default: build-tests, all
# Logs lie in the build folder.  The last line is "N passed, N failed, N
# skipped"; the exit code is 0 if none failed.
set -u
ZT_SRC=$(cd "$(dirname "$0")/.." && pwd)
ZT_BUILD=$(cd "${1:-$ZT_SRC/build-tests}" && pwd) || exit 66
[ $# -eq 0 ] || shift
names=$*
export ZT_SRC ZT_BUILD ZT_LONG=1 ZT_TEST_RANKS="5 8" ZT_TEST_TIMEOUT=300
export ZT_TEST_MUTATIONS=300000 CK_TIMEOUT_MULTIPLIER=10
logs=$ZT_BUILD/long-logs
mkdir -p "$logs"
make -C "$ZT_BUILD" check TESTS= >"$logs/build" 2>&1 || {
  tail -n 20 "$logs/build"
  exit 70
}
passed=0 failed=0 skipped=0

# run NAME COMMAND...: half an hour at most.
run() {
  name=$1
  shift
  case " $names " in '  ' | *" $name "*) ;; *) return ;; esac
  began=$(date +%s)
  timeout -k 10 1800 "$@" >"$logs/$name" 2>&1 </dev/null
  code=$?
  seconds=$(($(date +%s) - began))
  last=$(tail -n 1 "$logs/$name")
  case $code in
    0) passed=$((passed + 1)) verdict=pass ;;
    77) skipped=$((skipped + 1)) verdict=skip ;;
    124) failed=$((failed + 1)) verdict='FAIL: no end' ;;
    *) failed=$((failed + 1)) verdict="FAIL: $code" ;;
  esac
  printf '%-24s %4d s  %s: %s\n' "$name" $seconds "$verdict" "$last"
  case $verdict in FAIL*) tail -n 20 "$logs/$name" | sed 's/^/    /' ;; esac
}

cd "$ZT_BUILD" || exit 66
for script in "$ZT_SRC"/tests/run_*.sh; do
  if grep -q 'is_long\|ZT_LONG' "$script"; then
    run "$(basename "$script" .sh)" "$script"
  fi
done
for script in "$ZT_SRC"/tests/long_*.sh; do
  run "$(basename "$script" .sh)" "$script"
done
for source in "$ZT_SRC"/tests/check_*.c; do
  name=$(basename "$source" .c)
  if [ -x "tests/$name.mpi" ]; then
    run "$name" "$ZT_SRC/tests/run_mpi.sh" "tests/$name.mpi"
  elif [ -x "tests/$name" ] &&
    grep -q 'numbers_long\|ZT_LONG\|ZT_TEST_MUTATIONS' "$source"; then
    run "$name" "tests/$name"
  fi
done
echo "$passed passed, $failed failed, $skipped skipped"
exit $((failed > 0))
