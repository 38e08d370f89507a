#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# ztinfo status: what it prints and its exit code, for every state of a run.
dir=$(mktemp -d "$ZT_BUILD/run_ztinfo_status.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 99
mkdir run || exit 99
failures=0

# expect CODE TEXT ARGUMENT...: the output is TEXT, on stderr if CODE >= 64 but
# not 75.
expect() {
  code=$1 text=$2
  shift 2
  timeout 30 "$ZT_BUILD/ztinfo" status "$@" >out 2>err
  is=$?
  stream=out other=err
  case $code in 75) ;; 6?|7?) stream=err other=out ;; esac
  if [ $is -ne "$code" ] || [ "$(cat $stream)" != "$text" ] || [ -s $other ]
  then
    echo "ztinfo status $*: code $is, expected $code; expected text, output:"
    echo "$text"
    cat out err
    failures=$((failures + 1))
  fi
}

put() {
  printf '%s\n' "$1" >run/STATUS.json
}

expect 66 "ztinfo: nowhere: cannot open: No such file or directory" nowhere
expect 66 "ztinfo: out: not a directory; give the run.dir of the run" out
expect 64 "ztinfo: too few operands; usage: ztinfo status [--json] RUNDIR"
expect 64 "ztinfo: unknown option '--jsn'; did you mean --json? (see --help)" \
  --jsn run
expect 1 "run: unknown: run/STATUS.json: cannot open: No such file or \
directory" run
expect 1 '{"state": "unknown", "message": "run/STATUS.json: cannot open: No such file or directory"}' \
  --json run

done='{"state": "done", "code": 0, "rank": null, "message": null, "step": 1000, "steps": 1000, "restart": "step-000001000", "best": "step-000000900", "time": "2026-01-31T23:59:59Z", "job": null, "life": 0}'
put "$done"
expect 0 "run: done, step 1000 of 1000, restart step-000001000, \
2026-01-31T23:59:59Z, best step-000000900" run
expect 0 "$done" run --json

put '{"state": "more", "code": 0, "rank": null, "message": "time limit", "step": 120, "steps": 1000, "restart": "step-000000120", "time": "2026-01-31T23:59:59Z", "job": "4711", "life": 2}'
expect 75 "run: more, step 120 of 1000, restart step-000000120, \
2026-01-31T23:59:59Z, job 4711, life 2: time limit" run
put '{"state": "more", "code": 0, "step": 0, "steps": 1000, "time": "2026-01-31T23:59:59Z", "life": 0}'
expect 75 "run: more, step 0 of 1000, no restart yet, 2026-01-31T23:59:59Z" run
expect 75 '{"state": "more", "code": 0, "rank": null, "message": null, "step": 0, "steps": 1000, "restart": null, "best": null, "time": "2026-01-31T23:59:59Z", "job": null, "life": 0}' \
  --json run

put '{"state": "failed", "code": 74, "rank": 3, "message": "rank 3: x.h5: \u001b[31mNo space\nleft", "step": 120, "steps": 1000, "restart": "step-000000100", "time": "2026-01-31T23:59:59Z", "job": null, "life": 0}'
expect 1 "run: failed with code 74 on rank 3, step 120 of 1000, restart \
step-000000100, 2026-01-31T23:59:59Z: rank 3: x.h5:  [31mNo space left" run

put '{"state": "more", "code": 0'
expect 1 "run: unknown: run/STATUS.json:2: not valid JSON: '}' expected near \
end of file" run
put "$(echo "$done" | sed s/done/finished/)"
expect 1 "run: unknown: run/STATUS.json: \"state\" cannot be 'finished'" run

put "$done"
timeout 30 "$ZT_BUILD/ztinfo" status run >/dev/full 2>err
if [ $? -ne 74 ]; then
  echo "full standard output: $(cat err)"
  failures=$((failures + 1))
fi
timeout 60 mpiexec -n 3 "$ZT_BUILD/ztinfo" status run >out 2>err
if [ $? -ne 0 ] || [ "$(wc -l <out)" -ne 1 ]; then
  echo "on 3 ranks: $(cat out err)"
  failures=$((failures + 1))
fi
[ $failures -eq 0 ]
