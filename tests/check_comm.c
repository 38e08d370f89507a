/* SPDX-License-Identifier: BSD-3-Clause */
/* Collectives: each against what one process computes by itself. */
#include "comm/agree.h"
#include "comm/comm_null.h"
#include "mpi_unit.h"
#include "numbers.h"

#include <stdio.h>

enum { GRAIN = 8192 }; /* bytes that slices are a multiple of */

/* ---- All-gather ---- */

typedef struct gather {
  size_t bytes;
  unsigned char *slice, *full;
} gather;

static unsigned char byte_of(int rank, int slot, size_t i) {
  return (unsigned char) numbers_bits((uint64_t) (rank * 16 + slot), i / 8);
}

/* In place if the slot is odd. */
static gather start_gather(int slot, size_t grains) {
  size_t bytes = grains * GRAIN;
  gather g = {.bytes = bytes};
  g.full = malloc(bytes * (size_t) comm->size);
  g.slice = slot % 2 ? g.full + bytes * (size_t) comm->rank : malloc(bytes);
  for (size_t i = 0; i < bytes; i++)
    g.slice[i] = byte_of(comm->rank, slot, i);
  ck_zt_ok(zt_comm_all_gather_start(comm, slot, g.slice, g.full, bytes));
  return g;
}

static void end_gather(int slot, gather *g) {
  ck_zt_ok(zt_comm_all_gather_wait(comm, slot));
  for (int r = 0; r < comm->size; r++)
    for (size_t i = 0; i < g->bytes; i++)
      if (g->full[(size_t) r * g->bytes + i] != byte_of(r, slot, i))
        ck_abort_msg("slot %d: byte %zu of rank %d", slot, i, r);
  if (slot % 2 == 0)
    free(g->slice);
  free(g->full);
}

START_TEST(gathers_under_way_at_once) {
  const size_t grains[][ZT_COMM_SLOTS] = {
      {1, 1, 2, 3}, {5, 1, 40, 1}, {17, 33, 1, 64}};
  gather g[ZT_COMM_SLOTS];
  for (size_t i = 0; i < sizeof grains / sizeof *grains; i++)
    for (int pending = 1; pending <= ZT_COMM_SLOTS; pending++) {
      for (int s = 0; s < pending; s++)
        g[s] = start_gather(s, grains[i][s]);
      for (int s = 0; s < pending; s++) { /* not in the order of starting */
        int slot = i % 2 ? s : pending - 1 - s;
        end_gather(slot, &g[slot]);
      }
    }
  unsigned char byte = 0;
  ck_zt_fails(zt_comm_all_gather_start(comm, 0, &byte, &byte, GRAIN - 1),
              ZT_ERR_INTERNAL);
}
END_TEST

/* ---- Ordered reduction ---- */

enum { MOST_RANKS = 16 };
static uint64_t sent_to[MOST_RANKS]; /* bytes of reductions */

/* In place of the library's: counts. */
int MPI_Isend(const void *data, int n, MPI_Datatype type, int to, int tag,
              MPI_Comm handle, MPI_Request *request) {
  int size;
  MPI_Type_size(type, &size);
  sent_to[to] += (uint64_t) n * (uint64_t) size;
  return PMPI_Isend(data, n, type, to, tag, handle, request);
}

/* Slices that a rank sends to another. */
static int64_t slices_to(int to, int contributors) {
  int last = contributors - 1, slices = 0;
  if (to == comm->rank)
    return 0;
  if (!comm->chain)
    return comm->rank <= last;
  slices += to == 0;                             /* to begin */
  slices += comm->rank == last;                  /* the result */
  if (comm->rank < last && to == comm->rank + 1) /* partial sums */
    slices += comm->size;
  return slices;
}

static void check_links(int64_t slice, int contributors, uint64_t counted) {
  uint64_t all = 0;
  for (int r = 0; r < comm->size; r++) {
    int64_t wanted = slices_to(r, contributors) * slice * 4;
    ck_assert_int_eq((int64_t) sent_to[r], wanted);
    all += sent_to[r];
  }
  ck_assert_uint_eq(counted, all);
}

/* Exponents wide apart: any other order of adding gives other bits. */
static float gradient_of(int rank, int64_t i) {
  uint64_t bits = numbers_bits((uint64_t) rank, (uint64_t) i);
  return (float) ldexp(numbers_uniform(bits, 0), (int) (bits % 24));
}

