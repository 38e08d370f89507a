# SPDX-License-Identifier: BSD-3-Clause
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_base tests/check_text tests/check_random \
  tests/check_layout
TESTS += tests/check_base tests/check_text tests/check_random \
  tests/check_layout
endif
tests_check_base_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_base_LDADD = $(UNIT_LINK)
tests_check_text_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_text_LDADD = $(UNIT_LINK)
tests_check_random_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_random_LDADD = $(UNIT_LINK)
tests_check_layout_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_layout_LDADD = $(UNIT_LINK)
