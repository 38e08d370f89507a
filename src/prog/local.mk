# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztprog.a
ZT_LAYERS += libztprog.a
libztprog_a_SOURCES = \
  src/prog/backends.c src/prog/backends.h \
  src/prog/evaluating.c src/prog/evaluating.h \
  src/prog/launcher.c src/prog/launcher.h \
  src/prog/model_files.c src/prog/model_files.h \
  src/prog/open_source.c src/prog/open_source.h \
  src/prog/planning.c src/prog/planning.h \
  src/prog/program.c src/prog/program.h

# What was built, for --version: written anew only when it changes.
BUILT_SOURCES += config/build_id.h
CLEANFILES += config/build_id.h
EXTRA_DIST += config/build_id.sh
config/build_id.h: FORCE
	$(AM_V_GEN)$(SHELL) $(top_srcdir)/config/build_id.sh $(top_srcdir) $@
src/prog/program.$(OBJEXT) src/prog/ztrain.$(OBJEXT): config/build_id.h
FORCE:
.PHONY: FORCE
dist-hook:
	$(SHELL) $(top_srcdir)/config/build_id.sh --dist $(top_srcdir) \
	  $(distdir)/config/BUILD_ID

bin_PROGRAMS += ztrain ztconv ztgen ztinfo
ztrain_SOURCES = src/prog/ztrain.c
ztrain_LDADD = $(ZT_LAYERS) $(ZT_EXTERNAL)
# The man page has the keys from their table.
man_MANS = src/prog/ztrain.1
EXTRA_DIST += src/prog/ztrain.1.in
CLEANFILES += src/prog/ztrain.1
src/prog/ztrain.1: $(srcdir)/src/prog/ztrain.1.in ztrain$(EXEEXT)
	$(AM_V_GEN)./ztrain --man-keys > $@.keys && \
	$(SED) -e '/^@KEYS@$$/{r $@.keys' -e 'd' -e '}' \
	  $(srcdir)/src/prog/ztrain.1.in > $@ && rm -f $@.keys
ztgen_SOURCES = src/prog/prompts.c src/prog/prompts.h \
  src/prog/stream.c src/prog/stream.h src/prog/ztgen.c
ztgen_LDADD = $(ZT_LAYERS) $(ZT_EXTERNAL)
ztconv_SOURCES = src/prog/conv.h \
  src/prog/config_dtype.c src/prog/config_dtype.h \
  src/prog/conv_diff.c src/prog/conv_export.c src/prog/conv_import.c \
  src/prog/conv_init.c src/prog/conv_tokens.c src/prog/conv_verify.c \
  src/prog/export_plan.c src/prog/export_plan.h \
  src/prog/hf_output.c src/prog/hf_output.h \
  src/prog/token_binary.c src/prog/token_binary.h \
  src/prog/token_chat.c src/prog/token_chat.h \
  src/prog/token_record.c src/prog/token_record.h \
  src/prog/token_share.c src/prog/token_share.h \
  src/prog/token_input.c src/prog/token_input.h \
  src/prog/transfer.c src/prog/transfer.h \
  src/prog/weights_file.c src/prog/weights_file.h \
  src/prog/ztconv.c
dist_man_MANS += src/prog/ztconv.1 src/prog/ztgen.1 src/prog/ztinfo.1
ztconv_LDADD = $(ZT_LAYERS) $(ZT_EXTERNAL)
ztinfo_SOURCES = src/prog/info.h \
  src/prog/info_digest.c src/prog/info_hang.c src/prog/info_iobench.c src/prog/info_plan.c \
  src/prog/info_restart.c src/prog/info_run.c \
  src/prog/info_samples.c \
  src/prog/info_show.c src/prog/info_status.c src/prog/info_tokens.c \
  src/prog/info_views.c src/prog/info_weights.c \
  src/prog/ztinfo.c
ztinfo_LDADD = $(ZT_LAYERS) $(ZT_EXTERNAL)
