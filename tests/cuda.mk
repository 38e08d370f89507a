# SPDX-License-Identifier: BSD-3-Clause
# The CUDA path on the CPU.  libcudaemu.a stands in for libcudart, libcublasLt
# and libnccl, so the C files of cuda/ link against it unchanged.  Kernels are
# compiled twice by the host compiler: `checked` is instrumented, every access
# is looked at; `fast` is not.  See tests/cudaemu/emu.h.
#
# A program has tests/cudaemu/emu_libraries.c among its sources, and is linked
# with $(CUDAEMU_CHECKED) or $(CUDAEMU_FAST) before $(ZT_EXTERNAL) and with
# $(CUDAEMU_LIBS) after it.
CUDAEMU_CPPFLAGS = $(CUDAEMU_CFLAGS) -I$(top_srcdir)/tests/cudaemu
CUDAEMU_CHECKED = libztkernels_checked.a libcudaemu.a
CUDAEMU_FAST = libztkernels_fast.a libcudaemu.a
CUDAEMU_LIBS = -lstdc++

CUDAEMU_KERNELS = $(CUDA_KERNELS)
CUDAEMU_USES = \
  tests/cudaemu/emu.h \
  tests/cudaemu/emu_device.h \
  tests/cudaemu/emu_mma.h
CUDAEMU_SOURCES = $(CUDAEMU_USES) \
  tests/cudaemu/emu_collective.cpp \
  tests/cudaemu/emu_core.h \
  tests/cudaemu/emu_cublaslt.cpp \
  tests/cudaemu/emu_fiber.cpp \
  tests/cudaemu/emu_gemm.cpp tests/cudaemu/emu_gemm.h \
  tests/cudaemu/emu_link.cpp tests/cudaemu/emu_link.h \
  tests/cudaemu/emu_memory.cpp \
  tests/cudaemu/emu_mpi.c \
  tests/cudaemu/emu_nccl.cpp tests/cudaemu/emu_nccl.h \
  tests/cudaemu/emu_report.cpp \
  tests/cudaemu/emu_runtime.cpp \
  tests/cudaemu/emu_shadow.cpp \
  tests/cudaemu/emu_stream.cpp \
  tests/cudaemu/emu_tile.cpp
EXTRA_DIST += $(CUDAEMU_SOURCES) tests/cudaemu/emu_libraries.c

SUFFIXES += .checked .fast
CUDAEMU_COMPILE = $(CUDAEMU_CXX) -std=gnu++17 -Wall -Wextra -Wno-unknown-pragmas \
  -ffp-contract=off $(DEFS) $(AM_CPPFLAGS) $(CUDAEMU_CPPFLAGS) $(CPPFLAGS) \
  $(CXXFLAGS) -x c++ -c
.cu.checked:
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_CXX)$(CUDAEMU_COMPILE) -fsanitize=thread -o $@ $<
.cu.fast:
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_CXX)$(CUDAEMU_COMPILE) -o $@ $<

if ZT_HAVE_CUDAEMU
check_LIBRARIES += libcudaemu.a
libcudaemu_a_SOURCES = $(CUDAEMU_SOURCES)
libcudaemu_a_CPPFLAGS = $(AM_CPPFLAGS) $(CUDAEMU_CPPFLAGS)
libcudaemu_a_CXXFLAGS = -std=gnu++17 -Wall -Wextra -Wshadow -O2

check_LIBRARIES += libztkernels_checked.a libztkernels_fast.a
libztkernels_checked_a_SOURCES =
libztkernels_checked_a_LIBADD = $(CUDAEMU_KERNELS:.cu=.checked)
libztkernels_fast_a_SOURCES =
libztkernels_fast_a_LIBADD = $(CUDAEMU_KERNELS:.cu=.fast)
$(CUDAEMU_KERNELS:.cu=.checked) $(CUDAEMU_KERNELS:.cu=.fast): \
  $(CUDAEMU_USES) $(CUDA_INCLUDES)
endif
CLEANFILES += $(CUDAEMU_KERNELS:.cu=.checked) $(CUDAEMU_KERNELS:.cu=.fast)

# What each layer below the program needs comes after it; the double before the
# libraries that it stands in for.
CUDAEMU_LINK = libztprog.a libztcuda.a $(CUDAEMU_CHECKED) $(ZT_LAYERS) \
  libcudaemu.a $(CHECK_LIBS) $(ZT_EXTERNAL) $(CUDAEMU_LIBS)
CUDA_UNIT = tests/cuda_unit.c tests/cuda_unit.h tests/cudaemu/emu_libraries.c
TESTS += tests/run_cuda.sh tests/run_cuda_eval.sh tests/run_cuda_failures.sh \
  tests/run_cuda_generate.sh \
  tests/run_cuda_memory.sh tests/run_ptxas.sh tests/run_without_cuda.sh
