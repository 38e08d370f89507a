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

# agree DISTANCE ONE OTHER KEYS SAME: two files of JSON lines have positive
# numbers in KEYS, so far apart at most, relatively, and the same in SAME.
agree() {
  paste "$2" "$3" | tr -d ',{}"' | awk -v distance="$1" -v keys="$4" \
    -v same="$5" '
    function value(name, nth,  i) {
      for (i = 1; i < NF; i++)
        if ($i == name ":" && !nth--)
          return $(i + 1)
    }
    BEGIN { n = split(keys, key); m = split(same, equal) }
    {
      for (k = 1; k <= n; k++) {
        a = value(key[k], 0)
        b = value(key[k], 1)
        bad = bad || a <= 0 || b <= 0 || (a - b) ^ 2 > (distance * b) ^ 2
      }
      for (k = 1; k <= m; k++) {
        a = value(equal[k], 0)
        bad = bad || a == "" || a != value(equal[k], 1)
      }
    }
    END { exit bad || !NR }'
}
