# SPDX-License-Identifier: BSD-3-Clause
CUDA_KERNELS = \
  cuda/cuda_attention.cu \
  cuda/cuda_attention_back.cu \
  cuda/cuda_embedding.cu \
  cuda/cuda_factored.cu \
  cuda/cuda_loss.cu \
  cuda/cuda_norm.cu \
  cuda/cuda_optim.cu \
  cuda/cuda_point.cu \
  cuda/cuda_rows.cu
CUDA_INCLUDES = \
  cuda/cuda_attention.h \
  cuda/cuda_kernels.h \
  cuda/cuda_launch.h \
  cuda/cuda_math.h \
  cuda/cuda_tiles.h
CUDA_HOST = \
  cuda/comm_staged.c cuda/comm_staged.h \
  cuda/cuda_gemm.c \
  cuda/cuda_inside.h \
  cuda/cuda_libraries.c cuda/cuda_libraries.h \
  cuda/cuda_memory.c \
  cuda/device_cuda.c cuda/device_cuda.h
NCCL_HOST = \
  cuda/comm_nccl.c cuda/comm_nccl.h \
  cuda/nccl_library.c cuda/nccl_library.h
EXTRA_DIST += $(CUDA_KERNELS) $(CUDA_INCLUDES) $(CUDA_HOST) $(NCCL_HOST)

# With headers alone the C files are still built, for the tests on a double.
if ZT_CUDA_HEADERS
noinst_LIBRARIES += libztcuda.a
libztcuda_a_SOURCES = $(CUDA_HOST) $(CUDA_NCCL_HOST)
libztcuda_a_CPPFLAGS = $(AM_CPPFLAGS) $(CUDA_HEADERS_CFLAGS)
endif
CUDA_NCCL_HOST =
if ZT_NCCL_HEADERS
CUDA_NCCL_HOST += $(NCCL_HOST)
endif

if ZT_HAVE_CUDA
noinst_LIBRARIES += libztkernels.a
libztkernels_a_SOURCES = $(CUDA_KERNELS) $(CUDA_INCLUDES)
ZT_LAYERS += libztcuda.a libztkernels.a
ZT_EXTERNAL += $(CUDA_LIBS)
endif

# Flags of one library do not reach these objects: all of them are in NVCCFLAGS.
# What ptxas says of registers and spills is kept for tests/run_ptxas.sh.
SUFFIXES += .cu
AM_V_NVCC = $(am__v_NVCC_@AM_V@)
am__v_NVCC_ = $(am__v_NVCC_@AM_DEFAULT_V@)
am__v_NVCC_0 = @echo "  NVCC    " $@;
am__v_NVCC_1 =
.cu.o:
	$(AM_V_at)$(MKDIR_P) $(@D)
	$(AM_V_NVCC)$(NVCC) $(NVCCFLAGS) -Xptxas -v -I$(top_srcdir)/src \
	  -I$(top_srcdir) -MMD -MP -MF $(@:.o=.d) -MT $@ -c -o $@ $< \
	  >$(@:.o=.ptxas) 2>&1; code=$$?; \
	  grep -v -e '^ptxas info' -e 'bytes stack frame' $(@:.o=.ptxas); \
	  exit $$code
-include cuda/*.d
CLEANFILES += cuda/*.d cuda/*.ptxas
