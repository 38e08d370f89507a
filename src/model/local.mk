# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztmodel.a
ZT_LAYERS += libztmodel.a
libztmodel_a_SOURCES = \
  src/model/model.c src/model/model.h \
  src/model/ops.c src/model/ops.h \
  src/model/pass.c src/model/pass.h \
  src/model/t5.c src/model/t5.h \
  src/model/tape.c src/model/tape.h
