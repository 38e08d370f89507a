# SPDX-License-Identifier: BSD-3-Clause
# ZT_CUDA: nvcc, the CUDA runtime and NCCL's header, all optional.
#   --with-cuda[=DIR]  the toolkit's folder; found without it: nvcc in the path,
#                      or /usr/local/cuda; no: a program for processors alone
#   --with-nccl[=DIR]  else NCCL of the toolkit, or of the system
#   --with-gencode=... architectures ("80 90") or nvcc's own flags
# The runtime is linked statically.  cuBLASLt and NCCL are loaded when a device
# is opened, so only their headers are needed, and where they lie now is the
# second place they are looked for.  Sets NVCC, NVCCFLAGS, CUDA_CFLAGS,
# CUDA_LIBS, and ZT_HAVE_CUDA and ZT_HAVE_NCCL for make and C.
AC_DEFUN([ZT_CUDA], [
  AC_ARG_WITH([cuda], [AS_HELP_STRING([--with-cuda@<:@=DIR@:>@],
    [CUDA toolkit (optional; no: without)])], [], [with_cuda=auto])
  AC_ARG_WITH([nccl], [AS_HELP_STRING([--with-nccl@<:@=DIR@:>@],
    [NCCL from the prefix DIR (optional; no: without)])], [], [with_nccl=auto])
  AC_ARG_WITH([gencode], [AS_HELP_STRING([--with-gencode=LIST],
    [GPU architectures, "80 90 100" by default; the newest one also as PTX])],
    [], [with_gencode="80 90 100"])
  AC_ARG_VAR([NVCC], [CUDA compiler])
  zt_have_cuda=no zt_have_nccl=no CUDA_CFLAGS= CUDA_LIBS=
  ZT_CUDA_LIBDIR= ZT_NCCL_LIBDIR=
  AS_CASE([$with_cuda], [no], [], [ZT_CUDA_FIND])
  AC_MSG_CHECKING([for CUDA])
  AS_IF([test $zt_have_cuda = yes], [AC_MSG_RESULT([yes, $NVCC])],
    [AC_MSG_RESULT([no])
     AS_CASE([$with_cuda], [auto|no], [],
       [AC_MSG_ERROR([--with-cuda=$with_cuda: no usable CUDA toolkit there (see config.log)])])])
  AS_IF([test $zt_have_cuda = yes && test "$with_nccl" != no], [ZT_NCCL_FIND])
  AC_MSG_CHECKING([for NCCL])
  AC_MSG_RESULT([$zt_have_nccl])
  AS_CASE([$with_nccl:$zt_have_nccl], [auto:*|no:*|*:yes], [],
    [AC_MSG_ERROR([--with-nccl=$with_nccl: no usable NCCL there, or no CUDA])])
  AS_IF([test $zt_have_cuda = yes],
    [AC_DEFINE([ZT_HAVE_CUDA], [1], [The CUDA device is built])])
  AS_IF([test $zt_have_nccl = yes],
    [AC_DEFINE([ZT_HAVE_NCCL], [1], [The communicator over NCCL is built])])
  AC_DEFINE_UNQUOTED([ZT_CUDA_LIBDIR], ["$ZT_CUDA_LIBDIR"],
    [Where cuBLASLt was])
  AC_DEFINE_UNQUOTED([ZT_NCCL_LIBDIR], ["$ZT_NCCL_LIBDIR"], [Where NCCL was])
  AM_CONDITIONAL([ZT_HAVE_CUDA], [test $zt_have_cuda = yes])
  AM_CONDITIONAL([ZT_HAVE_NCCL], [test $zt_have_nccl = yes])
  AC_SUBST([NVCCFLAGS])
  AC_SUBST([CUDA_CFLAGS])
  AC_SUBST([CUDA_LIBS])
])