EXTRA_DIST += tests/bench/gpu_torch.py tests/emu.sh tests/gpu.sh tests/run_cuda.sh \
  tests/run_cuda_eval.sh \
  tests/run_cuda_failures.sh tests/run_cuda_generate.sh \
  tests/run_cuda_memory.sh tests/run_gpu.sh tests/run_ptxas.sh \
  tests/run_without_cuda.sh \
  tests/check_cuda_attention.c tests/check_cuda_kernels.c \
  tests/check_cuda_comm.c tests/check_cuda_optim.c tests/check_cuda_rows.c tests/cuda_unit.c tests/cuda_unit.h
if ZT_HAVE_CUDAEMU
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_cuda_attention tests/check_cuda_kernels \
  tests/check_cuda_optim tests/check_cuda_rows \
  tests/check_cuda_comm.mpi
TESTS += tests/check_cuda_attention tests/check_cuda_kernels \
  tests/check_cuda_optim tests/check_cuda_rows \
  tests/check_cuda_comm.mpi
tests_check_cuda_comm_mpi_SOURCES = tests/check_cuda_comm.c \
  tests/cudaemu/emu_libraries.c
tests_check_cuda_comm_mpi_CPPFLAGS = $(UNIT_CPPFLAGS) $(CUDAEMU_CPPFLAGS)
tests_check_cuda_comm_mpi_LDADD = $(CUDAEMU_LINK)
tests_check_cuda_optim_SOURCES = tests/check_cuda_optim.c $(CUDA_UNIT)
tests_check_cuda_optim_CPPFLAGS = $(UNIT_CPPFLAGS) $(CUDAEMU_CPPFLAGS)
tests_check_cuda_optim_LDADD = $(CUDAEMU_LINK)
tests_check_cuda_rows_SOURCES = tests/check_cuda_rows.c $(CUDA_UNIT)
tests_check_cuda_rows_CPPFLAGS = $(UNIT_CPPFLAGS) $(CUDAEMU_CPPFLAGS)
tests_check_cuda_rows_LDADD = $(CUDAEMU_LINK)
tests_check_cuda_attention_SOURCES = tests/check_cuda_attention.c $(CUDA_UNIT)
tests_check_cuda_attention_CPPFLAGS = $(UNIT_CPPFLAGS) $(CUDAEMU_CPPFLAGS)
tests_check_cuda_attention_LDADD = $(CUDAEMU_LINK)
tests_check_cuda_kernels_SOURCES = tests/check_cuda_kernels.c $(CUDA_UNIT)
tests_check_cuda_kernels_CPPFLAGS = $(UNIT_CPPFLAGS) $(CUDAEMU_CPPFLAGS)
tests_check_cuda_kernels_LDADD = $(CUDAEMU_LINK)
endif

# The real programs on the double.
check_PROGRAMS += tests/ztgen-emu tests/ztrain-emu
tests_ztgen_emu_SOURCES = src/prog/backends.c src/prog/prompts.c \
  src/prog/stream.c src/prog/ztgen.c tests/cudaemu/emu_libraries.c
tests_ztgen_emu_CPPFLAGS = $(AM_CPPFLAGS) $(CUDAEMU_CPPFLAGS) \
  -DZT_HAVE_CUDA=1 -DZT_HAVE_NCCL=1
tests_ztgen_emu_LDADD = $(CUDAEMU_LINK)
tests_ztrain_emu_SOURCES = src/prog/ztrain.c src/prog/backends.c \
  tests/cudaemu/emu_libraries.c
tests_ztrain_emu_CPPFLAGS = $(AM_CPPFLAGS) $(CUDAEMU_CPPFLAGS) \
  -DZT_HAVE_CUDA=1 -DZT_HAVE_NCCL=1
tests_ztrain_emu_LDADD = $(CUDAEMU_LINK)
src/prog/tests_ztrain_emu-ztrain.$(OBJEXT): config/build_id.h
endif

# The same with CUDA itself, for tests/gpu.sh.
if ZT_HAVE_CUDA
if ZT_HAVE_CHECK
EXTRA_PROGRAMS = tests/check_cuda_attention-gpu tests/check_cuda_kernels-gpu \
  tests/check_cuda_optim-gpu tests/check_cuda_rows-gpu
CLEANFILES += $(EXTRA_PROGRAMS)
tests_check_cuda_attention_gpu_SOURCES = tests/check_cuda_attention.c \
  tests/cuda_unit.c tests/cuda_unit.h
tests_check_cuda_attention_gpu_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_cuda_attention_gpu_LDADD = $(UNIT_LINK)
tests_check_cuda_kernels_gpu_SOURCES = tests/check_cuda_kernels.c \
  tests/cuda_unit.c tests/cuda_unit.h
tests_check_cuda_kernels_gpu_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_cuda_kernels_gpu_LDADD = $(UNIT_LINK)
tests_check_cuda_optim_gpu_SOURCES = tests/check_cuda_optim.c \
  tests/cuda_unit.c tests/cuda_unit.h
tests_check_cuda_optim_gpu_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_cuda_optim_gpu_LDADD = $(UNIT_LINK)
tests_check_cuda_rows_gpu_SOURCES = tests/check_cuda_rows.c \
  tests/cuda_unit.c tests/cuda_unit.h
tests_check_cuda_rows_gpu_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_cuda_rows_gpu_LDADD = $(UNIT_LINK)
endif
endif
