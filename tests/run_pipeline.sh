#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The whole path as a user walks it: import, tokens, training that is broken off
# by Ctrl-C and goes on with other ranks, export, import again, generation; with
# names that hold spaces and other letters than ASCII, and from other folders.
# Then every program on a disk that is full.
# shellcheck source=tests/lib.sh
. "$ZT_SRC/tests/lib.sh"
here=$PWD

# says FILE TEXT WHAT
says() {
  grep -qF -- "$2" "$1" || fail "$3: no '$2' in $1: $(cat "$1")"
}

# ---- The path ----

home="mein Ordner/größe Ω"
mkdir -p "$home/the model" "$home/texte"
cp "$golden"/t5v11tiny/*.json "$golden/t5v11tiny/model.safetensors" \
  "$home/the model"
chmod -R u+w "$home/the model"
echo 'frei für alle' >"$home/the model/LIZENZ.txt"
cat "$ZT_SRC/COPYING" >"$home/texte/ein text.txt"
echo 'Grüße, κόσμε, 世界' >>"$home/texte/ein text.txt"
cd "$home" || exit 99
good 2 ztconv import 'the model' "größe.h5"
good 1 ztconv tokens "tö kens.h5" --tokenizer bytes 'texte/ein text.txt'
mkdir läufe
cat >'läufe/my run.cfg' <<'END'
run = { dir = "läufe/ein lauf"; };
model = { weights = "größe.h5"; };
data = { train = "tö kens.h5"; source_length = 32; target_length = 12; };
train = { steps = 100000; batch = 6; microbatch = 2; dropout = 0.1;
          schedule = { name = "constant"; }; };
restart = { every_steps = 1000; };
END
good 1 ztrain 'läufe/my run.cfg' --check

# Ctrl-C: the terminal sends it to the launcher and all that it started.
setsid mpiexec -n 2 ztrain 'läufe/my run.cfg' >out 2>err </dev/null &
job=$!
cases=$((cases + 1))
until [ "$(steps 'läufe/ein lauf' 2>/dev/null | wc -l)" -ge 3 ]; do
  kill -0 $job 2>/dev/null || break
  sleep 0.05
done
kill -s INT -- "-$job"
for _ in $(seq $limit); do
  kill -0 $job 2>/dev/null || break
  sleep 1
done
! kill -s KILL -- "-$job" 2>/dev/null || fail "Ctrl-C: no end after $limit s"
wait $job
ztinfo status 'läufe/ein lauf' >status
[ $? -eq 75 ] || fail "Ctrl-C: $(cat status err)"
says status 'asked to stop by SIGINT' 'Ctrl-C'
done=$(steps 'läufe/ein lauf' | wc -l)
[ "$(newest 'läufe/ein lauf')" = "$(step "$done")" ] ||
  fail "Ctrl-C: after $done steps $(newest 'läufe/ein lauf')"

# From another folder, by absolute names, to the end.
last=$((done + 3))
cd texte || exit 99
good 3 ztrain "$here/$home/läufe/my run.cfg" -s "train.steps=$last" \
  -s "run.dir=$here/$home/läufe/ein lauf" \
  --allow-change model.weights -s "model.weights=$here/$home/größe.h5" \
  --allow-change data.train -s "data.train=../tö kens.h5"
cd .. || exit 99
good 1 ztrain 'läufe/my run.cfg' -s "train.steps=$last" -s run.dir=uncut
[ "$(state 'läufe/ein lauf' $last)" = "$(state uncut $last)" ] ||
  fail "another end than the uncut run's"
steps uncut >want
steps 'läufe/ein lauf' | cmp -s - want || fail "other metrics"

# Out, in again, out again: the same bytes.
good 2 ztconv export 'läufe/ein lauf' 'aus gabe'
cmp -s 'the model/LIZENZ.txt' 'aus gabe/LIZENZ.txt' || fail "the licence is lost"
good 3 ztconv import 'aus gabe' again.h5
good 1 ztconv export again.h5 'aus gabe 2'
cmp -s 'aus gabe/model.safetensors' 'aus gabe 2/model.safetensors' ||
  fail "another export"
weights=$(ztinfo digest 'läufe/ein lauf')
for path in again.h5 'aus gabe' 'aus gabe 2'; do
  [ "$(ztinfo digest "$path")" = "$weights" ] || fail "$path: another digest"
done
[ "$(ztinfo digest größe.h5)" != "$weights" ] || fail "nothing was learnt"
printf '{"text": "Grüße"}\n{"tokens": [5, 6, 1]}\n' >'frage.jsonl'
for ranks in 1 3; do
  for path in 'läufe/ein lauf' again.h5 'aus gabe'; do
    good $ranks ztgen "$path" --tokenizer bytes --input frage.jsonl \
      --max-new-tokens 8 --output "antwort.$ranks.jsonl"
    [ -e antworten ] || cp "antwort.$ranks.jsonl" antworten
    cmp -s "antwort.$ranks.jsonl" antworten || fail "$path on $ranks: other text"
  done
done
[ "$(wc -l <antworten)" -eq 2 ] || fail "$(cat antworten)"
good 1 ztconv verify --deep again.h5 'aus gabe' "tö kens.h5" 'läufe/ein lauf'

# ---- A full disk ----

unshare -m true 2>/dev/null && unshare -m sh -c \
  'mount -t tmpfs -o size=64k none "$1"' sh "$here/$home/texte" 2>/dev/null || {
  echo "without full disks: no tmpfs may be mounted here"
  finish "parts of the path"
}
mkdir disk

# full ROOM WHAT PROGRAM ARGUMENT...: what it writes goes to disk/, which has so
# little room; one line, and nothing stays there.
full() {
  room=$1 what="$2 with $1"
  shift 2
  cases=$((cases + 1))
  # shellcheck disable=SC2016
  timeout -k 5 $limit unshare -m sh -c \
    'mount -t tmpfs -o "$1" none disk || exit 99
     shift
     "$@" >out 2>err
     code=$?
     ls -A disk >left
     exit $code' sh "$room" "$@" </dev/null
  code=$?
  case $code in 73 | 74) ;; *) fail "$what: code $code: $(cat err)" ;; esac
  [ "$(grep -c '^zt[a-z]*: ' err)" -eq 1 ] || fail "$what: $(cat err)"
  says err 'No space left on device' "$what"
  [ ! -s left ] || fail "$what: leaves $(cat left)"
}
rooms=size=500k
is_long && rooms="$(seq -f size=%.0fk 4 60 900)"
awk 'BEGIN { for (; i < 200; i++) print "{\"tokens\": [5, 6]}" }' >many.jsonl
seq 200000 >many.txt
for room in size=4k,nr_inodes=1 $rooms; do
  full "$room" import mpiexec -n 2 ztconv import 'the model' disk/x.h5
  full "$room" export mpiexec -n 2 ztconv export größe.h5 disk/x
  full "$room" init ztconv init 'the model/config.json' disk/x.h5
  full "$room" tokens ztconv tokens disk/x.h5 --tokenizer bytes many.txt
done
for room in size=4k,nr_inodes=1 size=4k; do
  full "$room" generation ztgen größe.h5 --input many.jsonl --batch 200 \
    --max-new-tokens 2 --output disk/x
done

# Training: a save that finds no room costs that restart, the last one the run;
# with room again it goes on.
cases=$((cases + 1))
cat >part.sh <<'END'
mount -t tmpfs -o size=2m none disk || exit 99
set -- mpiexec -n 2 ztrain 'läufe/my run.cfg' -s run.dir=disk/run \
  -s train.steps=6 -s restart.every_steps=2 -s restart.max_failures=9
"$@" >out 2>err
echo $? >code
find disk/run/restart -mindepth 1 >left
cp disk/run/STATUS.json status
mount -o remount,size=64m disk
"$@" >out2 2>err2
echo $? >>code
ztinfo digest --state disk/run >end
grep -c '"t": "train"' disk/run/metrics.jsonl >>end
END
timeout -k 5 $limit unshare -m sh part.sh
[ "$(tr '\n' ' ' <code)" = '74 0 ' ] || fail "codes $(cat code err err2)"
[ "$(grep -c 'warning: no restart of step' err)" -eq 3 ] ||
  fail "warnings: $(cat err)"
says err 'No space left on device' 'ztrain'
says status '"state": "failed", "code": 74' 'ztrain'
[ ! -s left ] || fail "ztrain leaves $(cat left)"
good 1 ztrain 'läufe/my run.cfg' -s run.dir=roomy -s train.steps=6
[ "$(tr '\n' ' ' <end)" = "$(state roomy 6) 6 " ] ||
  fail "after a full disk: $(cat end)"
finish "parts of the path"
