# SPDX-License-Identifier: BSD-3-Clause

# Sample configurations.
ZT_SAMPLES = config/t5-small.cfg config/t5-finetune.cfg \
  config/llama-finetune.cfg
pkgdata_DATA += $(ZT_SAMPLES)
EXTRA_DIST += $(ZT_SAMPLES) config/prepare.sh
