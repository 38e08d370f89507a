# SPDX-License-Identifier: BSD-3-Clause
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_restart.mpi tests/check_restart_faults.mpi
TESTS += tests/check_restart.mpi tests/check_restart_faults.mpi
endif
RESTART_UNIT = tests/restart_unit.c tests/restart_unit.h
tests_check_restart_mpi_SOURCES = tests/check_restart.c $(RESTART_UNIT)
tests_check_restart_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_restart_mpi_LDADD = $(UNIT_LINK)
# The shim stands before the C library in the program itself.
tests_check_restart_faults_mpi_SOURCES = tests/check_restart_faults.c \
  $(RESTART_UNIT) tests/shim/shim.c tests/shim/shim.h
tests_check_restart_faults_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_restart_faults_mpi_LDADD = $(UNIT_LINK) -ldl
