# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztmodel.a
ZT_LAYERS += libztmodel.a
libztmodel_a_SOURCES = \
  src/model/blocks.c src/model/blocks.h \
  src/model/cache.c src/model/cache.h \
  src/model/family_config.c src/model/family_config.h \
  src/model/gpt2.c \
  src/model/llama.c \
  src/model/model.c src/model/model.h \
  src/model/ops.c src/model/ops.h \
  src/model/ops_attention.c \
  src/model/pass.c src/model/pass.h \
  src/model/rotary.c src/model/rotary.h \
  src/model/t5.c src/model/t5.h \
  src/model/tape.c src/model/tape.h
