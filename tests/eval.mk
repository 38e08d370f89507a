# SPDX-License-Identifier: BSD-3-Clause
# Evaluation.
TESTS += tests/run_eval.sh
EXTRA_DIST += tests/run_eval.sh
