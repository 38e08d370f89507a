# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztprog.a
ZT_LAYERS += libztprog.a
libztprog_a_SOURCES = src/prog/program.c src/prog/program.h

# What was built, for --version: written anew only when it changes.
BUILT_SOURCES += config/build_id.h
CLEANFILES += config/build_id.h
EXTRA_DIST += config/build_id.sh
config/build_id.h: FORCE
	$(AM_V_GEN)$(SHELL) $(top_srcdir)/config/build_id.sh $(top_srcdir) $@
FORCE:
.PHONY: FORCE
dist-hook:
	$(SHELL) $(top_srcdir)/config/build_id.sh --dist $(top_srcdir) \
	  $(distdir)/config/BUILD_ID

bin_PROGRAMS += ztconv ztinfo
ztconv_SOURCES = src/prog/ztconv.c
ztconv_LDADD = $(ZT_LAYERS) $(ZT_EXTERNAL)
ztinfo_SOURCES = src/prog/info.h src/prog/info_status.c src/prog/ztinfo.c
ztinfo_LDADD = $(ZT_LAYERS) $(ZT_EXTERNAL)
