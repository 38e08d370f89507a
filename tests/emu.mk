# SPDX-License-Identifier: BSD-3-Clause
# Tests of the double of CUDA itself.
EMU_UNIT = tests/check_emu_kernels.checked libcudaemu.a
EXTRA_DIST += tests/check_emu_kernels.cu tests/emu_cases.h \
  tests/run_emu_missing.sh
if ZT_HAVE_CUDAEMU
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_emu tests/check_emu_gemm tests/check_emu_nccl \
  tests/check_emu_portable
TESTS += tests/check_emu tests/check_emu_gemm tests/check_emu_nccl \
  tests/check_emu_portable
endif
else
TESTS += tests/run_emu_missing.sh
endif
tests/check_emu_kernels.checked: tests/emu_cases.h cuda/cuda_launch.h \
  $(CUDAEMU_USES)
CLEANFILES += tests/check_emu_kernels.checked zt-nccl.*

EMU_CPPFLAGS = $(UNIT_CPPFLAGS) $(CUDAEMU_CPPFLAGS)
EMU_LINK = $(EMU_UNIT) $(CHECK_LIBS) $(BLAS_LIBS) $(CUDAEMU_LIBS)
tests_check_emu_CPPFLAGS = $(EMU_CPPFLAGS)
tests_check_emu_LDADD = $(EMU_LINK)
tests_check_emu_gemm_CPPFLAGS = $(EMU_CPPFLAGS)
tests_check_emu_gemm_LDADD = $(EMU_LINK)
tests_check_emu_nccl_CPPFLAGS = $(EMU_CPPFLAGS)
tests_check_emu_nccl_LDADD = $(EMU_LINK)
# The same with the context switch of the C library.
tests_check_emu_portable_SOURCES = tests/check_emu.c \
  tests/cudaemu/emu_fiber.cpp
tests_check_emu_portable_CPPFLAGS = $(EMU_CPPFLAGS) -DEMU_UCONTEXT
tests_check_emu_portable_CXXFLAGS = -std=gnu++17 -Wall -Wextra -Wshadow -O2
tests_check_emu_portable_LINK = $(CCLD) $(AM_CFLAGS) $(CFLAGS) $(AM_LDFLAGS) \
  $(LDFLAGS) -o $@
tests_check_emu_portable_LDADD = $(EMU_LINK)