static zt_status add_to(void *context, int64_t n, float *to,
                        const float *from) {
  (void) context;
  for (int64_t i = 0; i < n; i++)
    to[i] += from[i];
  return ZT_OK;
}

static void check_fold(int64_t slice, int contributors) {
  size_t all = (size_t) (slice * comm->size);
  int64_t first = slice * comm->rank;
  float *gradient = NULL, *acc = malloc((size_t) slice * sizeof *acc);
  float *wanted = malloc((size_t) slice * sizeof *wanted);
  if (comm->rank < contributors) {
    gradient = malloc(all * sizeof *gradient);
    for (size_t i = 0; i < all; i++)
      gradient[i] = gradient_of(comm->rank, (int64_t) i);
  }
  for (int64_t i = 0; i < slice; i++) {
    acc[i] = wanted[i] = gradient_of(99, i);
    for (int r = 0; r < contributors; r++)
      wanted[i] += gradient_of(r, first + i);
  }
  zt_fold call = {.gradient = gradient,
                  .slice = slice,
                  .contributors = contributors,
                  .staging = malloc(zt_comm_fold_staging(comm) + 1),
                  .accumulator = acc,
                  .add = add_to};
  uint64_t before = comm->reduced_bytes;
  memset(sent_to, 0, sizeof sent_to);
  ck_zt_ok(zt_comm_fold(comm, &call));
  check_links(slice, contributors, comm->reduced_bytes - before);
  ck_assert_mem_eq(acc, wanted, (size_t) slice * sizeof *acc);
  free(call.staging);
  free(gradient);
  free(acc);
  free(wanted);
}

START_TEST(fold_is_a_left_fold) {
  /* The last one is longer than the staging of one contributor. */
  comm->chain = _i;
  ck_assert_int_le(comm->size, MOST_RANKS);
  const int64_t slices[] = {1, 63, 4096, 40960, 200001, (1 << 20) + 4096};
  for (size_t i = 0; i < sizeof slices / sizeof *slices; i++)
    for (int contributors = 1; contributors <= comm->size; contributors++)
      check_fold(slices[i], contributors);
  comm->chain = false;
}
END_TEST

START_TEST(fold_refuses_wrong_contributors) {
  float x = 0;
  zt_fold call = {.gradient = &x, .slice = 1, .add = add_to};
  ck_zt_fails(zt_comm_fold(comm, &call), ZT_ERR_INTERNAL);
  call.contributors = comm->size + 1;
  ck_zt_fails(zt_comm_fold(comm, &call), ZT_ERR_INTERNAL);
  call.contributors = comm->size;
  call.gradient = NULL;
  ck_zt_fails(zt_comm_fold(comm, &call), ZT_ERR_INTERNAL);
}
END_TEST

/* ---- Integers and bytes ---- */

static int64_t integer_of(int rank, int i) {
  return (int64_t) numbers_bits((uint64_t) rank + 50, (uint64_t) i) >> 2;
}

START_TEST(integers_are_reduced) {
  enum { MOST = 1000 };
  int64_t sums[MOST], most[MOST];
  const int counts[] = {0, 1, 2, 3, 127, MOST};
  for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
    for (int i = 0; i < counts[c]; i++)
      sums[i] = most[i] = integer_of(comm->rank, i);
    ck_zt_ok(zt_comm_all_reduce(comm, sums, counts[c], ZT_SUM));
    ck_zt_ok(zt_comm_all_reduce(comm, most, counts[c], ZT_MAX));
    for (int i = 0; i < counts[c]; i++) {
      uint64_t sum = 0;
      int64_t largest = INT64_MIN;
      for (int r = 0; r < comm->size; r++) {
        sum += (uint64_t) integer_of(r, i);
        if (integer_of(r, i) > largest)
          largest = integer_of(r, i);
      }
      ck_assert_int_eq(sums[i], (int64_t) sum);
      ck_assert_int_eq(most[i], largest);
    }
  }
}
END_TEST

START_TEST(bytes_are_broadcast) {
  const size_t sizes[] = {0, 1, 3, 511, 4097, (1 << 20) + 7};
  unsigned char *bytes = malloc((1 << 20) + 8);
  for (int root = 0; root < comm->size; root++)
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
      for (size_t i = 0; i < sizes[s]; i++)
        bytes[i] = byte_of(comm->rank, 3, i);
      bytes[sizes[s]] = 0xA5;
      ck_zt_ok(zt_comm_broadcast(comm, bytes, sizes[s], root));
      for (size_t i = 0; i < sizes[s]; i++)
        if (bytes[i] != byte_of(root, 3, i))
          ck_abort_msg("byte %zu of %zu from %d", i, sizes[s], root);
      ck_assert_uint_eq(bytes[sizes[s]], 0xA5);
    }
  free(bytes);
}
END_TEST

