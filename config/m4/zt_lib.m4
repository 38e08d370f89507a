# SPDX-License-Identifier: BSD-3-Clause
# ZT_LIB(NAME, PKG-CONFIG MODULES, LIBRARIES, PROGRAM, DEBIAN, FEDORA, SPACK, [OPTIONAL])
# Looks for a library in --with-NAME=DIR, then by pkg-config, then in the
# default places, and links PROGRAM (made by AC_LANG_PROGRAM) to be sure.  Sets
# NAME_CFLAGS and NAME_LIBS (upper case) and zt_have_NAME.  What is missing is
# collected, so that ZT_LIB_REPORT can name all of it at once.
AC_DEFUN([ZT_LIB], [
  AC_ARG_WITH([$1], [AS_HELP_STRING([--with-$1=DIR],
    [$1 from the prefix DIR]m4_ifval([$8], [[ (optional; no: without)]]))],
    [], [with_$1=yes])
  AS_VAR_PUSHDEF([zt_cflags], [m4_toupper([$1])_CFLAGS])
  AS_VAR_PUSHDEF([zt_libs], [m4_toupper([$1])_LIBS])
  zt_have_$1=no
  AS_CASE([$with_$1],
    [no], [],
    [yes], [
      for zt_module in $2; do
        AS_IF([test -n "$PKG_CONFIG" && $PKG_CONFIG --exists $zt_module], [
          zt_cflags=`$PKG_CONFIG --cflags $zt_module`
          zt_libs=`$PKG_CONFIG --libs $zt_module`
          ZT_LIB_TRY([$1], [$4])])
        test $zt_have_$1 = no || break
      done
      AS_IF([test $zt_have_$1 = no], [
        zt_cflags= zt_libs="$3"
        ZT_LIB_TRY([$1], [$4])])],
    [
      for zt_dir in lib lib64; do
        AS_IF([test $zt_have_$1 = no && test -d "$with_$1/$zt_dir"], [
          zt_cflags="-I$with_$1/include"
          zt_libs="-L$with_$1/$zt_dir -Wl,-rpath,$with_$1/$zt_dir $3"
          ZT_LIB_TRY([$1], [$4])])
      done])
  AC_MSG_CHECKING([for $1])
  AS_IF([test $zt_have_$1 = yes], [AC_MSG_RESULT([yes $zt_libs])],
    [zt_cflags= zt_libs=
     AC_MSG_RESULT([no])
     m4_ifval([$8],
      [AS_CASE([$with_$1], [yes|no], [],
        [AC_MSG_ERROR([--with-$1=$with_$1: no usable $1 there])])],
      [AS_VAR_APPEND([zt_missing], ["
  $1: Debian '$5', Fedora '$6', Spack '$7', or --with-$1=DIR"])])])
  AC_SUBST(m4_toupper([$1])[_CFLAGS])
  AC_SUBST(m4_toupper([$1])[_LIBS])
  AS_VAR_POPDEF([zt_cflags])
  AS_VAR_POPDEF([zt_libs])
])

# One trial link with the flags found for NAME.
AC_DEFUN([ZT_LIB_TRY], [
  zt_save_CPPFLAGS=$CPPFLAGS zt_save_LIBS=$LIBS
  CPPFLAGS="$CPPFLAGS $zt_cflags" LIBS="$zt_libs $LIBS"
  AC_LINK_IFELSE([$2], [zt_have_$1=yes], [])
  CPPFLAGS=$zt_save_CPPFLAGS LIBS=$zt_save_LIBS
])

AC_DEFUN([ZT_LIB_REPORT], [
  AS_IF([test -n "$zt_missing"], [
    AC_MSG_ERROR([these libraries are missing or unusable (see config.log):$zt_missing])])
])
