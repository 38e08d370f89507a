# SPDX-License-Identifier: BSD-3-Clause
# What the tests of whole programs share; to be sourced first.  Makes a scratch
# folder in the build folder and goes there; it is removed at the end.
#   ZT_LONG=1  the long form of a test
: "${ZT_SRC:?}" "${ZT_BUILD:?}"
test=$(basename "$0" .sh)
dir=$(mktemp -d "$ZT_BUILD/$test.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
trap 'exit 99' INT TERM HUP
cd "$dir" || exit 99
PATH=$ZT_BUILD:$PATH
export PATH OMP_NUM_THREADS=1
unset ZT_FAULT ZT_KERNELS
golden=$ZT_SRC/tests/golden
cases=0 failures=0

is_long() {
  [ -n "${ZT_LONG:-}" ]
}

# fail TEXT...: note it and go on.
fail() {
  echo "FAIL: $*"
  failures=$((failures + 1))
}

skip() {
  echo "skip: $*"
  exit 77
}

# finish WHAT: the last line of a test.
finish() {
  echo "$test: $cases $1, $failures failures"
  exit $((failures > 0))
}

# on RANKS PROGRAM ARGUMENT...: run it; output in out and err, exit code in
# $code.  More than $limit seconds are a hang: 124.
limit=60
on() {
  ranks=$1
  shift
  if [ "$ranks" -eq 1 ]; then
    timeout -k 5 "$limit" "$@" >out 2>err </dev/null
  else
    timeout -k 5 "$limit" mpiexec -n "$ranks" "$@" >out 2>err </dev/null
  fi
  code=$?
}

# good RANKS PROGRAM ARGUMENT...: it must end well.
good() {
  cases=$((cases + 1))
  on "$@"
  [ $code -eq 0 ] || fail "on $*: code $code: $(cat err)"
}

# The small models: tied.h5 (relu) and weights.h5 (gated-gelu, own head), and
# tokens.h5, 44 samples of 32 tokens or more.
make_inputs() {
  ztconv import "$golden/t5v11tiny" weights.h5 2>err &&
    ztconv import "$golden/t5v10tiny" tied.h5 2>err || {
    cat err
    exit 99
  }
  for i in 1 2; do
    cat "$ZT_SRC/COPYING" "$ZT_SRC/tests/lib.sh"
  done >text
  ztconv tokens tokens.h5 --tokenizer bytes text 2>err || {
    cat err
    exit 99
  }
  cat >run.cfg <<'END'
run = { dir = "run"; };
model = { weights = "weights.h5"; };
data = { train = "tokens.h5"; source_length = 32; target_length = 12; };
train = { steps = 6; batch = 14; microbatch = 2; dropout = 0.1;
          schedule = { warmup = 2; }; };
restart = { every_steps = 3; };
log = { every_steps = 1000; tensorboard = false; };
END
}

# state RUN STEP: digest of all that a restart of a run holds.
state() {
  ztinfo digest --state "$1/restart/step-$(printf %09d "$2")" 2>&1
}

# steps RUN: what metrics.jsonl says of its steps but for the time they took.
steps() {
  sed -n '/^{"t": "train"/s/, "seconds".*//p' "$1/metrics.jsonl"
}

# newest RUN: name of its newest restart.
newest() {
  ls "$1/restart" | grep '^step-[0-9]*$' | sort | tail -n 1
}
