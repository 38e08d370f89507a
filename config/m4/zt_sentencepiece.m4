# SPDX-License-Identifier: BSD-3-Clause
# ZT_SENTENCEPIECE: the optional tokenizer library, the one thing in C++.
# Without a C++ compiler or the library the build is whole.  Programs are linked
# by the C compiler, so the C++ run-time library is named; the trial does the
# same.  Sets SENTENCEPIECE_CFLAGS and SENTENCEPIECE_LIBS, ZT_CXXFLAGS, and
# ZT_HAVE_SENTENCEPIECE for make and C.
AC_DEFUN([ZT_SENTENCEPIECE], [
  AC_REQUIRE([AC_PROG_CXX])
  AC_ARG_WITH([sentencepiece], [AS_HELP_STRING([--with-sentencepiece=DIR],
    [sentencepiece from the prefix DIR (optional; no: without)])],
    [], [with_sentencepiece=yes])
  zt_have_sentencepiece=no SENTENCEPIECE_CFLAGS= SENTENCEPIECE_LIBS=
  AC_MSG_CHECKING([for sentencepiece])
  AS_CASE([$with_sentencepiece],
    [no], [],
    [yes], [ZT_SENTENCEPIECE_TRY([], [])],
    [for zt_dir in lib lib64; do
      AS_IF([test -d "$with_sentencepiece/$zt_dir"], [ZT_SENTENCEPIECE_TRY(
        [-I$with_sentencepiece/include],
        [-L$with_sentencepiece/$zt_dir -Wl,-rpath,$with_sentencepiece/$zt_dir])])
    done])
  AC_MSG_RESULT([$zt_have_sentencepiece $SENTENCEPIECE_LIBS])
  AS_CASE([$with_sentencepiece:$zt_have_sentencepiece],
    [yes:*|no:*|*:yes], [],
    [AC_MSG_ERROR([--with-sentencepiece=$with_sentencepiece: no usable sentencepiece there])])
  AS_IF([test $zt_have_sentencepiece = yes],
    [AC_DEFINE([ZT_HAVE_SENTENCEPIECE], [1], [Tokenizers of SentencePiece])],
    [AC_MSG_NOTICE([without SentencePiece: 'ztconv tokens' takes bytes and ids alone (Debian 'libsentencepiece-dev g++', Fedora 'sentencepiece-devel gcc-c++', Spack 'sentencepiece')])])
  AM_CONDITIONAL([ZT_HAVE_SENTENCEPIECE], [test $zt_have_sentencepiece = yes])
  ZT_CXXFLAGS="-std=gnu++17 -Wall -Wextra -Wundef"
  AS_CASE([" $ZT_CFLAGS "], [*" -Werror "*], [ZT_CXXFLAGS="$ZT_CXXFLAGS -Werror"])
  AS_IF([test "$enable_sanitizers" = yes],
    [ZT_CXXFLAGS="$ZT_CXXFLAGS -fsanitize=address,undefined -fno-omit-frame-pointer"])
  AC_SUBST([ZT_CXXFLAGS])
  AC_SUBST([SENTENCEPIECE_CFLAGS])
  AC_SUBST([SENTENCEPIECE_LIBS])
])

# ZT_SENTENCEPIECE_TRY(CFLAGS, LDFLAGS): compile with $CXX, link with $CC.
AC_DEFUN([ZT_SENTENCEPIECE_TRY], [
  cat > conftest_sp.cpp <<'_ZT'
#include <sentencepiece_processor.h>
int main() { sentencepiece::SentencePieceProcessor p; return p.GetPieceSize(); }
_ZT
  for zt_runtime in -lstdc++ -lc++; do
    AS_IF([test $zt_have_sentencepiece = no && {
        $CXX $CXXFLAGS $CPPFLAGS $1 -c conftest_sp.cpp -o conftest_sp.$OBJEXT &&
        $CC $CFLAGS $LDFLAGS conftest_sp.$OBJEXT -o conftest_sp$EXEEXT \
          $2 -lsentencepiece $zt_runtime; } >&AS_MESSAGE_LOG_FD 2>&1], [
      zt_have_sentencepiece=yes
      SENTENCEPIECE_CFLAGS="$1"
      SENTENCEPIECE_LIBS=`echo $2 -lsentencepiece $zt_runtime`])
  done
  rm -f conftest_sp.cpp conftest_sp.$OBJEXT conftest_sp$EXEEXT
])
