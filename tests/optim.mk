# SPDX-License-Identifier: BSD-3-Clause
# Adafactor.
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_adafactor.mpi
TESTS += tests/check_adafactor.mpi
endif
tests_check_adafactor_mpi_SOURCES = tests/check_adafactor.c $(TRAIN_UNIT)
tests_check_adafactor_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_adafactor_mpi_LDADD = $(UNIT_LINK)
TESTS += tests/run_adafactor.sh
EXTRA_DIST += tests/run_adafactor.sh tests/golden/adafactor/make.py \
  tests/golden/adafactor/golden.json
