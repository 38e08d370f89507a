# SPDX-License-Identifier: BSD-3-Clause
EXTRA_DIST += jobs/quickstart.sh jobs/train.sbatch
