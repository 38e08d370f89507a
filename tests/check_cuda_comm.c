/* SPDX-License-Identifier: BSD-3-Clause */
/* The NCCL communicator on the double: reductions by both carriers are left
 * folds, each link carries the bytes that it has to, and ranks that disagree
 * are told so instead of waiting for each other. */
#include "cuda/comm_nccl.h"
#include "cuda/device_cuda.h"
#include "cudaemu/emu.h"
#include "mpi_unit.h"
#include "numbers.h"

enum {
  GRAIN = 8192,
  PATIENCE = 50, /* seconds that others may take, however busy the machine is */
  LIMIT = 3      /* where they never come */
};
static zt_device *gpu;
static zt_comm *nccl;

static void no_reports(void) {
  long reports = emu_take_reports();
  ck_assert_msg(reports == 0, "%ld reports, the last: %s", reports,
                emu_last_report());
}

/* Exponents wide apart: any other order of adding gives other bits. */
static float gradient_of(int rank, int64_t i) {
  uint64_t bits = numbers_bits((uint64_t) rank, (uint64_t) i);
  return (float) ldexp(numbers_uniform(bits, 0), (int) (bits % 24));
}

static float *on_gpu(const float *values, int64_t n) {
  void *p;
  size_t bytes = (size_t) n * sizeof *values;
  ck_zt_ok(zt_device_allocate(gpu, bytes, &p));
  if (values)
    ck_zt_ok(zt_device_upload(gpu, p, values, bytes));
  return p;
}

static zt_status add_to(void *context, int64_t n, float *to,
                        const float *from) {
  (void) context;
  return zt_accumulate(gpu, n, to, from);
}

/* Slices that this rank sends to another. */
static int64_t slices_to(int to, int contributors) {
  int last = contributors - 1;
  if (to == nccl->rank)
    return 0;
  if (!nccl->chain)
    return nccl->rank <= last;
  return (to == 0) + (nccl->rank == last) +
         (nccl->rank < last && to == nccl->rank + 1 ? nccl->size : 0);
}

static void check_fold(int64_t slice, int contributors) {
  int64_t all = slice * nccl->size, first = slice * nccl->rank;
  size_t bytes = (size_t) slice * sizeof(float);
  float *gradient = malloc((size_t) all * sizeof *gradient);
  float *sum = malloc(bytes), *wanted = malloc(bytes);
  for (int64_t i = 0; i < all; i++)
    gradient[i] = gradient_of(nccl->rank, i);
  for (int64_t i = 0; i < slice; i++) {
    sum[i] = wanted[i] = gradient_of(99, i);
    for (int r = 0; r < contributors; r++)
      wanted[i] += gradient_of(r, first + i);
  }
  size_t staging = zt_comm_fold_staging(nccl) + sizeof(float);
  zt_fold call = {.slice = slice, .contributors = contributors, .add = add_to};
  float *own = on_gpu(gradient, all);
  call.gradient = nccl->rank < contributors ? own : NULL;
  call.accumulator = on_gpu(sum, slice);
  call.staging = on_gpu(NULL, (int64_t) (staging / sizeof(float)));
  ck_zt_ok(zt_device_wait(gpu));
  emu_reset_counts();
  ck_zt_ok(zt_comm_fold(nccl, &call));
  ck_zt_ok(zt_device_download(gpu, sum, call.accumulator, bytes));
  ck_assert_mem_eq(sum, wanted, bytes);
  for (int r = 0; r < nccl->size; r++)
    ck_assert_uint_eq(emu_sent_to(r),
                      (uint64_t) (slices_to(r, contributors) * slice) * 4);
  zt_device_release(gpu, own, (size_t) all * sizeof *own);
  zt_device_release(gpu, call.accumulator, bytes);
  zt_device_release(gpu, call.staging, staging);
  free(gradient);
  free(sum);
  free(wanted);
  no_reports();
}

START_TEST(fold_is_a_left_fold) {
  /* The last one has several chunks. */
  const int64_t slices[] = {1, 63, 4096, 200001};
  nccl->chain = _i % 2;
  for (int s = 0; s < 4; s++)
    for (int contributors = 1; contributors <= nccl->size; contributors++) {
      emu_configure((unsigned) (_i + s), _i < 2 ? EMU_RANDOM : EMU_LATE,
                    EMU_ORDER_FIFO);
      check_fold(slices[s], contributors);
    }
  nccl->chain = false;
}
END_TEST

/* Gathers between memory of the communicator's own. */
START_TEST(memory_is_registered) {
  enum { PARTS = 3 };
  void *all[PARTS];
  size_t bytes = (size_t) GRAIN * (size_t) nccl->size;
  for (int i = 0; i < PARTS; i++) {
    ck_zt_ok(nccl->ops->allocate(nccl, bytes, &all[i]));
    ck_zt_ok(zt_device_zero(gpu, all[i], bytes));
  }
  emu_reset_counts();
  for (int i = 0; i < PARTS; i++)
    ck_zt_ok(zt_comm_all_gather_start(
        nccl, i, (char *) all[i] + (size_t) (GRAIN * nccl->rank), all[i],
        GRAIN));
  for (int i = 0; i < PARTS; i++)
    ck_zt_ok(zt_comm_all_gather_wait(nccl, i));
  const bool single = nccl->size == 1;
  ck_assert_uint_eq(emu_count("nccl registered").launches, single ? 0 : PARTS);
  ck_assert_uint_eq(emu_count("nccl not").launches, single ? PARTS : 0);
  for (int i = 0; i < PARTS; i++)
    nccl->ops->release(nccl, all[i], bytes);
  no_reports();
}
END_TEST

/* The last test: the communicator is not used after it. */
START_TEST(ranks_that_disagree_are_told) {
  if (nccl->size == 1)
    return;
  zt_comm_destroy(&nccl);
  ck_zt_ok(zt_comm_nccl_create(comm, gpu, LIMIT, &nccl));
  size_t bytes = (size_t) (1 + (nccl->rank == 1)) * GRAIN;
  float *all = on_gpu(NULL, 2 * GRAIN / 4 * nccl->size);
  ck_zt_ok(zt_device_zero(gpu, all, 2 * GRAIN * (size_t) nccl->size));
  zt_status status = zt_comm_all_gather_start(
      nccl, 0, (char *) all + (size_t) nccl->rank * bytes, all, bytes);
  if (status == ZT_OK)
    status = zt_comm_all_gather_wait(nccl, 0);
  if (status == ZT_OK)
    status = zt_device_wait(gpu);
  /* Who is late finds the others gone. */
  ck_assert(status == ZT_ERR_HANG || status == ZT_ERR_UNAVAILABLE);
  ck_assert(emu_reported("collectives differ"));
  emu_take_reports();
}
END_TEST

static void open_both(void) {
  ck_zt_ok(zt_device_cuda_create(comm, &gpu));
  ck_zt_ok(zt_comm_nccl_create(comm, gpu, PATIENCE, &nccl));
}

static Suite *make_suite(void) {
  Suite *suite = suite_create("cuda_comm");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_unchecked_fixture(all, open_both, NULL);
  tcase_add_loop_test(all, fold_is_a_left_fold, 0, 4); /* carriers, schedules */
  tcase_add_test(all, memory_is_registered);
  tcase_add_test(all, ranks_that_disagree_are_told);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  return mpi_unit_main(argc, argv, make_suite);
}
