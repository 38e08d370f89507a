# shellcheck shell=sh disable=SC2016,SC2046,SC2094
# SPDX-License-Identifier: BSD-3-Clause
# Trainers in the background, for tests that signal them; to be sourced after
# lib.sh.

# start RANKS ARGUMENT...: ztrain run.cfg on so many ranks; each leaves its
# process number in pid.RANK, all output is in err.  Rank $held, if any, is
# stopped before it begins.
held=
start() {
  ranks=$1
  shift
  rm -f pid.*
  held=$held mpiexec -n "$ranks" sh -c '
    rank=${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-0}}
    echo $$ >pid.tmp.$$
    mv pid.tmp.$$ pid.$rank
    [ "$rank" != "$held" ] || kill -s STOP $$
    exec ztrain run.cfg "$@"' sh "$@" >out 2>err </dev/null &
  launcher=$!
  for rank in $(seq 0 $((ranks - 1))); do
    until_true "rank $rank starts" [ -s "pid.$rank" ]
  done
}

# until_true WHAT COMMAND...: wait for it, a minute at most.
until_true() {
  awaited=$1
  shift
  for _ in $(seq 600); do
    ! "$@" || return 0
    sleep 0.1
  done
  fail "$awaited: waited in vain: $(cat err)"
  return 1
}

# has_steps N: whether the run's metrics go on to step N or beyond.
has_steps() {
  last=$(steps run 2>/dev/null | tail -n 1 | sed 's/.*"step": \([0-9]*\),.*/\1/')
  [ "${last:-0}" -ge "$1" ]
}

# steps_more N: wait for so many more steps than there are.
steps_more() {
  has=$(steps run 2>/dev/null | wc -l)
  until_true "step $((has + $1))" has_steps $((has + $1))
}

# is_ready RANK: whether it has a handler for SIGTERM by now.
is_ready() {
  grep -q '^SigCgt:.*[4567cdef]...$' "/proc/$(cat "pid.$1")/status" 2>/dev/null
}

# send SIGNAL RANK...: to these ranks.
send() {
  signal=$1
  shift
  for rank; do
    kill -s "$signal" "$(cat "pid.$rank")" || fail "no rank $rank: $(cat err)"
  done
}

is_over() {
  ! kill -0 "$launcher" 2>/dev/null
}

# ended WHAT: wait for the end; its exit code in $code, a hang is a failure.
ended() {
  cases=$((cases + 1))
  until_true "$1 ends" is_over || {
    kill -s CONT $(cat pid.?) 2>/dev/null
    kill -s KILL "$launcher" $(cat pid.?) 2>/dev/null
  }
  wait "$launcher"
  code=$?
}

# ended_well WHAT: with 0, and STATUS.json says more.
ended_well() {
  ended "$1"
  [ $code -eq 0 ] || fail "$1: code $code: $(cat err)"
  ztinfo status run >status
  [ $? -eq 75 ] || fail "$1: $(cat status)"
}

# says TEXT FILE WHAT
says() {
  grep -q -e "$1" "$2" || fail "$3: no '$1' in: $(cat "$2")"
}
