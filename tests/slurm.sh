# SPDX-License-Identifier: BSD-3-Clause
# What the tests of batch jobs share; to be sourced first, lib.sh comes with it.
# The test runs inside a Slurm of its own with nodes n0 ... n7.
#   ZT_REQUIRE_SLURM=1  where there is none the test fails and is not skipped
: "${ZT_SRC:?}" "${ZT_BUILD:?}"
if [ -z "${MINISLURM_DIR:-}" ]; then
  "$ZT_SRC/tests/minislurm" -n 8 -c 64 -g 4 -k 5 -- sh "$0"
  code=$?
  if [ $code -eq 77 ] && [ -n "${ZT_REQUIRE_SLURM:-}" ]; then
    echo "FAIL: a Slurm is required (ZT_REQUIRE_SLURM)"
    code=1
  fi
  exit $code
fi
. "$ZT_SRC/tests/lib.sh"
jobs=$ZT_SRC/jobs

# uncut STEPS BATCH: run.cfg with these, and that run without a break.
uncut() {
  steps=$1 want=$PWD/want
  sed -i -e "s/{ steps = [0-9]*; batch = [0-9]*/{ steps = $1; batch = $2/" \
    -e "s/{ every_steps = 3;/{ every_steps = 10;/" run.cfg
  good 1 ztrain run.cfg
  { state run "$steps" && steps run; } >"$want"
  rm -r run
}

# together SCENARIO...: these functions at once, each in a folder of its own
# with inputs, and with its own counts.
together() {
  for scenario; do
    mkdir "$scenario"
    cp run.cfg "$scenario"
    ln -s ../weights.h5 ../tokens.h5 "$scenario"
    (
      cd "$scenario" || exit 99
      began=$(date +%s)
      cases=0 failures=0
      "$scenario"
      echo "$scenario: $cases cases, $failures failures," \
        "$(($(date +%s) - began)) s"
      [ $failures -eq 0 ] || tail -n 40 ./*.log
      echo "$cases $failures" >counts
    ) >"$scenario.out" 2>&1 &
  done
  wait
  for scenario; do
    cat "$scenario.out"
    read -r c f <"$scenario/counts"
    cases=$((cases + c))
    failures=$((failures + f))
  done
}

# submit SBATCH-ARGUMENT...: sets job; its log is job.log.
submit() {
  job=$(sbatch --parsable --output=job.log "$@" 2>sbatch.log) || {
    fail "sbatch $*: $(cat sbatch.log)"
    return 1
  }
}

# within SECONDS COMMAND...: wait until it succeeds.
within() {
  late=$(($(date +%s) + $1))
  shift
  until "$@"; do
    if [ "$(date +%s)" -ge "$late" ]; then
      fail "waited in vain: $*"
      return 1
    fi
    sleep 0.2
  done
}

# trained STEPS: so many are in metrics.jsonl.
trained() {
  [ -e run/metrics.jsonl ] &&
    [ "$(grep -c '^{"t": "train"' run/metrics.jsonl)" -ge "$1" ]
}

job_state() {
  squeue -h --states=all --jobs="$job" --format=%T
}
is_pending() {
  [ "$(job_state)" = PENDING ]
}

# ends STATE: the job ends so.
ends() {
  cases=$((cases + 1))
  within 120 has_ended
  [ "$end" = "$1" ] || fail "job $job is $end and not $1"
}
has_ended() {
  end=$(job_state)
  case $end in
    '' | PENDING | RUNNING | COMPLETING | REQUEUED) return 1 ;;
  esac
}

# says TEXT: it stands in the log.
says() {
  cases=$((cases + 1))
  grep -q -e "$1" job.log || fail "the log does not say '$1'"
}

# same_bits: the run is done and equals the uncut one.
same_bits() {
  cases=$((cases + 1))
  ztinfo status run >/dev/null || fail "$(ztinfo status run)"
  { state run "$steps" && steps run; } >is
  cmp -s "$want" is || fail "other bits: $(diff "$want" is | head -n 5)"
}

# rank_of JOB RANK: its process.
rank_of() {
  for at in /proc/[0-9]*; do
    [ "$(cat "$at/comm" 2>/dev/null)" = ztrain ] || continue
    : >environ # what cannot be read is not that of the one before
    { tr '\0' '\n' <"$at/environ" >environ; } 2>/dev/null
    grep -qxF "MINISLURM_DIR=$MINISLURM_DIR" environ &&
      grep -qx "SLURM_JOB_ID=$1" environ && grep -qx "PMI_RANK=$2" environ &&
      echo "${at##*/}"
  done
}
