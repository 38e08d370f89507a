#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# zero.carrier changes no bits: the tests of the communicators, which count the
# bytes of each link, on five ranks, and whole runs on 1, 2, 3 and 5.
. "$ZT_SRC/tests/lib.sh"
make_inputs
cat >run.cfg <<'END'
run = { dir = "run"; };
model = { weights = "weights.h5"; };
data = { train = "tokens.h5"; source_length = 21; target_length = 9; };
train = { steps = 2; batch = 7; microbatch = 1; dropout = 0.1;
          schedule = { warmup = 1; }; };
restart = { every_steps = 0; };
log = { every_steps = 1000; tensorboard = false; };
END
for program in check_comm check_cuda_comm; do
  program=$ZT_BUILD/tests/$program.mpi
  [ ! -x "$program" ] || good 5 "$program"
done
good 1 ztrain run.cfg -s run.dir=flat
wanted=$(state flat 2)
for ranks in 1 2 3 5; do
  good "$ranks" ztrain run.cfg -s "run.dir=chain$ranks" -s zero.carrier=chain
  [ "$(state "chain$ranks" 2)" = "$wanted" ] ||
    fail "chain on $ranks ranks: other state"
done
good 3 ztrain run.cfg -s run.dir=flat3 -s zero.carrier=flat
[ "$(state flat3 2)" = "$wanted" ] || fail "flat on 3 ranks: other state"
finish runs
