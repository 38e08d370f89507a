# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztcomm.a
ZT_LAYERS += libztcomm.a
libztcomm_a_SOURCES = \
  src/comm/agree.c src/comm/agree.h \
  src/comm/chain.c src/comm/chain.h \
  src/comm/comm.c src/comm/comm.h \
  src/comm/comm_mpi.c src/comm/comm_mpi.h \
  src/comm/comm_null.c src/comm/comm_null.h
