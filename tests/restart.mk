# SPDX-License-Identifier: BSD-3-Clause
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_restart.mpi tests/check_restart_faults.mpi \
  tests/check_restart_crash.mpi tests/check_restart_damage.mpi \
  tests/bench/restart_rates
TESTS += tests/check_restart.mpi tests/check_restart_faults.mpi \
  tests/check_restart_crash.mpi tests/check_restart_damage.mpi
endif
TESTS += tests/run_restart_shim.sh tests/run_restart_kill.sh \
  tests/run_restart_full.sh
EXTRA_DIST += tests/bench/restart.sh tests/run_restart_shim.sh tests/run_restart_kill.sh \
  tests/run_restart_full.sh

# The shim for whole programs, which preload it.
check_DATA = tests/shim/shim.so
CLEANFILES += tests/shim/shim.so
tests/shim/shim.so: tests/shim/shim.c tests/shim/shim.h
	$(AM_V_CCLD)$(MKDIR_P) tests/shim && $(CC) $(AM_CPPFLAGS) $(ZT_CFLAGS) \
	  $(CFLAGS) -fPIC -shared $(srcdir)/tests/shim/shim.c -o $@ -ldl
RESTART_UNIT = tests/restart_unit.c tests/restart_unit.h
tests_check_restart_mpi_SOURCES = tests/check_restart.c $(RESTART_UNIT)
tests_check_restart_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_restart_mpi_LDADD = $(UNIT_LINK)
# The shim stands before the C library in the programs themselves.
SHIM = tests/shim/shim.c tests/shim/shim.h
tests_check_restart_crash_mpi_SOURCES = tests/check_restart_crash.c \
  $(RESTART_UNIT) $(SHIM)
tests_check_restart_crash_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_restart_crash_mpi_LDADD = $(UNIT_LINK) -ldl
tests_check_restart_faults_mpi_SOURCES = tests/check_restart_faults.c \
  $(RESTART_UNIT) $(SHIM)
tests_check_restart_faults_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_restart_faults_mpi_LDADD = $(UNIT_LINK) -ldl
tests_check_restart_damage_mpi_SOURCES = tests/check_restart_damage.c \
  $(RESTART_UNIT)
tests_check_restart_damage_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_restart_damage_mpi_LDADD = $(UNIT_LINK)
tests_bench_restart_rates_SOURCES = tests/bench/restart_rates.c \
  $(RESTART_UNIT)
tests_bench_restart_rates_CPPFLAGS = $(UNIT_CPPFLAGS) -I$(top_srcdir)/tests
tests_bench_restart_rates_LDADD = $(UNIT_LINK)
