# SPDX-License-Identifier: BSD-3-Clause
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_digest tests/check_manifest tests/check_output \
  tests/check_safetensors tests/check_checkpoint.mpi tests/long_sparse
TESTS += tests/check_digest tests/check_manifest tests/check_output \
  tests/check_safetensors tests/check_checkpoint.mpi
endif
TESTS += tests/run_convert.sh tests/run_wrong_convert.sh \
  tests/run_formats.sh tests/run_read_restart.sh tests/run_transformers.sh
EXTRA_DIST += tests/run_convert.sh tests/run_wrong_convert.sh \
  tests/run_formats.sh tests/run_read_restart.sh tests/run_transformers.sh \
  tests/read_restart.py tests/safetensors.sh tests/crosscheck_convert.py \
  tests/long_io.sh tests/bench/convert.sh \
  tests/golden/formats/README \
  tests/golden/formats/pairs-1.0.h5.gz \
  tests/golden/formats/chats-1.1.h5.gz \
  tests/golden/formats/restart-1.0.tar.gz \
  tests/golden/formats/restart-2.0.tar.gz \
  tests/golden/formats/tokens-1.0.h5.gz \
  tests/golden/formats/weights-1.0.h5.gz \
  tests/golden/t5v10tiny/config.json \
  tests/golden/t5v10tiny/generation_config.json \
  tests/golden/t5v10tiny/model.safetensors \
  tests/golden/t5v11tiny/config.json \
  tests/golden/t5v11tiny/generation_config.json \
  tests/golden/t5v11tiny/model.safetensors
tests_check_digest_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_digest_LDADD = $(UNIT_LINK)
tests_check_manifest_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_manifest_LDADD = $(UNIT_LINK)
tests_check_output_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_output_LDADD = $(UNIT_LINK)
tests_check_safetensors_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_safetensors_LDADD = $(UNIT_LINK)
tests_check_checkpoint_mpi_SOURCES = tests/check_checkpoint.c
tests_check_checkpoint_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_checkpoint_mpi_LDADD = $(UNIT_LINK)
tests_long_sparse_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_long_sparse_LDADD = $(UNIT_LINK)
