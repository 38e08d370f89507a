# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztbase.a
ZT_LAYERS += libztbase.a
libztbase_a_SOURCES = \
  src/base/arena.c src/base/arena.h \
  src/base/dtype.c src/base/dtype.h \
  src/base/grid.h \
  src/base/json.c src/base/json.h \
  src/base/log.c src/base/log.h \
  src/base/memory.c src/base/memory.h \
  src/base/random.c src/base/random.h \
  src/base/status.c src/base/status.h \
  src/base/text.c src/base/text.h
