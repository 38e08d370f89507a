# SPDX-License-Identifier: BSD-3-Clause
# check_X is a libcheck program for one process, check_X.mpi one for several
# (run_mpi.sh runs it at 1, 2 and 3 ranks), run_X.sh a script.
TEST_EXTENSIONS = .sh .mpi
MPI_LOG_COMPILER = $(top_srcdir)/tests/run_mpi.sh
AM_TESTS_ENVIRONMENT = \
  ZT_SRC='$(abs_top_srcdir)'; ZT_BUILD='$(abs_top_builddir)'; \
  export ZT_SRC ZT_BUILD;
EXTRA_DIST += tests/run_mpi.sh tests/unit.h

UNIT_CPPFLAGS = $(AM_CPPFLAGS) $(CHECK_CFLAGS)
UNIT_LINK = $(ZT_LAYERS) $(CHECK_LIBS) $(ZT_EXTERNAL)

include $(top_srcdir)/tests/base.mk
include $(top_srcdir)/tests/settings.mk
include $(top_srcdir)/tests/io.mk
include $(top_srcdir)/tests/data.mk
include $(top_srcdir)/tests/report.mk
include $(top_srcdir)/tests/core.mk
include $(top_srcdir)/tests/optim.mk
include $(top_srcdir)/tests/restart.mk
include $(top_srcdir)/tests/generate.mk
include $(top_srcdir)/tests/eval.mk
include $(top_srcdir)/tests/slurm.mk
include $(top_srcdir)/tests/models.mk
include $(top_srcdir)/tests/finetune.mk
include $(top_srcdir)/tests/tree.mk
include $(top_srcdir)/tests/cuda.mk
include $(top_srcdir)/tests/emu.mk
include $(top_srcdir)/tests/watch.mk
