# SPDX-License-Identifier: BSD-3-Clause
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_batch tests/check_span tests/check_tokenizer \
  tests/check_tokens tests/check_bpe tests/check_corpora
TESTS += tests/check_batch tests/check_span tests/check_tokenizer \
  tests/check_tokens tests/check_bpe tests/check_corpora
endif
TESTS += tests/run_conv_tokens.sh tests/run_conv_binary.sh \
  tests/run_sentencepiece.sh tests/run_corpora.sh tests/run_conv_ranks.sh \
  tests/run_tokenizers.sh
EXTRA_DIST += tests/run_conv_tokens.sh tests/run_conv_binary.sh \
  tests/run_sentencepiece.sh tests/run_corpora.sh tests/run_conv_ranks.sh \
  tests/long_smollm2.sh tests/smollm2.py \
  tests/run_tokenizers.sh tests/crosscheck_tokenizers.py tests/tokenizer_kinds.py \
  tests/long_data.sh tests/golden/tokenizer/make.py \
  tests/golden/tokenizer/text.json \
  tests/golden/tokenizer/gpt2.json tests/golden/tokenizer/gpt2.ids \
  tests/golden/tokenizer/llama3.json tests/golden/tokenizer/llama3.ids \
  tests/golden/tokenizer/qwen.json tests/golden/tokenizer/qwen.ids \
  tests/golden/tokenizer/smollm.json tests/golden/tokenizer/smollm.ids
tests_check_batch_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_batch_LDADD = $(UNIT_LINK)
tests_check_span_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_span_LDADD = $(UNIT_LINK)
tests_check_tokenizer_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_tokenizer_LDADD = $(UNIT_LINK)
tests_check_tokens_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_tokens_LDADD = $(UNIT_LINK)
tests_check_corpora_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_corpora_LDADD = $(UNIT_LINK)
tests_check_bpe_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_bpe_LDADD = $(UNIT_LINK)
