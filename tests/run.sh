#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Installs what is missing, builds, and runs the fast tests.  The last line is
# "N passed, N failed, N skipped"; the exit code is 0 if none failed.
#   run.sh [MAKE ARGUMENT]...        in $ZT_BUILD, default build-tests
set -u
src=$(cd "$(dirname "$0")/.." && pwd)
build=${ZT_BUILD:-$src/build-tests}
ZT_WITH_TESTS=1 "$src/config/prepare.sh" "$build" --enable-werror || {
  echo "0 passed, 1 failed, 0 skipped"
  exit 1
}
cd "$build" || exit 1
make -k check "$@"
rc=$?
grep -s -l -E "^:test-result: (FAIL|ERROR|XPASS)" tests/*.trs | while read -r trs; do
  echo "== ${trs%.trs}, the end of its log:"
  tail -n 15 "${trs%.trs}.log"
done
grep -h -s "^:test-result: SKIP" -l tests/*.trs | while read -r trs; do
  echo "SKIP ${trs%.trs}: $(grep -m 1 "^skip" "${trs%.trs}.log")"
done
cat tests/*.trs 2> /dev/null | awk '
  /^:test-result: PASS/ {p++}
  /^:test-result: (FAIL|ERROR|XPASS)/ {f++}
  /^:test-result: SKIP/ {s++}
  END {printf "%d passed, %d failed, %d skipped\n", p, f, s}'
exit $rc
