# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztreport.a
ZT_LAYERS += libztreport.a
libztreport_a_SOURCES = \
  src/report/append.c src/report/append.h \
  src/report/hang.c src/report/hang.h \
  src/report/metrics.c src/report/metrics.h \
  src/report/progress.c src/report/progress.h \
  src/report/runstate.c src/report/runstate.h \
  src/report/summary.c src/report/summary.h \
  src/report/tensorboard.c src/report/tensorboard.h
