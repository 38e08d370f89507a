#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What a program finds around it: standard output that is full, closed, or that
# nobody reads any more; a limit on address space.
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
limit=60
make_inputs
small="-s train.steps=2 -s train.batch=2"

# What was printed and is lost is an error.
for command in 'ztrain --help' 'ztrain --explain all' 'ztrain run.cfg --plan' \
  'ztinfo --version' 'ztinfo digest weights.h5' 'ztinfo show tokens.h5' \
  'ztconv verify weights.h5' 'ztconv diff weights.h5 weights.h5'; do
  cases=$((cases + 1))
  # shellcheck disable=SC2086
  timeout $limit $command >/dev/full 2>err
  code=$?
  [ $code -eq 74 ] || fail "$command >/dev/full: code $code: $(cat err)"
  [ "$(grep -c 'output: cannot write' err)" -eq 1 ] || fail "$command: $(cat err)"
  # shellcheck disable=SC2086
  timeout $limit $command >&- 2>err
  code=$?
  [ $code -eq 74 ] || fail "$command >&-: code $code: $(cat err)"
done

# A run goes on without whoever read its messages, and none of them gets into a
# file that was opened in the place of a closed stream.
# shellcheck disable=SC2086
good 1 ztrain run.cfg $small
# shellcheck disable=SC2086
{
  timeout $limit ztrain run.cfg $small -s run.dir=left 2>&1
  echo $? >code
} | head -n 1 >first
[ "$(cat code)" -eq 0 ] || fail "ztrain | head: code $(cat code)"
# shellcheck disable=SC2086
timeout $limit ztrain run.cfg $small -s run.dir=closed <&- >&- 2>&- ||
  fail "ztrain with closed streams: code $?"
for run in left closed; do
  cases=$((cases + 1))
  [ "$(state $run 2)" = "$(state run 2)" ] || fail "$run: other bits"
  ztconv verify --deep $run >out 2>&1 || fail "$run: $(cat out)"
done

# Address space for a small model is small.
# shellcheck disable=SC3045
if ! is_sanitized && (ulimit -v 1000000) 2>err; then
  cases=$((cases + 1))
  # shellcheck disable=SC2086,SC3045
  (ulimit -v 1000000 && OPENBLAS_NUM_THREADS=1 timeout $limit ztrain run.cfg \
    $small -s run.dir=tight) >out 2>&1 || fail "ulimit -v: $(cat out)"
fi
finish "surroundings"
