#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# What jobs/train*.sbatch decide when a life ends, without Slurm: stand-ins for
# all programs say what they were called with and end as told.
# shellcheck disable=SC2016  # what stand-ins expand
. "$ZT_SRC/tests/lib.sh"
jobs=$ZT_SRC/jobs

mkdir bin
PATH=$dir/bin:$PATH
stand_in() { # NAME TEXT
  printf '#!/bin/sh\n%s\n' "$2" >"bin/$1"
  chmod +x "bin/$1"
}
stand_in ztrain 'echo "  dir = \"$RUN\";   // run.cfg:1"'
stand_in srun 'echo "srun $*" >>calls
[ -z "$SAVES" ] || mkdir "$RUN/restart/step-000000020"
exit $CODE'
cp bin/srun bin/mpiexec
stand_in ztinfo 'echo "ztinfo $*" >>calls; exit $STATE'
stand_in scontrol 'echo "scontrol $*" >>calls; exit $FORBIDDEN'
stand_in scancel 'echo "scancel $*" >>calls'
stand_in sleep ':'
export RUN="a run" CODE STATE SAVES FORBIDDEN

# life WHAT EXIT CODE STATE SAVES LIFE CHAIN FORBIDDEN: ztrain ends with CODE, its
# run in STATE, a new restart if SAVES; the script must end with EXIT and do WHAT.
life() {
  what=$1 want=$2 CODE=$3 STATE=$4 SAVES=${5#-} FORBIDDEN=$8
  for form in train train-gpu train-mpiexec; do
    cases=$((cases + 1))
    rm -rf calls "$RUN"
    mkdir -p "$RUN/restart/step-000000010" "$RUN/restart/step-000000020.tmp"
    SLURM_JOB_ID=7 SLURM_JOB_NODELIST=n0 SLURM_JOB_NAME=name \
      SLURM_RESTART_COUNT=${6#-} SLURM_CPUS_PER_TASK=3 ZT_CHAIN=${7#-} \
      ZT_MAX_LIVES=5 ZT_SITE='' bash "$jobs/$form.sbatch" run.cfg -s 'a b' \
      >log 2>&1
    code=$?
    [ $code -eq "$want" ] || fail "$form, $*: exit $code: $(cat log)"
    did=ends
    grep -q '^scontrol requeue 7$' calls && did=requeues
    grep -q '^scancel .*--name=name --state=PENDING$' calls && did=cancels
    [ $did = "$what" ] || fail "$form, $*: $did: $(cat calls log)"
    grep -q 'ztrain run.cfg -s a b$' calls || fail "$form: $(cat calls)"
  done
}

# what    exit code state saves life chain forbidden
life ends     0   0   0 -   -  -   0 # done
life ends     0   0   0 yes 3  -   0
life requeues 0   0  75 yes -  -   0 # stopped in good order
life requeues 0   0  75 yes 3  -   0
life ends     1   0  75 yes 4  -   0 # the fifth life was the last
life ends     1   0  75 -   -  -   0 # no progress
life requeues 0 137  75 yes -  -   0 # killed, but some progress
life ends   137 137  75 -   -  -   0 # killed before a restart
life ends    79  79   1 yes -  -   0 # failed
life ends     1   0   1 yes -  -   0 # status unknown
life requeues 1   0  75 yes -  -   1 # requeueing is forbidden
life ends     0   0  75 yes -  yes 0 # in a chain: the next job goes on
life ends   137 137  75 yes -  yes 0
life cancels  0   0   0 yes -  yes 0 # in a chain: nothing more to do
life cancels 79  79   1 yes -  yes 0
life cancels  1   0  75 -   -  yes 0

# The three forms are one script but for the resources and the launch.
body() {
  sed -e '1,/^$/d' -e '/^# .*/d' -e 's/^srun .* ztrain "/mpiexec ztrain "/' \
    "$jobs/$1.sbatch"
}
for form in train-gpu train-mpiexec; do
  cases=$((cases + 1))
  body train >one
  body $form >other
  cmp -s one other || fail "$form: not like train: $(diff one other)"
done

if command -v shellcheck >/dev/null; then
  cases=$((cases + 1))
  shellcheck "$jobs"/*.sbatch "$jobs/train-chain.sh" "$jobs/site.sh.example" \
    "$ZT_SRC/tests/minislurm" || fail 'shellcheck'
fi
finish cases
