#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What is being built: the commit of a checkout, or what a tarball recorded.
#   build_id.sh SRCDIR HEADER           writes the header if it changed
#   build_id.sh --dist SRCDIR FILE      records it for a tarball
identify() {
  if [ -r "$1/config/BUILD_ID" ]; then
    cat "$1/config/BUILD_ID"
  elif id=$(git -C "$1" rev-parse --short=12 HEAD 2>/dev/null); then
    git -C "$1" diff --quiet HEAD 2>/dev/null || id="$id with changes"
    echo "git $id"
  else
    echo unknown
  fi
}
if [ "$1" = --dist ]; then
  identify "$2" > "$3"
  exit
fi
line="#define ZT_BUILD_ID \"$(identify "$1")\""
[ -r "$2" ] && [ "$(cat "$2")" = "$line" ] || { mkdir -p "$(dirname "$2")" && echo "$line" > "$2"; }
