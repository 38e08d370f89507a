# SPDX-License-Identifier: BSD-3-Clause
# Stopping, the lock of a run, the watchdog.
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_lock tests/check_watch
TESTS += tests/check_lock tests/check_watch
endif
TESTS += tests/run_hang.sh tests/run_lock.sh tests/run_skips.sh \
  tests/run_stop.sh
EXTRA_DIST += tests/child.h tests/launch.sh tests/run_hang.sh \
  tests/run_lock.sh tests/run_skips.sh tests/run_stop.sh
tests_check_lock_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_lock_LDADD = $(UNIT_LINK)
tests_check_watch_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_watch_LDADD = $(UNIT_LINK)
