# SPDX-License-Identifier: BSD-3-Clause
# ZT_CUDAEMU: whether the tests can run the CUDA path on the CPU.  That needs
# NVIDIA's headers (CUDA runtime, cuBLASLt, NCCL) and g++, which instruments
# every access to memory (clang++ leaves some out), but neither nvcc nor a
# device.  The headers are looked for in --with-cuda=DIR, beside nvcc, and in
# /usr/local/cuda.  Sets CUDAEMU_CXX, CUDAEMU_CFLAGS, zt_have_cudaemu and
# ZT_HAVE_CUDAEMU for make.
AC_DEFUN([ZT_CUDAEMU], [
  AC_REQUIRE([AC_PROG_CXX])
  zt_have_cudaemu=no CUDAEMU_CFLAGS=
  AC_MSG_CHECKING([for the CUDA headers, to test without a device])
  AS_CASE([$with_cuda], [auto|yes|no|''], [zt_dirs=], [zt_dirs=$with_cuda])
  zt_nvcc=`command -v nvcc`
  AS_IF([test -n "$zt_nvcc"], [
    zt_nvcc=`readlink -f "$zt_nvcc"`
    zt_nvcc=`dirname "$zt_nvcc"`
    zt_dirs="$zt_dirs `dirname "$zt_nvcc"`"])
  for zt_dir in $zt_dirs /usr/local/cuda; do
    for CUDAEMU_CXX in "$CXX" g++; do
      test $zt_have_cudaemu = no || break 2
      cat > conftest_emu.cpp <<_ZT
#ifdef __clang__
#error not g++
#endif
#include <cuda_runtime_api.h>
#include <cublasLt.h>
#include <nccl.h>
int x = NCCL_VERSION_CODE;
_ZT
      AS_IF([{ $CUDAEMU_CXX $CXXFLAGS $CPPFLAGS -std=c++17 -fsanitize=thread \
          -I$zt_dir/include -c conftest_emu.cpp \
          -o conftest_emu.$OBJEXT; } >&AS_MESSAGE_LOG_FD 2>&1],
        [zt_have_cudaemu=yes CUDAEMU_CFLAGS="-isystem $zt_dir/include"])
      rm -f conftest_emu.cpp conftest_emu.$OBJEXT
    done
  done
  AC_MSG_RESULT([$zt_have_cudaemu $CUDAEMU_CFLAGS])
  AC_SUBST([CUDAEMU_CXX])
  AC_SUBST([CUDAEMU_CFLAGS])
  AM_CONDITIONAL([ZT_HAVE_CUDAEMU], [test $zt_have_cudaemu = yes])
])
