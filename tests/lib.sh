# SPDX-License-Identifier: BSD-3-Clause
# shellcheck shell=sh
# What the tests of whole programs share; to be sourced first.  Makes a scratch
# folder in the build folder and goes there; it is removed at the end.
#   ZT_LONG=1  the long form of a test
: "${ZT_SRC:?}" "${ZT_BUILD:?}"
test=$(basename "$0" .sh)
dir=$(mktemp -d "$ZT_BUILD/$test.XXXXXX") || exit 99
# A test may use the name dir for something else.
zt_scratch=$dir
trap 'rm -rf "$zt_scratch"' EXIT
trap 'exit 99' INT TERM HUP
cd "$dir" || exit 99
PATH=$ZT_BUILD:$PATH
export PATH OMP_NUM_THREADS=1
# On processors unless a test asks for more: the same bits everywhere.
CUDA_VISIBLE_DEVICES=
export CUDA_VISIBLE_DEVICES
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

# Built with the sanitizers, whose own memory is large and cannot be limited.
is_sanitized() {
  grep -q __asan_init "$ZT_BUILD/ztrain"
}

# finish WHAT: the last line of a test.
finish() {
  echo "$test: $cases $1, $failures failures"
  exit $((failures > 0))
}

# on RANKS PROGRAM ARGUMENT...: run it; output in out and err, exit code in
# $code.  More than $limit seconds are a hang: 124.
limit=120
! is_long || limit=300
on() {
  on_ranks=$1
  shift
  if [ "$on_ranks" -eq 1 ]; then
    timeout -k 5 "$limit" "$@" >out 2>err </dev/null
  else
    timeout -k 5 "$limit" mpiexec -n "$on_ranks" "$@" >out 2>err </dev/null
  fi
  code=$?
}

# good RANKS PROGRAM ARGUMENT...: it must end well.
good() {
  cases=$((cases + 1))
  on "$@"
  [ $code -eq 0 ] || fail "on $*: code $code: $(cat err)"
}

# A few inputs, and run.cfg that uses the first of each kind:
#   weights.h5, tied.h5  small models: gated-gelu with its own head (384 ids),
#                        relu and tied (350 ids)
#   tokens.h5, ids.h5    text as bytes, and 4,000 ids below 350 that were given
#   pairs.h5             40 pairs for seq2seq, ids below 350
make_inputs() {
  cat "$ZT_SRC/COPYING" "$ZT_SRC/COPYING" >text
  awk 'function ids(n) {
         for (text = ""; n > 0; n--) {
           last = (last * 421 + 54773) % 259200
           text = text (text ? ", " : "") 3 + last % 240
         }
         return "[" text "]"
       }
       BEGIN {
         for (i = 0; i < 40; i++) {
           print "{\"tokens\": " ids(100) "}" >"ids.jsonl"
           print "{\"source\": " ids(5 + i) ", \"target\": " ids(1 + i % 17) \
             "}" >"pairs.jsonl"
         }
       }'
  ztconv import "$golden/t5v11tiny" weights.h5 2>err &&
    ztconv import "$golden/t5v10tiny" tied.h5 2>err &&
    ztconv tokens tokens.h5 --tokenizer bytes text 2>err &&
    ztconv tokens ids.h5 --vocab 350 ids.jsonl 2>err &&
    ztconv tokens pairs.h5 --vocab 350 pairs.jsonl 2>err || {
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

# step N: the name of its restart.
step() {
  printf 'step-%09d' "$1"
}

# state RUN STEP: digest of all that a restart of a run holds.
state() {
  ztinfo digest --state "$1/restart/$(step "$2")" 2>&1
}

# steps RUN: what metrics.jsonl says of its steps but for the time they took.
steps() {
  sed -n '/^{"t": "train"/s/, "seconds".*//p' "$1/metrics.jsonl"
}
# evals RUN: what it says of evaluations but for the time they took.
evals() {
  sed -n '/^{"t": "eval"/s/, "seconds".*//p' "$1/metrics.jsonl"
}

# newest RUN: name of its newest restart.
newest() {
  for restart in "$1"/restart/step-?????????; do
    :
  done
  basename "$restart"
}
