# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libzttokenizer.a
ZT_LAYERS += libzttokenizer.a
ZT_EXTERNAL += $(SENTENCEPIECE_LIBS)
libzttokenizer_a_SOURCES = \
  src/tokenizer/bytes.c src/tokenizer/bytes.h \
  src/tokenizer/sentencepiece.h \
  src/tokenizer/tokenizer.c src/tokenizer/tokenizer.h
libzttokenizer_a_CPPFLAGS = $(AM_CPPFLAGS) $(SENTENCEPIECE_CFLAGS)
if ZT_HAVE_SENTENCEPIECE
libzttokenizer_a_SOURCES += src/tokenizer/sentencepiece.cpp
endif
