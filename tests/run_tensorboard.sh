#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# TensorBoard itself reads two lives of a run: what the second did again hides
# what the first had done.
python=${PYTHON:-python3}
"$python" -c 'import tensorboard' 2>/dev/null || {
  echo "skip: $python has no module tensorboard"
  exit 77
}
dir=$(mktemp -d "$ZT_BUILD/run_tensorboard.XXXXXX") || exit 99
trap 'rm -rf "$dir"' EXIT
"$ZT_BUILD/tests/check_tensorboard" --write "$dir/tensorboard" || exit 1
timeout 60 "$python" - "$dir" <<'EOF'
import sys
from tensorboard.backend.event_processing import event_accumulator as old
from tensorboard.backend.event_processing import plugin_event_accumulator as new
from tensorboard.util import tensor_util

def check(loss, lr):
    assert [step for step, _ in loss] == list(range(1, 201)), loss
    for step, value in loss:
        assert value == (step if step <= 100 else step + 1000), (step, value)
    for step, value in lr:
        assert abs(value - 1 / step) < 1e-7, (step, value)

folder = sys.argv[1] + "/tensorboard"
a = old.EventAccumulator(folder, size_guidance={old.SCALARS: 0})
a.Reload()
assert sorted(a.Tags()["scalars"]) == ["train/loss", "train/lr"], a.Tags()
check(*[[(e.step, e.value) for e in a.Scalars(tag)]
        for tag in ("train/loss", "train/lr")])
a = new.EventAccumulator(folder, tensor_size_guidance={"scalars": 0})
a.Reload()
check(*[[(e.step, float(tensor_util.make_ndarray(e.tensor_proto)))
         for e in a.Tensors(tag)] for tag in ("train/loss", "train/lr")])
print("tensorboard reads", len(a.Tags()["tensors"]), "tags of two lives")
EOF
