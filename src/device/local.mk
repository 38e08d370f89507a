# SPDX-License-Identifier: BSD-3-Clause
noinst_LIBRARIES += libztdevice.a
ZT_LAYERS += libztdevice.a
libztdevice_a_SOURCES = \
  src/device/cpu_attention.c \
  src/device/cpu_bf16.c \
  src/device/cpu_device.h \
  src/device/cpu_gemm.c \
  src/device/cpu_step.c \
  src/device/device.c src/device/device.h \
  src/device/device_check.c src/device/device_check.h \
  src/device/device_cpu.c src/device/device_cpu.h \
  src/device/device_null.c src/device/device_null.h

# The kernels, once for each set.  Functions that take vectors are all inlined,
# so how those are passed (-Wpsabi) does not matter.
CPU_KERNELS = \
  src/device/cpu_kernels.h src/device/cpu_lanes.h src/device/cpu_vec.h \
  src/device/cpu_factored.c \
  src/device/cpu_loss.c \
  src/device/cpu_norm.c \
  src/device/cpu_optim.c \
  src/device/cpu_panel.c \
  src/device/cpu_point.c \
  src/device/cpu_rope.c \
  src/device/cpu_row_attention.c \
  src/device/cpu_rows.c \
  src/device/cpu_round.c \
  src/device/cpu_small.c \
  src/device/cpu_softmax.c \
  src/device/cpu_table.c

noinst_LIBRARIES += libztportable.a
ZT_LAYERS += libztportable.a
libztportable_a_SOURCES = $(CPU_KERNELS)
libztportable_a_CPPFLAGS = $(AM_CPPFLAGS) -DZT_KERNEL_SET=portable
libztportable_a_CFLAGS = $(AM_CFLAGS) -Wno-psabi
if ZT_SET_AVX2
noinst_LIBRARIES += libztavx2.a
ZT_LAYERS += libztavx2.a
libztavx2_a_SOURCES = $(CPU_KERNELS)
libztavx2_a_CPPFLAGS = $(AM_CPPFLAGS) -DZT_KERNEL_SET=avx2
libztavx2_a_CFLAGS = $(AM_CFLAGS) -Wno-psabi -mavx2 -mfma
endif
if ZT_SET_AVX512
noinst_LIBRARIES += libztavx512.a
ZT_LAYERS += libztavx512.a
libztavx512_a_SOURCES = $(CPU_KERNELS)
libztavx512_a_CPPFLAGS = $(AM_CPPFLAGS) -DZT_KERNEL_SET=avx512
libztavx512_a_CFLAGS = $(AM_CFLAGS) -Wno-psabi -mavx512f -mavx512bw -mavx512dq \
  -mavx512vl -mprefer-vector-width=512
endif
