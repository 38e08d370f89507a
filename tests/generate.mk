# SPDX-License-Identifier: BSD-3-Clause
# Generation, beside tests/check_generate.mpi.
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_rows tests/check_sample tests/check_stream
TESTS += tests/check_rows tests/check_sample tests/check_stream
endif
tests_check_rows_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_rows_LDADD = $(UNIT_LINK)
tests_check_stream_SOURCES = tests/check_stream.c src/prog/stream.c
tests_check_stream_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_stream_LDADD = $(UNIT_LINK)
tests_check_sample_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_sample_LDADD = $(UNIT_LINK)
TESTS += tests/run_generate.sh tests/run_model_files.sh
EXTRA_DIST += tests/beams.py tests/bench/generate.sh \
  tests/bench/generate_torch.py tests/bench/generate_ranks.sh \
  tests/bench/generate_deepspeed.py tests/golden/beams.jsonl tests/run_generate.sh \
  tests/run_model_files.sh
