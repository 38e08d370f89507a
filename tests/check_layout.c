/* SPDX-License-Identifier: BSD-3-Clause */
/* Tables of parameters, and who owns which elements. */
#include "layout/params.h"

#include "layout/shard.h"
#include "numbers.h"
#include "unit.h"

#include <stdio.h>

/* ---- Tables ---- */

static const zt_init init = {0.5, 0};

/* Three units of 3, 1 and 2 parameters. */
static zt_params make_params(void) {
  zt_params p = {0};
  const int64_t dims[] = {5, 4, 3, 2};
  int index = -1;
  ck_zt_ok(zt_params_begin_unit(&p, "u0"));
  ck_zt_ok(zt_params_add(&p, "m", 2, dims, true, init, &index));
  ck_assert_int_eq(index, 0);
  ck_zt_ok(zt_params_add(&p, "a", 1, dims, false, init, NULL));
  ck_zt_ok(zt_params_add(&p, "z", 4, dims, true, init, NULL));
  ck_zt_ok(zt_params_begin_unit(&p, "u1"));
  ck_zt_ok(zt_params_add(&p, "scalar", 0, NULL, false, init, NULL));
  ck_zt_ok(zt_params_begin_unit(&p, "u2"));
  ck_zt_ok(zt_params_add(&p, "b", 1, dims, false, init, NULL));
  ck_zt_ok(zt_params_add(&p, "c", 3, dims, false, init, &index));
  ck_assert_int_eq(index, 5);
  ck_zt_ok(zt_params_add_alias(&p, "also.m", 0));
  return p;
}

START_TEST(parameters_have_their_places) {
  zt_params p = make_params();
  ck_zt_ok(zt_params_finish(&p));
  ck_assert_int_eq(p.numel, 20 + 5 + 120 + 1 + 5 + 60);
  ck_assert_int_eq(zt_params_largest_unit(&p), 145);
  ck_assert_int_eq(p.units[2].start, 146);
  ck_assert_int_eq(p.units[2].first, 4);
  ck_assert_int_eq(p.list[2].at, 25);
  const char *const names[] = {"m", "a", "z", "scalar", "b", "c"};
  for (int i = 0; i < p.count; i++) {
    ck_assert_int_eq(zt_params_find(&p, names[i]), i);
    ck_assert_int_eq(zt_params_find_any(&p, names[i]), i);
    int64_t first = p.units[p.list[i].unit].start + p.list[i].at;
    for (int64_t e = 0; e < p.list[i].numel; e++)
      ck_assert_int_eq(zt_params_at(&p, first + e), i);
  }
  ck_assert_int_eq(zt_params_find(&p, "also.m"), -1);
  ck_assert_int_eq(zt_params_find_any(&p, "also.m"), 0);
  ck_assert_int_eq(zt_params_find_any(&p, "none"), -1);
  ck_assert_int_eq(zt_params_find(&p, ""), -1);
  zt_params_free(&p);
  zt_params_free(&p);
}
END_TEST

START_TEST(impossible_tables_are_refused) {
  zt_params p = make_params();
  const int64_t large[] = {1 << 30, 1 << 30, 1 << 30}, none[] = {3, 0};
  ck_zt_fails(zt_params_add(&p, "big", 3, large, true, init, NULL),
              ZT_ERR_DATA);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "big"));
  zt_params_free(&p);
  p = make_params();
  ck_zt_fails(zt_params_add(&p, "none", 2, none, true, init, NULL),
              ZT_ERR_DATA);
  zt_params_free(&p);
  p = make_params();
  for (int i = 0; i < 7; i++)
    ck_zt_ok(zt_params_add(&p, "x", 2, large, true, init, NULL));
  ck_zt_fails(zt_params_add(&p, "x", 2, large, true, init, NULL), ZT_ERR_DATA);
  zt_params_free(&p);
  p = make_params();
  ck_zt_ok(zt_params_add(&p, "a", 0, NULL, true, init, NULL));
  ck_zt_fails(zt_params_finish(&p), ZT_ERR_DATA);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "twice"));
  zt_params_free(&p);
}
END_TEST

START_TEST(shapes_as_text) {
  char text[96];
  const int64_t most = INT64_MAX, dims[] = {most, most, most, most};
  ck_assert_str_eq(zt_shape_text(2, (int64_t[]){32128, 512}, text),
                   "[32128,512]");
  ck_assert_str_eq(zt_shape_text(0, NULL, text), "[]");
  ck_assert_uint_lt(strlen(zt_shape_text(4, dims, text)), 96);
}
END_TEST

