#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# How fast ztconv moves a model, beside dd and cp of the same bytes to the same
# disk, in one interleaved run; and its largest private memory (RssAnon).
#   convert.sh [ROUNDS [LAYERS]]      ZT_BUILD=build folder, TMPDIR=disk
# Every time includes making the output durable.  "cold": the source is not in
# the page cache.
rounds=${1:-5} layers=${2:-10}
: "${ZT_BUILD:=.}"
dir=$(mktemp -d "${TMPDIR:-/tmp}/zt-convert.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
conv=$(cd "$ZT_BUILD" && pwd)/ztconv
cd "$dir" || exit 99
cat >config.json <<EOF
{"model_type": "t5", "vocab_size": 32128, "d_model": 1024, "d_kv": 64,
 "num_heads": 16, "d_ff": 4096, "num_layers": $layers}
EOF
"$conv" init config.json model.h5 2>/dev/null && "$conv" export model.h5 hf \
  2>/dev/null || exit 1
bytes=$(stat -c %s hf/model.safetensors)
awk -v b="$bytes" 'BEGIN { printf "model of %.2f GiB\n", b / 2^30 }'

now() { date +%s.%N; }

# Drops a file from the page cache.
forget() { sync "$1" && dd if="$1" iflag=nocache count=0 2>/dev/null; }

# Largest RssAnon over all processes of this build until told to stop, in KiB.
watch_memory() {
  most=0
  while [ -e watching ]; do
    for exe in /proc/[0-9]*/exe; do
      [ "$exe" -ef "$conv" ] || continue
      kib=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\).*/\1/p' "${exe%exe}status")
      [ "${kib:-0}" -le $most ] || most=$kib
    done 2>/dev/null
    sleep 0.1
  done
  echo "$most" >>memory.$1
}

# measure NAME SOURCE cold|warm COMMAND...: seconds to the file of that name.
measure() {
  name=$1 source=$2 state=$3
  shift 3
  rm -rf out
  sync
  sleep 1
  [ "$state" = warm ] && cat "$source" >/dev/null || forget "$source"
  : >watching
  watch_memory "$name" &
  watcher=$!
  begun=$(now)
  "$@" >log 2>&1 || { cat log; exit 1; }
  ended=$(now)
  rm watching
  wait $watcher
  echo "$begun $ended" | awk '{ print $2 - $1 }' >>"time.$name.$state"
}

copy_dd() { dd if=hf/model.safetensors of=out bs=4M conv=fsync; }
copy_cp() { cp hf/model.safetensors out && sync out; }
import_1() { "$conv" import hf out; }
export_1() { "$conv" export model.h5 out; }
import_3() { mpiexec -n 3 "$conv" import hf out; }
export_3() { mpiexec -n 3 "$conv" export model.h5 out; }

# Each round in another order: removing one's output slows down the next.
what="copy_dd import_1 export_1 copy_cp import_3 export_3"
round=0
while [ $round -lt "$rounds" ]; do
  round=$((round + 1))
  for state in cold warm; do
    for name in $what; do
      case $name in
      export*) measure $name model.h5 $state $name ;;
      *) measure $name hf/model.safetensors $state $name ;;
      esac
    done
    what="${what#* } ${what%% *}"
  done
done

median() { sort -n "$1" | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }'; }
printf '%-10s %6s %9s %9s %9s %9s\n' what state 'median s' MiB/s 'of best' 'MiB anon'
for state in cold warm; do
  best=$(for name in copy_dd copy_cp; do median time.$name.$state; done |
    sort -n | head -1)
  for name in copy_dd copy_cp import_1 export_1 import_3 export_3; do
    awk -v t="$(median "time.$name.$state")" -v best="$best" -v b="$bytes" \
      -v name=$name -v state=$state \
      -v m="$(sort -n memory.$name | tail -1)" 'BEGIN {
        printf "%-10s %6s %9.2f %9.0f %8.0f%% %9.1f\n", name, state, t,
               b / t / 2^20, 100 * best / t, m / 1024 }'
  done
done
