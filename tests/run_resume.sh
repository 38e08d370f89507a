#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# A run that is killed, asked to stop, out of time, or finds its newest restart
# damaged goes on, on other numbers of ranks, to the end of the uncut run.
#   ZT_SEED=N  of the instants at which it is killed
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
make_inputs
seed=${ZT_SEED:-$(date +%s)}
echo "ZT_SEED=$seed"
kills=2
is_long && kills=20

# train RUN STEPS ARGUMENT...: sets the command for good, on and start.
train() {
  run=$1 steps=$2
  shift 2
  set -- ztrain run.cfg -s "run.dir=$run" -s "train.steps=$steps" \
    -s train.schedule.name=constant -s restart.busy=wait "$@"
  "$do" "$ranks" "$@"
}

# start RANKS PROGRAM ARGUMENT...: the same as on, but beside this script.
start() {
  on_ranks=$1
  shift
  : >pids
  set -- sh -c 'echo $$ >>pids; exec "$@"' sh "$@"
  [ "$on_ranks" -eq 1 ] || set -- mpiexec -n "$on_ranks" "$@"
  timeout -k 5 $limit "$@" >out 2>err </dev/null &
  job=$!
  until [ "$(wc -l <pids)" -eq "$on_ranks" ]; do
    kill -0 $job 2>/dev/null || break
    sleep 0.02
  done
}

# until_ended: the exit code of what was started, in $code.
until_ended() {
  wait "$job"
  code=$?
  case $code in 124 | 137) fail "$what: no end after $limit s" ;; esac
}

count() {
  grep -c '"t": "train"' "$1/metrics.jsonl" 2>/dev/null || true
}

# after STEPS: wait until the run has done so many more.
after() {
  until [ "$(($(count chain) - $1))" -ge "$had" ]; do
    kill -0 $job 2>/dev/null || {
      fail "$what: ended too early: $(cat err)"
      break
    }
    sleep 0.02
  done
}

# begin RANKS ARGUMENT...: the next part of the chain, a run without end.
begin() {
  cases=$((cases + 1))
  had=$(count chain) do=start ranks=$1
  what="part $cases, on $1"
  shift
  train chain 1000000 -s restart.every_steps=5 -s restart.keep=2 \
    -s restart.keep_every=10 "$@"
}

# ---- Killed: all ranks, then one, at any instant ----

# at_random FROM TO: seconds
at_random() {
  awk -v seed="$seed" -v n="$cases" -v from="$1" -v to="$2" 'BEGIN {
    srand(seed + 7919 * n)
    rand()
    print from + rand() * (to - from)
  }'
}

n=0
while [ $n -lt $kills ]; do
  begin $((1 + (n + 1) % 3))
  sleep "$(at_random 0.1 1.5)"
  # shellcheck disable=SC2046
  kill -KILL $(cat pids) 2>/dev/null
  wait "$job"
  begin $((2 + n % 2))
  sleep "$(at_random 0.1 1.5)"
  kill -KILL "$(tail -n 1 pids)" 2>/dev/null
  until_ended
  [ $code -ne 0 ] || fail "$what: one rank is killed, the others end with 0"
  n=$((n + 1))
done

# ---- Asked to stop ----

# stopped TEXT: in good order, with more to do.
stopped() {
  until_ended
  [ $code -eq 0 ] || fail "$what: code $code: $(cat err)"
  grep -q "$1" err || fail "$what: no '$1' in $(cat err)"
  ztinfo status chain >status
  [ $? -eq 75 ] || fail "$what: $(cat status)"
  grep -q "restart $(newest chain)" status || fail "$what: $(cat status)"
  [ "$(newest chain)" = "$(step "$(count chain)")" ] ||
    fail "$what: step $(count chain), but $(newest chain)"
}

begin 3
after 3
kill -TERM "$(tail -n 1 pids)"
stopped SIGTERM
begin 1
after 2
kill -USR1 "$(cat pids)"
stopped SIGUSR1
begin 2
after 2
# shellcheck disable=SC2046
kill -INT $(cat pids)
stopped SIGINT
begin 2 --max-hours 0.0004
stopped max-hours

# ---- The end of the chain is that of the uncut run ----

last=$(($(count chain) + 2))
do=on ranks=3
train chain $last -s restart.every_steps=5 -s restart.keep=2 \
  -s restart.keep_every=10
[ $code -eq 0 ] || fail "the last part: $code: $(cat err)"
ranks=2
train uncut $last -s restart.every_steps=0
[ $code -eq 0 ] || fail "the uncut run: $code: $(cat err)"
# Where it all comes from: in the restart and in the first line of metrics.
head -n 1 uncut/metrics.jsonl >first
for key in build libraries kernels weights data configuration; do
  said=$(sed -n "s/.*\"$key\": \"\([^\"]*\)\".*/\1/p" first)
  [ -n "$said" ] && grep -qF "\"$key\": \"$said\"" \
    "uncut/restart/$(step $last)/manifest.json" ||
    fail "$key is '$said' in metrics, not so in the manifest"