/* ---- Slices ---- */

/* Each element of a unit has one owner, and slices begin on the grid. */
static void check_ranges(int64_t numel, int ranks) {
  int64_t slice = zt_shard_slice(numel, ranks), at = 0, begin, end;
  ck_assert(slice % ZT_GRID == 0 && slice * ranks >= numel);
  /* No rank has a whole cell of padding more than it needs. */
  ck_assert((slice - ZT_GRID) * ranks < numel);
  for (int r = 0; r < ranks; r++) {
    zt_shard_range(numel, ranks, r, 1, &begin, &end);
    if (begin != at || end < begin || end > numel || end - begin > slice)
      ck_abort_msg("%ld on %d ranks: rank %d has %ld .. %ld", (long) numel,
                   ranks, r, (long) begin, (long) end);
    at = end;
  }
  ck_assert_int_eq(at, numel);
  for (int first = 0; first < ranks; first += 1 + ranks / 5) {
    int64_t b, e;
    int count = 1 + (ranks - first) / 2;
    zt_shard_range(numel, ranks, first, count, &begin, &end);
    zt_shard_range(numel, ranks, first, 1, &b, &e);
    ck_assert_int_eq(begin, b);
    zt_shard_range(numel, ranks, first + count - 1, 1, &b, &e);
    ck_assert_int_eq(end, e);
  }
}

START_TEST(slices_cover_a_unit_once) {
  const int64_t edges[] = {1, 4095, 4096, 4097, 40 * 4096, 40 * 4096 + 1};
  for (int ranks = 1; ranks <= 40; ranks++) {
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
      check_ranges(edges[i], ranks);
    for (uint64_t i = 0; i < 40; i++) {
      uint64_t bits = numbers_bits((uint64_t) ranks, i);
      check_ranges(1 + (int64_t) (bits >> (30 + bits % 20)), ranks);
    }
  }
}
END_TEST

START_TEST(shards_lie_one_after_the_other) {
  zt_params p = make_params();
  zt_shard shard;
  ck_zt_ok(zt_params_finish(&p));
  for (int ranks = 1; ranks <= 5; ranks++) {
    int64_t at = 0;
    ck_zt_ok(zt_shard_init(&shard, &p, ranks, ranks - 1));
    ck_assert_int_eq(shard.n_units, 3);
    for (int u = 0; u < 3; u++) {
      ck_assert_int_eq(shard.slice[u], zt_shard_slice(p.units[u].numel, ranks));
      ck_assert_int_eq(shard.at[u], at);
      at += shard.slice[u];
    }
    ck_assert_int_eq(shard.numel, at);
    zt_shard_free(&shard);
    zt_shard_free(&shard);
  }
  zt_params_free(&p);
}
END_TEST

/* The parts that ranks have of a parameter cover it once, in order. */
START_TEST(parts_cover_a_parameter) {
  zt_params p = make_params();
  ck_zt_ok(zt_params_finish(&p));
  for (int ranks = 1; ranks <= 5; ranks++)
    for (int i = 0; i < p.count; i++) {
      const zt_param *param = &p.list[i];
      int64_t done = 0;
      for (int r = 0; r < ranks; r++) {
        zt_shard shard;
        int64_t first, at, n;
        ck_zt_ok(zt_shard_init(&shard, &p, ranks, r));
        int64_t slice = shard.slice[param->unit];
        n = zt_shard_part(&shard, param, &first, &at);
        zt_shard_free(&shard);
        if (n == 0)
          continue;
        ck_assert_int_eq(first, done);
        ck_assert_int_eq(r * slice + at, param->at + first);
        ck_assert_int_le(at + n, slice);
        done += n;
      }
      ck_assert_int_eq(done, param->numel);
    }
  zt_params_free(&p);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("layout");
  TCase *all = tcase_create("all");
  tcase_add_test(all, parameters_have_their_places);
  tcase_add_test(all, impossible_tables_are_refused);
  tcase_add_test(all, shapes_as_text);
  tcase_add_test(all, slices_cover_a_unit_once);
  tcase_add_test(all, shards_lie_one_after_the_other);
  tcase_add_test(all, parts_cover_a_parameter);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
