# SPDX-License-Identifier: BSD-3-Clause
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_settings tests/check_settings_scan \
  tests/check_settings_table
TESTS += tests/check_settings tests/check_settings_scan \
  tests/check_settings_table
endif
EXTRA_DIST += tests/settings_unit.h
tests_check_settings_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_settings_LDADD = $(UNIT_LINK)
tests_check_settings_scan_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_settings_scan_LDADD = $(UNIT_LINK)
tests_check_settings_table_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_settings_table_LDADD = $(UNIT_LINK)
