# SPDX-License-Identifier: BSD-3-Clause
if ZT_HAVE_CHECK
check_PROGRAMS += tests/check_bf16 tests/check_kernels tests/check_kernel_values \
  tests/check_device tests/check_attention tests/check_ops tests/check_loss tests/check_pass \
  tests/check_t5 tests/check_parity tests/check_schedule tests/check_step \
  tests/check_comm.mpi tests/check_optim.mpi tests/check_ranks.mpi \
  tests/check_plan.mpi tests/check_generate.mpi
TESTS += tests/check_bf16 tests/check_kernels tests/check_kernel_values tests/check_device \
  tests/check_attention tests/check_ops tests/check_loss tests/check_pass tests/check_t5 \
  tests/check_parity tests/check_schedule tests/check_step \
  tests/check_comm.mpi tests/check_optim.mpi tests/check_ranks.mpi \
  tests/check_plan.mpi tests/check_generate.mpi
endif
# Whole programs.
check_PROGRAMS += tests/peak
TESTS += tests/run_bits.sh tests/run_bf16.sh tests/run_faults.sh tests/run_wrong_input.sh \
  tests/run_surroundings.sh \
  tests/run_resume.sh tests/run_memory.sh tests/run_pipeline.sh \
  tests/run_carriers.sh
EXTRA_DIST += tests/lib.sh tests/run_bits.sh tests/run_bf16.sh tests/run_carriers.sh tests/run_faults.sh \
  tests/run_wrong_input.sh tests/run_surroundings.sh tests/run_resume.sh tests/run_memory.sh \
  tests/run_pipeline.sh tests/long.sh
tests_peak_LDADD =
EXTRA_DIST += tests/kernel_sets.h tests/mpi_unit.h tests/numbers.h \
  tests/golden/t5v10tiny/after10.safetensors \
  tests/golden/t5v10tiny/golden.json \
  tests/golden/t5v10tiny/grads.safetensors \
  tests/golden/t5v10tiny/io.safetensors \
  tests/golden/t5v11tiny/after10.safetensors \
  tests/golden/t5v11tiny/golden.json \
  tests/golden/t5v11tiny/grads.safetensors \
  tests/golden/t5v11tiny/io.safetensors
# Programs that train small models.
TRAIN_UNIT = tests/train_unit.c tests/train_unit.h tests/golden.c \
  tests/golden.h
tests_check_bf16_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_bf16_LDADD = $(UNIT_LINK)
tests_check_kernels_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_kernels_LDADD = $(UNIT_LINK)
tests_check_kernel_values_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_kernel_values_LDADD = $(UNIT_LINK)
tests_check_device_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_device_LDADD = $(UNIT_LINK)
tests_check_attention_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_attention_LDADD = $(UNIT_LINK)
tests_check_loss_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_loss_LDADD = $(UNIT_LINK)
tests_check_ops_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_ops_LDADD = $(UNIT_LINK)
tests_check_pass_SOURCES = tests/check_pass.c $(TRAIN_UNIT)
tests_check_pass_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_pass_LDADD = $(UNIT_LINK)
tests_check_t5_SOURCES = tests/check_t5.c tests/golden.c tests/golden.h
tests_check_t5_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_t5_LDADD = $(UNIT_LINK)
tests_check_parity_SOURCES = tests/check_parity.c tests/golden.c \
  tests/golden.h
tests_check_parity_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_parity_LDADD = $(UNIT_LINK)
tests_check_schedule_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_schedule_LDADD = $(UNIT_LINK)
tests_check_step_SOURCES = tests/check_step.c $(TRAIN_UNIT)
tests_check_step_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_step_LDADD = $(UNIT_LINK)
tests_check_comm_mpi_SOURCES = tests/check_comm.c
tests_check_comm_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_comm_mpi_LDADD = $(UNIT_LINK)
tests_check_optim_mpi_SOURCES = tests/check_optim.c $(TRAIN_UNIT)
tests_check_optim_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_optim_mpi_LDADD = $(UNIT_LINK)
tests_check_ranks_mpi_SOURCES = tests/check_ranks.c $(TRAIN_UNIT)
tests_check_ranks_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_ranks_mpi_LDADD = $(UNIT_LINK)
tests_check_plan_mpi_SOURCES = tests/check_plan.c $(TRAIN_UNIT)
tests_check_plan_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_plan_mpi_LDADD = $(UNIT_LINK)
tests_check_generate_mpi_SOURCES = tests/check_generate.c tests/golden.c \
  tests/golden.h
tests_check_generate_mpi_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_check_generate_mpi_LDADD = $(UNIT_LINK)
