# SPDX-License-Identifier: BSD-3-Clause
# Families, and how decoders are trained.
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_decoder
TESTS += tests/check_decoder
endif
tests_check_decoder_SOURCES = tests/check_decoder.c $(TRAIN_UNIT)
tests_check_decoder_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_decoder_LDADD = $(UNIT_LINK)
TESTS += tests/run_decoders.sh tests/run_families.sh
EXTRA_DIST += tests/run_decoders.sh tests/run_families.sh \
  tests/crosscheck_bf16.py tests/crosscheck_families.py tests/long_bf16.sh
EXTRA_DIST += \
  tests/golden/gpt2tiny/after10.safetensors \
  tests/golden/gpt2tiny/config.json \
  tests/golden/gpt2tiny/generation_config.json \
  tests/golden/gpt2tiny/golden.json \
  tests/golden/gpt2tiny/grads.safetensors \
  tests/golden/gpt2tiny/io.safetensors \
  tests/golden/gpt2tiny/model.safetensors \
  tests/golden/llamatiny/after10.safetensors \
  tests/golden/llamatiny/config.json \
  tests/golden/llamatiny/generation_config.json \
  tests/golden/llamatiny/golden.json \
  tests/golden/llamatiny/grads.safetensors \
  tests/golden/llamatiny/io.safetensors \
  tests/golden/llamatiny/model.safetensors
