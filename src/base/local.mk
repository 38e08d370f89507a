# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztbase.a
ZT_LAYERS += libztbase.a
libztbase_a_SOURCES = \
  src/base/arena.c src/base/arena.h \
  src/base/beat.c src/base/beat.h \
  src/base/clock.c src/base/clock.h \
  src/base/dtype.c src/base/dtype.h \
  src/base/grid.h \
  src/base/json.c src/base/json.h \
  src/base/log.c src/base/log.h \
  src/base/memory.c src/base/memory.h \
  src/base/random.c src/base/random.h \
  src/base/settings.c src/base/settings.h \
  src/base/settings_check.c src/base/settings_check.h \
  src/base/settings_json.c src/base/settings_json.h \
  src/base/settings_lex.c src/base/settings_lex.h \
  src/base/settings_origins.c src/base/settings_origins.h \
  src/base/settings_print.c src/base/settings_print.h \
  src/base/settings_problems.c src/base/settings_problems.h \
  src/base/settings_scan.c src/base/settings_scan.h \
  src/base/settings_table.c src/base/settings_table.h \
  src/base/settings_value.c src/base/settings_value.h \
  src/base/status.c src/base/status.h \
  src/base/text.c src/base/text.h \
  src/base/ticker.c src/base/ticker.h
