#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The long form of the weights-file tests: a tensor of more than 2^31 elements,
# shown, digested, exported and read in slices by several ranks; random damage
# of safetensors headers without end.
: "${ZT_BUILD:=.}"
dir=$(mktemp -d "$ZT_BUILD/long_io.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
failures=0
fail() {
  echo "$*"
  failures=$((failures + 1))
}
export ZT_BUILD OMP_NUM_THREADS=1

timeout 300 "$ZT_BUILD/tests/long_sparse" write "$dir/huge.h5" ||
  fail "cannot write"
echo "$(stat -c %s "$dir/huge.h5") bytes, $(du -k "$dir/huge.h5" | cut -f1) KiB on disk"
timeout 60 "$ZT_BUILD/ztinfo" show "$dir/huge.h5" >"$dir/show" || fail "show"
head -6 "$dir/show"
grep -q 'shared.weight .*\[33554432,80\]' "$dir/show" || fail "not shown"
for ranks in 1 2 3; do
  timeout 120 mpiexec -n $ranks "$ZT_BUILD/tests/long_sparse" read \
    "$dir/huge.h5" || fail "slices on $ranks ranks"
done
digest=$(timeout 300 mpiexec -n 2 "$ZT_BUILD/ztinfo" digest "$dir/huge.h5") ||
  fail "digest"

# small LOG: what a conversion said of its memory is at most 64 MiB.
small() {
  cat "$1"
  sed -n 's/.*peak private memory \([0-9.]*\) \(.*\)/\1 \2/p' "$1" |
    awk '{ good = $2 == "MiB" && $1 <= 64 } END { exit !good }' ||
    fail "more than 64 MiB of private memory"
}
timeout 600 mpiexec -n 2 "$ZT_BUILD/ztconv" export "$dir/huge.h5" "$dir/hf" \
  2>"$dir/log" || fail "export"
small "$dir/log"
again=$(timeout 300 "$ZT_BUILD/ztinfo" digest "$dir/hf") ||
  fail "digest of the export"
[ "$digest" = "$again" ] || fail "digest $again after export, $digest before"
rm "$dir/huge.h5"
timeout 600 mpiexec -n 3 "$ZT_BUILD/ztconv" import "$dir/hf" "$dir/huge.h5" \
  2>"$dir/log" || fail "import"
small "$dir/log"
grep -qF "digest $digest" "$dir/log" || fail "another digest after import"

ZT_TEST_ROUNDS=300000 "$ZT_BUILD/tests/check_safetensors" ||
  fail "random damage"
[ $failures -eq 0 ] && echo "long_io: all well"
exit $((failures > 0))
