# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztlayout.a
ZT_LAYERS += libztlayout.a
libztlayout_a_SOURCES = \
  src/layout/params.c src/layout/params.h \
  src/layout/shard.c src/layout/shard.h
