# SPDX-License-Identifier: BSD-3-Clause
# Fine-tuning: samples of texts, pairs and conversations.
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_texts tests/check_rates
TESTS += tests/check_texts tests/check_rates
endif
tests_check_texts_SOURCES = tests/check_texts.c $(TRAIN_UNIT)
tests_check_texts_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_texts_LDADD = $(UNIT_LINK)
tests_check_rates_SOURCES = tests/check_rates.c $(TRAIN_UNIT)
tests_check_rates_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_rates_LDADD = $(UNIT_LINK)
TESTS += tests/run_finetune.sh
EXTRA_DIST += tests/run_finetune.sh
