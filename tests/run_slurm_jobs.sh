#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# The batch scripts under a real Slurm, each with what it is for, and launches
# that are not one rank a node.
# shellcheck disable=SC2317  # scenarios are called by name
. "$ZT_SRC/tests/slurm.sh"

# Requeueing is forbidden: said, and a chain of jobs does instead.  The job that
# finishes takes the rest of the chain out of the queue.
chain() {
  submit --nodes=2 --ntasks-per-node=1 --cpus-per-task=1 --no-requeue \
    "$jobs/train.sbatch" run.cfg
  within 120 trained 5
  scancel --signal=USR1 "$job"
  ends FAILED
  says 'requeueing is forbidden here'
  rm job.log
  run_chain run.cfg
  within 120 trained $((steps / 2))
  scancel --signal=USR1 "$first"
  chain_ends COMPLETED COMPLETED CANCELLED CANCELLED
  says 'the next job of the chain goes on'
  same_bits
}
# One that fails does so too.
chain_fails() {
  run_chain missing.cfg
  chain_ends FAILED CANCELLED CANCELLED CANCELLED
  says 'missing.cfg'
}
run_chain() {
  "$jobs/train-chain.sh" 4 --parsable --output=job.log --nodes=2 \
    --ntasks-per-node=1 --cpus-per-task=1 "$jobs/train.sbatch" "$1" \
    >chain 2>sbatch.log || fail "train-chain.sh: $(cat sbatch.log)"
  read -r first <chain
}
chain_ends() {
  while read -r job; do
    ends "$1"
    shift
  done <chain
}

# Weights in, training, text and weights out.
convert() {
  job_of convert import "$golden/t5v11tiny" new.h5
  [ "$(ztinfo digest new.h5)" = "$(ztinfo digest weights.h5)" ] ||
    fail "import: other weights"
  job_of convert tokens new_tokens.h5 --tokenizer bytes ../text
  cmp new_tokens.h5 tokens.h5 || fail "tokens: not the same"
  job_of train run.cfg -s train.steps=2 -s model.weights=new.h5
  job_of generate run --tokens '5 6 7' --max-new-tokens 9 --output answer
  ztgen run --tokens '5 6 7' --max-new-tokens 9 --output want 2>err
  cmp answer want || fail "generate: not the same"
  job_of convert export run hf
  ztconv import hf back.h5 2>err
  [ "$(ztinfo digest back.h5)" = "$(ztinfo digest run)" ] ||
    fail "export: other weights: $(ztinfo digest run) $(cat err)"
  submit --nodes=1 --ntasks=2 "$jobs/convert.sbatch" import nowhere x.h5
  ends FAILED
  says 'nowhere'
}
job_of() { # FORM ARGUMENT...: it must end well
  form=$1
  shift
  submit --nodes=1 --ntasks=2 --ntasks-per-node=2 --cpus-per-task=1 \
    "$jobs/$form.sbatch" "$@"
  ends COMPLETED
}

# Nodes with GPUs, which every rank sees all of; a site file.
gpu() {
  cat >site.sh <<'END'
srun sh -c 'echo "rank $SLURM_PROCID sees $CUDA_VISIBLE_DEVICES"'
ZT_MAX_LIVES=1
ztrain() { srun --nodes=1 --ntasks=1 ztrain "$@"; }
ztinfo() { srun --nodes=1 --ntasks=1 ztinfo "$@"; }
END
  export ZT_SITE="$PWD/site.sh"
  submit --ntasks-per-node=2 --cpus-per-task=4 \
    "$jobs/train-gpu.sbatch" run.cfg
  within 120 trained 5
  scancel --signal=USR1 "$job"
  ends FAILED
  says 'this was the last life'
  [ ! -c "$MINISLURM_DIR/run/gpu0" ] ||
    [ "$(grep -c 'sees 0,1,2,3' job.log)" -eq 4 ] ||
    fail "not all ranks see all GPUs: $(grep sees job.log)"
  ZT_SITE=nowhere.sh
  submit "$jobs/train.sbatch" run.cfg
  ends FAILED
  says 'nowhere.sh cannot be read'
  sbatch --test-only "$jobs/train-gpu.sbatch" 2>sbatch.log
  grep -q 'on nodes' sbatch.log || fail "train-gpu: $(cat sbatch.log)"
}

# Three ranks on one node and one on the other: a part of a restart for each.
uneven() {
  submit --nodes=2 --ntasks=4 --ntasks-per-node=3 --cpus-per-task=1 \
    --distribution=plane=3 "$jobs/train.sbatch" run.cfg
  ends COMPLETED
  says 'work: 4 ranks'
  [ "$(find "run/restart/$(newest run)" -name 'part-*' | grep -c .)" -eq 2 ] ||
    fail "not a part for each node: $(ls run/restart/*)"
  same_bits
}

# The wrong plug-in for MPI would make four runs of one rank: refused.
plugin() {
  export SLURM_MPI_TYPE=none
  submit --nodes=2 --ntasks-per-node=2 --cpus-per-task=1 \
    "$jobs/train.sbatch" run.cfg
  ends FAILED
  says 'ztrain: SLURM_STEP_NUM_TASKS is 4, but each process is alone'
  says 'ztrain ended with code 69'
  [ ! -e run ] || fail "a run has begun: $(ls run)"
}

make_inputs
uncut 60 14 # there must be time to disturb others
together chain chain_fails convert gpu uneven plugin
finish cases
