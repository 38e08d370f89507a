#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Runs an MPI test at several rank counts; a hang is a failure.
#   run_mpi.sh PROGRAM [ARG]...     ZT_TEST_RANKS="1 2 3"  ZT_TEST_TIMEOUT=120
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
for ranks in ${ZT_TEST_RANKS:-1 2 3}; do
  echo "== $1 on $ranks ranks"
  timeout -k 5 "${ZT_TEST_TIMEOUT:-120}" mpiexec -n "$ranks" "$@"
  rc=$?
  [ $rc -ne 124 ] || echo "$1: no end after ${ZT_TEST_TIMEOUT:-120} s on $ranks ranks"
  [ $rc -eq 0 ] || exit $rc
done
