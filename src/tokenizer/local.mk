# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libzttokenizer.a
ZT_LAYERS += libzttokenizer.a
ZT_EXTERNAL += $(SENTENCEPIECE_LIBS) $(PCRE2_LIBS) $(UTF8PROC_LIBS)
libzttokenizer_a_SOURCES = \
  src/tokenizer/bpe.c src/tokenizer/bpe.h \
  src/tokenizer/bpe_added.c src/tokenizer/bpe_added.h \
  src/tokenizer/bpe_split.c src/tokenizer/bpe_split.h \
  src/tokenizer/bpe_table.c src/tokenizer/bpe_table.h \
  src/tokenizer/bytes.c src/tokenizer/bytes.h \
  src/tokenizer/sentencepiece.h \
  src/tokenizer/tokenizer.c src/tokenizer/tokenizer.h \
  src/tokenizer/utf8.c src/tokenizer/utf8.h
libzttokenizer_a_CPPFLAGS = $(AM_CPPFLAGS) $(SENTENCEPIECE_CFLAGS) \
  $(PCRE2_CFLAGS) $(UTF8PROC_CFLAGS)
if ZT_HAVE_SENTENCEPIECE
libzttokenizer_a_SOURCES += src/tokenizer/sentencepiece.cpp
endif
