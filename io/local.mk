# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztio.a
ZT_LAYERS += libztio.a
libztio_a_SOURCES = \
  io/checkpoint.c io/checkpoint.h \
  io/checkpoint_writer.c io/checkpoint_writer.h \
  io/digest.c io/digest.h \
  io/direct.c io/direct.h \
  io/format.h \
  io/h5.c io/h5.h \
  io/hfdir.c io/hfdir.h \
  io/output.c io/output.h \
  io/pieces.c io/pieces.h \
  io/raw_rate.c io/raw_rate.h \
  io/restart.h \
  io/restart_blocks.c \
  io/restart_commit.c \
  io/restart_create.c \
  io/restart_find.c \
  io/restart_inside.h \
  io/restart_layout.c io/restart_layout.h \
  io/restart_open.c \
  io/restart_params.c \
  io/restart_read.c \
  io/restart_save.c \
  io/restart_skeleton.c io/restart_skeleton.h \
  io/restart_source.c \
  io/restart_thread.c \
  io/restart_verify.c \
  io/restart_views.c io/restart_views.h \
  io/restart_writer.h \
  io/safetensors.c io/safetensors.h \
  io/source.c io/source.h \
  io/token_writer.c io/token_writer.h \
  io/tokens.c io/tokens.h \
  io/writer.c io/writer.h
EXTRA_DIST += io/FORMAT
