#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# From a checkout to built programs: installs what is missing (Debian and its
# kin: apt, with sudo if not root), then autoreconf, configure and make outside
# the source tree.  Nothing is installed when all is there.
#   prepare.sh BUILDDIR [CONFIGURE OPTION]...
#   ZT_WITH_TESTS=1  also what only tests need, if it can be had
set -eu
src=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?usage: prepare.sh BUILDDIR [CONFIGURE OPTION]...}
shift

programs="autoreconf automake make pkg-config mpicc mpiexec"
modules="hdf5-mpich|hdf5-openmpi|hdf5-mpi libconfig jansson libxxhash openblas
  libpcre2-8 check"
packages="autoconf automake make pkg-config gcc libc6-dev mpich libmpich-dev
  libhdf5-mpich-dev libconfig-dev libjansson-dev libxxhash-dev libopenblas-dev
  libpcre2-dev libutf8proc-dev check"
# For a Slurm on one host, see tests/minislurm, and for a reader in Python.
test_programs="munged slurmctld slurmd sbatch ip pgrep"
test_packages="munge slurmctld slurmd slurm-client iproute2 procps
  python3-h5py python3-numpy"

missing() {
  for p in $programs; do
    command -v "$p" > /dev/null || { echo "$p"; return 0; }
  done
  for m in $modules; do
    found=
    for name in $(echo "$m" | tr '|' ' '); do
      pkg-config --exists "$name" && found=1
    done
    [ -n "$found" ] || { echo "$m"; return 0; }
  done
  return 1
}

missing_for_tests() {
  [ -n "${ZT_WITH_TESTS:-}" ] || return 1
  for p in $test_programs; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$p" > /dev/null ||
      { echo "$p"; return 0; }
  done
  for p in "${PYTHON:-python3}" /usr/bin/python3; do
    "$p" -c 'import h5py, numpy' 2> /dev/null && return 1
  done
  echo "h5py"
}

# add WHAT PACKAGE...: install packages, since WHAT is missing.
add() {
  echo "prepare.sh: $1 is missing: installing Debian packages"
  shift
  sudo=
  [ "$(id -u)" -eq 0 ] || sudo=sudo
  { $sudo apt-get update -q &&
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -qy \
      --no-install-recommends "$@"; } > /dev/null || {
    echo "prepare.sh: apt cannot install: $*" >&2
    return 1
  }
}

# shellcheck disable=SC2086
if what=$(missing); then
  command -v apt-get > /dev/null || {
    echo "prepare.sh: $what is missing and this system has no apt; see the" \
      "third paragraph of README" >&2
    exit 69
  }
  add "$what" $packages || exit 69
fi
# Tests that cannot run without say so themselves.
# shellcheck disable=SC2086
if what=$(missing_for_tests) && command -v apt-get > /dev/null; then
  add "$what" $test_packages || :
fi

mkdir -p "$build"
build=$(cd "$build" && pwd)
log=$build/prepare.log
run() { "$@" >> "$log" 2>&1 || { tail -n 25 "$log" >&2; echo "prepare.sh: '$*' failed; all of it: $log" >&2; exit 70; }; }
: > "$log"
if [ ! -x "$src/configure" ] || [ "$src/configure.ac" -nt "$src/configure" ]; then
  run autoreconf -i "$src"
fi
cd "$build"
[ -f Makefile ] && [ Makefile -nt "$src/configure" ] || run "$src/configure" "$@"
run make -j "$(nproc)"
echo "built in $build"
