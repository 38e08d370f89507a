# SPDX-License-Identifier: BSD-3-Clause
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_metrics tests/check_runstate \
  tests/check_summary tests/check_tensorboard
TESTS += tests/check_metrics tests/check_runstate tests/check_summary \
  tests/check_tensorboard tests/run_tensorboard.sh
endif
TESTS += tests/run_ztinfo_status.sh
EXTRA_DIST += tests/scratch.h tests/small_disk.h tests/run_tensorboard.sh \
  tests/run_ztinfo_status.sh
tests_check_metrics_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_metrics_LDADD = $(UNIT_LINK)
tests_check_runstate_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_runstate_LDADD = $(UNIT_LINK)
tests_check_summary_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_summary_LDADD = $(UNIT_LINK)
tests_check_tensorboard_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_tensorboard_LDADD = $(UNIT_LINK)
