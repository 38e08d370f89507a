#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The long form of the data tests, a part of tests/long.sh: token files with
# offsets beyond 2^32, and documents of more than 2^31 bytes.
#   long_data.sh [BUILD FOLDER]      needs 20 GB there; about a minute
ZT_BUILD=$(cd "${1:-.}" && pwd) || exit 99
dir=$(mktemp -d "$ZT_BUILD/long_data.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
room=$(df -Pk . | awk 'NR == 2 {print $4}')
if [ "$room" -lt 20000000 ]; then
  echo "skip: $room KiB free, 20 GB needed"
  exit 77
fi

fail() {
  echo "$*"
  exit 1
}

# 3 GiB in one document with a mark at its end, and a short document behind it.
truncate -s 3G sparse
printf 'the end' >>sparse
printf 'after' >small
timeout 500 "$ZT_BUILD/ztconv" tokens big.h5 --tokenizer bytes sparse small ||
  fail "cannot write"
rm sparse
size=$(wc -c <big.h5)
[ "$size" -gt 6442450944 ] || fail "only $size bytes"
"$ZT_BUILD/ztinfo" show big.h5 | grep -q 'tokens: *3221225486, uint16' ||
  fail "wrong number of tokens"
# The end of the tokens lies before the three starts.
h5dump -d /tokens -s 3221225472 -c 14 -w 0 -y big.h5 |
  grep -q '119, 107, 104, 35, 104, 113, 103, 1, 100, 105, 119, 104, 117, 1' ||
  fail "the end of the tokens is not what was written"
h5dump -d /documents -w 0 -y big.h5 | grep -q '0, 3221225480, 3221225486' ||
  fail "wrong bounds"
"$ZT_BUILD/tests/check_tokens" --read big.h5 3221225480 100 105 119 104 117 1 ||
  fail "reading beyond 2^32 bytes"
# Memory does not grow with the input.
[ -x /usr/bin/time ] || exit 0
yes '{"text": "the quick brown fox jumps over the lazy dog"}' |
  head -n 10000000 >lines.jsonl
peak=$(/usr/bin/time -f %M "$ZT_BUILD/ztconv" tokens x.h5 --tokenizer bytes \
  lines.jsonl 2>&1 | tail -n 1)
[ "$peak" -lt 100000 ] || fail "$peak KiB for 500 MB"
echo "long_data: all well"
