# SPDX-License-Identifier: BSD-3-Clause
# The CUDA path on the CPU.  libcudaemu.a stands in for libcudart, libcublasLt
# and libnccl, so the C files of cuda/ link against it unchanged.  Kernels are
# compiled twice by the host compiler: `checked` is instrumented, every access
# is looked at; `fast` is not.  See tests/cudaemu/emu.h.
#
# A program of C files is linked with $(CUDAEMU_CHECKED) or $(CUDAEMU_FAST)
# before $(ZT_EXTERNAL), and compiled with $(CUDAEMU_CPPFLAGS).
CUDAEMU_CPPFLAGS = $(CUDAEMU_CFLAGS) -I$(top_srcdir)/tests/cudaemu
CUDAEMU_CHECKED = libztkernels_checked.a libcudaemu.a
CUDAEMU_FAST = libztkernels_fast.a libcudaemu.a
CUDAEMU_LIBS = -lstdc++

# Kernel files; all of cuda/*.cu.
CUDAEMU_KERNELS =
CUDAEMU_USES = \
  tests/cudaemu/emu.h \
  tests/cudaemu/emu_device.h \
  tests/cudaemu/emu_mma.h

SUFFIXES = .cu .checked .fast
CUDAEMU_COMPILE = $(CXX) -std=gnu++17 -Wall -Wextra -Wno-unknown-pragmas \
  -ffp-contract=off $(DEFS) $(AM_CPPFLAGS) $(CUDAEMU_CPPFLAGS) $(CPPFLAGS) \
  $(CXXFLAGS) -x c++ -c
.cu.checked:
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_CXX)$(CUDAEMU_COMPILE) -fsanitize=thread -o $@ $<
.cu.fast:
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_CXX)$(CUDAEMU_COMPILE) -o $@ $<