/* ---- Agreement ---- */

/* Every subset of ranks fails, each rank in its own way. */
START_TEST(the_lowest_failing_rank_speaks) {
  static const zt_status ways[] = {ZT_ERR_IO, ZT_ERR_DIVERGED, ZT_ERR_DATA};
  for (unsigned subset = 0; subset < 1u << comm->size; subset++) {
    zt_status own = ZT_OK;
    char wanted[64];
    if (subset >> comm->rank & 1)
      own = zt_fail(ways[comm->rank % 3], "disk %d is full", comm->rank);
    zt_status agreed = zt_agree(comm, own);
    if (subset == 0) {
      ck_assert_int_eq(agreed, ZT_OK);
      continue;
    }
    int lowest = __builtin_ctz(subset);
    if (comm->size > 1)
      snprintf(wanted, sizeof wanted, "rank %d: disk %d is full", lowest,
               lowest);
    else
      snprintf(wanted, sizeof wanted, "disk 0 is full");
    ck_assert_int_eq(agreed, ways[lowest % 3]);
    ck_assert_str_eq(zt_last_error(), wanted);
  }
}
END_TEST

/* The longest message still fits and ends. */
START_TEST(long_messages_are_cut) {
  char text[ZT_MESSAGE_SIZE + 100];
  memset(text, 'x', sizeof text);
  text[sizeof text - 1] = '\0';
  ck_zt_fails(zt_agree(comm, zt_fail(ZT_ERR_IO, "%s", text)), ZT_ERR_IO);
  ck_assert_uint_lt(strlen(zt_last_error()), ZT_MESSAGE_SIZE);
  ck_assert_uint_gt(strlen(zt_last_error()), ZT_MESSAGE_SIZE - 64);
}
END_TEST

/* ---- The rest ---- */

START_TEST(ranks_of_a_node) {
  zt_comm fake = {.size = 6, .node_of = (int[]){0, 0, 2, 2, 2, 0}};
  const int wanted[][2] = {{0, 2}, {0, 2}, {2, 3}, {2, 3}, {2, 3}, {5, 1}};
  int first, count;
  for (int r = 0; r < fake.size; r++) {
    zt_comm_node_range(&fake, r, &first, &count);
    ck_assert_int_eq(first, wanted[r][0]);
    ck_assert_int_eq(count, wanted[r][1]);
  }
  zt_comm_node_range(comm, comm->rank, &first, &count); /* one machine */
  ck_assert_int_eq(first, 0);
  ck_assert_int_eq(count, comm->size);
}
END_TEST

START_TEST(the_null_communicator_counts) {
  zt_comm *null;
  ck_zt_ok(zt_comm_null_create(1, 4, &null));
  ck_zt_ok(zt_comm_all_gather_start(null, 0, NULL, NULL, 2 * GRAIN));
  ck_zt_ok(zt_comm_all_gather_wait(null, 0));
  ck_assert_uint_eq(null->gathered_bytes, 3 * 2 * GRAIN);
  float x[8] = {0}, acc[8] = {0};
  zt_fold call = {.gradient = x, .slice = 8, .contributors = 3};
  call.staging = x;
  call.add = add_to;
  call.accumulator = acc;
  ck_zt_ok(zt_comm_fold(null, &call));
  ck_assert_uint_eq(null->reduced_bytes, 3 * 8 * sizeof(float));
  ck_assert_uint_gt(zt_comm_fold_staging(null), 0);
  zt_comm_destroy(&null);
  zt_comm_destroy(&null);
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("comm");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_test(all, gathers_under_way_at_once);
  tcase_add_loop_test(all, fold_is_a_left_fold, 0, 2); /* carriers */
  tcase_add_test(all, fold_refuses_wrong_contributors);
  tcase_add_test(all, integers_are_reduced);
  tcase_add_test(all, bytes_are_broadcast);
  tcase_add_test(all, the_lowest_failing_rank_speaks);
  tcase_add_test(all, long_messages_are_cut);
  tcase_add_test(all, ranks_of_a_node);
  tcase_add_test(all, the_null_communicator_counts);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  return mpi_unit_main(argc, argv, make_suite);
}