# The first toolkit that compiles a kernel and links it.
AC_DEFUN([ZT_CUDA_FIND], [
  # No contraction to FMA, as on the processor; what nvcc makes of a file needs
  # no C++ run-time library.
  ZT_NVCCFLAGS="-std=c++17 -O3 --fmad=false -Xcompiler -Wall,-Wextra,-fno-exceptions,-fno-threadsafe-statics"
  AS_CASE([$with_gencode],
    [*gencode*], [ZT_NVCCFLAGS="$ZT_NVCCFLAGS $with_gencode"],
    [for zt_arch in `echo $with_gencode | tr ',' ' '`; do
       zt_arch=`echo $zt_arch | sed 's/^sm_//'`
       ZT_NVCCFLAGS="$ZT_NVCCFLAGS -gencode arch=compute_$zt_arch,code=sm_$zt_arch"
     done
     ZT_NVCCFLAGS="$ZT_NVCCFLAGS -gencode arch=compute_$zt_arch,code=compute_$zt_arch"])
  AS_CASE([" $ZT_CFLAGS "], [*" -Werror "*],
    [ZT_NVCCFLAGS="$ZT_NVCCFLAGS -Werror all-warnings -Xptxas -Werror,-warn-spills"])
  AS_CASE([$with_cuda],
    [yes|auto], [
      zt_nvcc=`command -v nvcc`
      AS_IF([test -n "$zt_nvcc"], [
        zt_nvcc=`readlink -f "$zt_nvcc"`
        zt_nvcc=`dirname "$zt_nvcc"`
        zt_dirs=`dirname "$zt_nvcc"`])
      zt_dirs="$CUDA_HOME $zt_dirs /usr/local/cuda"],
    [zt_dirs=$with_cuda])
  zt_wish=$NVCC
  for zt_dir in $zt_dirs; do
    for zt_lib in "$zt_dir/lib64" "$zt_dir/lib"; do
      AS_IF([test $zt_have_cuda = no && test -d "$zt_lib"], [
        NVCC=${zt_wish:-$zt_dir/bin/nvcc}
        ZT_CUDA_TRY([$zt_dir], [$zt_lib])])
    done
  done
  NVCCFLAGS="$ZT_NVCCFLAGS $NVCCFLAGS"
])

# ZT_CUDA_TRY(DIR, LIBDIR): compile with $NVCC, link with $CC.
AC_DEFUN([ZT_CUDA_TRY], [
  cat > conftest_cu.cu <<'_ZT'
#include <cublasLt.h>
static __global__ void kernel(float *x) { x[[threadIdx.x]] = 1; }
extern "C" int run(float *x) { kernel<<<1, 32>>>(x); return cudaGetLastError(); }
_ZT
  cat > conftest_main.c <<'_ZT'
int run(float *x);
int main(void) { return run(0); }
_ZT
  for zt_libs in "-L$2 -lcudart_static -ldl -lrt -lpthread" \
      "-L$2 -Wl,-rpath,$2 -lcudart -ldl -lpthread"; do
    AS_IF([test $zt_have_cuda = no && {
        $NVCC $ZT_NVCCFLAGS $NVCCFLAGS -c conftest_cu.cu -o conftest_cu.$OBJEXT &&
        $CC $CFLAGS $LDFLAGS conftest_main.c conftest_cu.$OBJEXT \
          -o conftest_cu$EXEEXT $zt_libs; } >&AS_MESSAGE_LOG_FD 2>&1], [
      zt_have_cuda=yes CUDA_CFLAGS="-isystem $1/include" CUDA_LIBS=$zt_libs
      ZT_CUDA_LIBDIR=$2])
  done
  rm -f conftest_cu.cu conftest_main.c conftest_cu.$OBJEXT conftest_cu$EXEEXT
])

AC_DEFUN([ZT_NCCL_FIND], [
  AS_CASE([$with_nccl],
    [auto|yes], [zt_dirs="`dirname $ZT_CUDA_LIBDIR` /usr /usr/local"],
    [zt_dirs=$with_nccl])
  for zt_dir in $zt_dirs; do
    AS_IF([test $zt_have_nccl = no && test -f "$zt_dir/include/nccl.h"], [
      zt_save_CPPFLAGS=$CPPFLAGS
      CPPFLAGS="$CPPFLAGS $CUDA_CFLAGS -isystem $zt_dir/include"
      AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <nccl.h>]],
        [[ncclConfig_t c = NCCL_CONFIG_INITIALIZER; return c.blocking;]])], [
        zt_have_nccl=yes ZT_NCCL_LIBDIR=$zt_dir/lib
        test "$zt_dir/include" = "`dirname $ZT_CUDA_LIBDIR`/include" ||
          test "$zt_dir" = /usr ||
          CUDA_CFLAGS="$CUDA_CFLAGS -isystem $zt_dir/include"])
      CPPFLAGS=$zt_save_CPPFLAGS])
  done
])
