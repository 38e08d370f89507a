# SPDX-License-Identifier: BSD-3-Clause
# What looks at the tree itself, and the benchmarks.
TESTS += tests/run_layers.sh
EXTRA_DIST += tests/run_layers.sh tests/run.sh tests/bench/step.sh \
  tests/bench/step_torch.py