done
grep -q "\"weights\": \"$(ztinfo digest weights.h5)\"" first ||
  fail "not the digest of weights.h5: $(cat first)"
grep -qF "$(ztrain --version | sed -n 's/^source: *//p')\"" first ||
  fail "not the build: $(cat first)"
[ "$(state chain $last)" = "$(state uncut $last)" ] ||
  fail "$last steps: $(state chain $last), uncut $(state uncut $last)"
steps uncut >want
steps chain | cmp -s - want || fail "metrics: $(steps chain | diff - want)"
[ "$(wc -l <want)" -eq $last ] || fail "$(wc -l <want) of $last steps"
# Kept are the newest two and the multiples of ten, and nothing else is there.
for restart in chain/restart/*; do
  echo "${restart##*/step-}"
done >is
for n in $(seq 10 10 $last) $last; do
  printf '%09d\n' "$n"
done | sort -u >want
grep -vxF -f want is >others
grep -xF -f want is | cmp -s - want && [ "$(wc -l <others)" -le 1 ] ||
  fail "kept: $(cat is)"
# A finished run says so and changes nothing.
cp chain/metrics.jsonl want
do=on ranks=2
train chain $last
[ $code -eq 0 ] && grep -q 'the run is finished' err || fail "again: $(cat err)"
cmp -s chain/metrics.jsonl want || fail "a finished run has new metrics"
ztinfo status chain >status || fail "finished: $(cat status)"

# ---- What --restart says ----

# go RUN RANKS ARGUMENT...: 8 steps in all.
go() {
  run=$1 ranks=$2 do=on
  shift 2
  cases=$((cases + 1))
  train "$run" 8 -s restart.every_steps=2 "$@"
  [ $code -eq 0 ] || fail "$what: code $code: $(cat err)"
}

# ended: as the uncut run.
ended() {
  [ "$(state small 8) $(steps small)" = "$end" ] || fail "$what: another end"
}
what=--restart
ranks=2
train whole 6 -s restart.every_steps=2
cp -r whole small
go small 3 --restart require
end="$(state small 8) $(steps small)"
go small 2 --restart none
ended
[ "$(ls small/restart.old-1 | tr '\n' ' ')" = \
  'step-000000004 step-000000006 step-000000008 ' ] ||
  fail "--restart none: $(ls small/restart.old-1)"
go other 1 --restart whole/restart/step-000000004
[ "$(state other 8)" = "$(state small 8)" ] || fail "--restart PATH: $(cat err)"

# ---- Damage: passed over, set aside, and made good ----

# overwrite FILE AT: a byte that was another one.
overwrite() {
  byte=$(od -An -tu1 -j "$2" -N 1 "$1")
  printf "\\$(printf %03o $((byte ^ 1)))" |
    dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

# damaged WHAT RANKS: the newest restart of small has it.
damaged() {
  what="damage: $1"
  go small "$2"
  ended
  grep -q 'step-000000006 is passed over: .*small/restart' err ||
    fail "$what: not said: $(cat err)"
  grep -q 'resuming from .*step-000000004' err ||
    fail "$what: no falling back: $(cat err)"
  [ -d small/restart/step-000000006.bad ] || fail "$what: $(ls small/restart)"
  rm -r small
  cp -r whole small
}
rm -r small
cp -r whole small
part=small/restart/step-000000006/part-00000.h5
size=$(wc -c <$part)
overwrite $part $((size - size / 3))
damaged 'a bit in the data' 1
truncate -s $((size - 4096)) $part
damaged 'a short part' 3
rm small/restart/step-000000006/manifest.json
damaged 'no manifest' 2
if is_long; then
  rm $part
  damaged 'no part' 2
  for file in COMMIT manifest.json part-00000.h5; do
    for at in 0 7 100; do
      overwrite small/restart/step-000000006/$file $at
      damaged "$file at $at" $((1 + at % 3))
    done
  done
  n=1
  while [ $n -lt 20 ]; do
    overwrite $part $((size * n / 20 + n))
    damaged "byte $((size * n / 20 + n))" $((1 + n % 3))
    n=$((n + 1))
  done
fi
# None is left: no new start in silence.
for restart in small/restart/*; do
  : >"$restart/COMMIT"
done
what='all damaged'
train small 8
[ $code -eq 65 ] && grep -q 'none of its 3 restarts loads' err ||
  fail "$what: $code: $(cat err)"
finish "parts of runs, ZT_SEED=$seed"
