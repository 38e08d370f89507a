#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Includes carry the layer: a folder may include only from those below it.
# Also: names are unique in the tree, files have their licence line, none is
# longer than 600 lines, and only backends.c tests for CUDA.
set -u
cd "${ZT_SRC:-.}" || exit 1
failed=0
complain() { echo "$*"; failed=1; }

allowed() {
  case $1 in
    base) echo base ;;
    layout) echo base layout ;;
    device) echo base device ;;
    comm) echo base comm ;;
    model) echo base layout device model ;;
    io) echo base layout comm io ;;
    tokenizer) echo base tokenizer ;;
    report) echo base report ;;
    cuda) echo base device comm cuda ;;
    train) echo base layout device comm model io tokenizer report train ;;
    prog) echo base layout device comm model io tokenizer report train cuda prog ;;
  esac
}

files=$(find src io cuda -name '*.[ch]' -o -name '*.cpp' -o -name '*.cu')
for f in $files; do
  layer=$(basename "$(dirname "$f")")
  may=" $(allowed "$layer") "
  for included in $(sed -n 's|^ *# *include "\([a-z]*\)/.*|\1|p' "$f"); do
    case $may in
      *" $included "*) ;;
      *) complain "$f: layer $layer must not include from $included" ;;
    esac
  done
done

for name in $(echo "$files" | xargs -n 1 basename | sort | uniq -d); do
  complain "the name $name stands twice"
done

for f in $files tests/*.[ch] tests/*.sh jobs/*.sh config/*.sh; do
  head -n 3 "$f" | grep -q 'SPDX-License-Identifier: BSD-3-Clause' ||
    complain "$f: no SPDX line"
  lines=$(wc -l < "$f")
  [ "$lines" -le 600 ] || complain "$f: $lines lines"
done

for f in $files; do
  [ "$f" = src/prog/backends.c ] || ! grep -q ZT_HAVE_CUDA "$f" ||
    complain "$f: tests ZT_HAVE_CUDA"
done
for f in $(find src/base src/layout src/device src/comm src/model src/train \
  src/tokenizer src/report io -name '*.[ch]'); do
  # A backend that stands in for a whole process may leave it.
  [ "$f" = src/comm/comm_null.c ] || ! grep -nE '(^|[^_a-z])exit\(' "$f" ||
    complain "$f: calls exit below src/prog"
done
exit $failed
