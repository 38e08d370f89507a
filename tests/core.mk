# SPDX-License-Identifier: BSD-3-Clause
check_PROGRAMS += tests/check_parity_t5
tests_check_parity_t5_SOURCES = tests/check_parity_t5.c tests/golden.c \
  tests/golden.h
tests_check_parity_t5_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_parity_t5_LDADD = $(UNIT_LINK)
TESTS += tests/check_parity_t5
