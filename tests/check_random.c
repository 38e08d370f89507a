/* SPDX-License-Identifier: BSD-3-Clause */
/* Random numbers and number formats: known answers, and what must hold for all
 * of them. */
#include "base/random.h"

#include "base/dtype.h"
#include "numbers.h"
#include "unit.h"

/* ---- Philox ---- */

/* Source: Random123, tests/kat_vectors, philox4x32 with 10 rounds. */
START_TEST(philox_known_answers) {
  static const struct {
    uint32_t counter[4];
    uint64_t key;
    uint32_t out[4];
  } known[] = {
      {{0, 0, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
       0xffffffffffffffff,
       {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       0x299f31d0a4093822,
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    uint32_t out[4];
    zt_philox(known[i].key, known[i].counter, out);
    ck_assert_mem_eq(out, known[i].out, sizeof out);
  }
}
END_TEST

START_TEST(below_is_in_range) {
  ck_assert_uint_eq(zt_below(0xFFFFFFFF, 0xFFFFFFFF, 1), 0);
  ck_assert_uint_eq(zt_below(0, 0, UINT64_MAX), 0);
  ck_assert_uint_eq(zt_below(0xFFFFFFFF, 0xFFFFFFFF, UINT64_MAX),
                    UINT64_MAX - 1);
  ck_assert_uint_eq(zt_below(0x80000000, 0, 10), 5);
  int seen[7] = {0};
  for (uint64_t i = 0; i < 7000; i++) {
    uint64_t bits = numbers_bits(1, i);
    seen[zt_below((uint32_t) (bits >> 32), (uint32_t) bits, 7)]++;
  }
  for (int i = 0; i < 7; i++)
    ck_assert(seen[i] > 850 && seen[i] < 1150);
}
END_TEST

/* ---- Permutations ---- */

START_TEST(permutations_meet_all) {
  enum { MOST = 2000 };
  static char seen[MOST];
  for (uint64_t n = 1; n <= MOST; n++) {
    memset(seen, 0, n);
    uint64_t fixed = 0;
    for (uint64_t i = 0; i < n; i++) {
      uint64_t to = zt_permute(n, n % 5, n, i);
      if (to >= n || seen[to]++)
        ck_abort_msg("n %lu: %lu goes to %lu", (unsigned long) n,
                     (unsigned long) i, (unsigned long) to);
      fixed += to == i;
    }
    ck_assert(n < 50 || fixed < n / 4);
  }
}
END_TEST

/* Near and at powers of two, up to the largest there is. */
START_TEST(permutations_of_large_numbers) {
  const uint64_t sizes[] = {(1 << 20) + 1,
                            UINT32_MAX,
                            (uint64_t) 1 << 32,
                            ((uint64_t) 1 << 40) - 1,
                            ((uint64_t) 1 << 62) + 1,
                            UINT64_MAX};
  enum { COUNT = 300 };
  uint64_t to[COUNT];
  for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
    for (uint64_t i = 0; i < COUNT; i++) {
      to[i] = zt_permute(3, 1, sizes[s], i % 2 ? i : sizes[s] - 1 - i);
      ck_assert_uint_lt(to[i], sizes[s]);
      for (uint64_t j = 0; j < i; j++)
        if (to[j] == to[i])
          ck_abort_msg("%lu stands twice", (unsigned long) to[i]);
    }
}
END_TEST

START_TEST(permutations_differ) {
  int same_epoch = 0, same_key = 0;
  for (uint64_t i = 0; i < 1000; i++) {
    uint64_t to = zt_permute(3, 1, 1000, i);
    same_epoch += to == zt_permute(3, 2, 1000, i);
    same_key += to == zt_permute(4, 1, 1000, i);
  }
  ck_assert_int_lt(same_epoch, 20);
  ck_assert_int_lt(same_key, 20);
}
END_TEST

/* ---- Normal numbers ---- */

START_TEST(normal_numbers_have_their_moments) {
  enum { COUNT = 200000 };
  double moments[5] = {0};
  for (uint64_t i = 0; i < COUNT; i++) {
    double x = zt_normal(7, 3, i), power = 1;
    for (int m = 1; m < 5; m++)
      moments[m] += (power *= x) / COUNT;
    if (!(fabs(x) < 9))
      ck_abort_msg("%lu: %g", (unsigned long) i, x);
  }
  ck_assert_double_eq_tol(moments[1], 0, 0.01);
  ck_assert_double_eq_tol(moments[2], 1, 0.015);
  ck_assert_double_eq_tol(moments[3], 0, 0.03);
  ck_assert_double_eq_tol(moments[4], 3, 0.08);
}
END_TEST

START_TEST(normal_numbers_by_piece) {
  double all[41], piece[41];
  const uint64_t far = ((uint64_t) 1 << 33) - 20; /* across 2^33 */
  for (uint64_t i = 0; i < 41; i++)
    all[i] = zt_normal(7, 5, far + i);
  for (uint64_t first = 0; first < 41; first += 5)
    for (size_t n = 0; n <= 41 - first; n++) {
      zt_normal_fill(7, 5, far + first, n, piece);
      ck_assert_mem_eq(piece, all + first, n * sizeof *piece);
    }
  ck_assert_double_ne(all[0], zt_normal(7, 6, far));
  ck_assert_double_ne(all[0], zt_normal(8, 5, far));
}
END_TEST

/* ---- Number formats ---- */

START_TEST(names_of_formats) {
  static const struct {
    zt_dtype dtype;
    const char *name, *safetensors;
    size_t size;
  } known[] = {{ZT_FP32, "fp32", "F32", 4},
               {ZT_BF16, "bf16", "BF16", 2},
               {ZT_FP16, "fp16", "F16", 2}};
  for (size_t i = 0; i < 3; i++) {
    zt_dtype dtype;
    ck_assert_str_eq(zt_dtype_name(known[i].dtype), known[i].name);
    ck_assert_str_eq(zt_dtype_safetensors(known[i].dtype),
                     known[i].safetensors);
    ck_assert_uint_eq(zt_dtype_size(known[i].dtype), known[i].size);
    ck_assert(zt_dtype_parse(known[i].name, &dtype));
    ck_assert_int_eq(dtype, known[i].dtype);
    ck_assert(zt_dtype_parse(known[i].safetensors, &dtype));
    ck_assert_int_eq(dtype, known[i].dtype);
  }
  zt_dtype dtype;
  ck_assert(!zt_dtype_parse("F64", &dtype) && !zt_dtype_parse("", &dtype));
}
END_TEST

static uint16_t narrow(zt_dtype dtype, float x) {
  uint16_t h;
  zt_from_fp32(dtype, &x, &h, 1);
  return h;
}

static float widen(zt_dtype dtype, uint16_t h) {
  float x;
  zt_to_fp32(dtype, &h, &x, 1);
  return x;
}

/* Value of a pattern, from the definition of the format. */
static double value_of(zt_dtype dtype, uint16_t h) {
  int bits = dtype == ZT_BF16 ? 7 : 10, bias = dtype == ZT_BF16 ? 127 : 15;
  int exponent = (h & 0x7FFF) >> bits, fraction = h & ((1 << bits) - 1);
  double sign = h & 0x8000 ? -1 : 1;
  if (exponent == 2 * bias + 1)
    return fraction ? NAN : sign * INFINITY;
  if (exponent == 0)
    return sign * ldexp(fraction, 1 - bias - bits);
  return sign * ldexp((1 << bits) + fraction, exponent - bias - bits);
}

/* Every pattern widens exactly and comes back; NaN comes back quiet. */
START_TEST(every_pattern_comes_back) {
  zt_dtype dtype = _i ? ZT_FP16 : ZT_BF16;
  uint16_t quiet = dtype == ZT_BF16 ? 0x40 : 0x200;
  for (int i = 0; i < 0x10000; i++) {
    uint16_t h = (uint16_t) i, back = narrow(dtype, widen(dtype, h));
    double wanted = value_of(dtype, h), got = (double) widen(dtype, h);
    if (isnan(wanted)
            ? !isnan(got) || back != (h | quiet)
            : got != wanted || signbit(got) != signbit(wanted) || back != h)
      ck_abort_msg("%#x: %g, not %g, and back %#x", h, got, wanted, back);
  }
}
END_TEST

/* Around every number and every middle between two: to the nearest, middles to
 * even, and beyond the largest to infinity. */
START_TEST(rounding_is_to_nearest_even) {
  zt_dtype dtype = _i ? ZT_FP16 : ZT_BF16;
  const uint16_t infinite = dtype == ZT_BF16 ? 0x7F80 : 0x7C00;
  for (uint16_t h = 0; h < infinite; h++) {
    double low = value_of(dtype, h);
    double high = h + 1 == infinite ? 2 * low - value_of(dtype, h - 1)
                                    : value_of(dtype, h + 1);
    double exact = (low + high) / 2;
    float middle = (float) exact;
    if ((double) middle != exact) /* bf16's least middles are not fp32 */
      continue;
    uint16_t even = (uint16_t) (h + h % 2), above = (uint16_t) (h + 1);
    for (int sign = 0; sign < 2; sign++) {
      uint16_t s = sign ? 0x8000 : 0;
      float x = sign ? -middle : middle;
      if (narrow(dtype, x) != (s | even) ||
          narrow(dtype, nextafterf(x, 0)) != (s | h) ||
          narrow(dtype, nextafterf(x, 2 * x)) != (s | above))
        ck_abort_msg("%#x: middle %a becomes %#x", h, exact, narrow(dtype, x));
    }
  }
  ck_assert_uint_eq(narrow(dtype, INFINITY), infinite);
  ck_assert_uint_eq(narrow(dtype, -FLT_MAX), infinite | 0x8000);
  ck_assert_uint_eq(narrow(dtype, 0x1p-149f), 0);
  ck_assert_uint_eq(narrow(dtype, -0.0f), 0x8000);
}
END_TEST

#ifdef __FLT16_MAX__
/* The compiler's own half precision over all of fp32. */
START_TEST(half_precision_is_the_compilers) {
  const uint32_t step = numbers_long() ? 17 : 4099;
  for (uint64_t i = 0; i <= UINT32_MAX; i += step) {
    uint32_t bits = (uint32_t) i;
    float x;
    uint16_t wanted;
    memcpy(&x, &bits, sizeof x);
    _Float16 half = (_Float16) x;
    memcpy(&wanted, &half, sizeof wanted);
    if (isnan(x) ? !isnan(widen(ZT_FP16, narrow(ZT_FP16, x)))
                 : narrow(ZT_FP16, x) != wanted)
      ck_abort_msg("%a: %#x, not %#x", (double) x, narrow(ZT_FP16, x), wanted);
  }
}
END_TEST
#endif

/* Values that stand at odd addresses, and plain copies. */
START_TEST(formats_need_no_alignment) {
  enum { COUNT = 9 };
  float x[COUNT], y[COUNT];
  char bytes[4 * COUNT + 1];
  numbers_fill(x, COUNT, 1, 5);
  for (int d = ZT_FP32; d <= ZT_FP16; d++) {
    zt_from_fp32((zt_dtype) d, x, bytes + 1, COUNT);
    zt_to_fp32((zt_dtype) d, bytes + 1, y, COUNT);
    for (int i = 0; i < COUNT; i++)
      ck_assert_float_le(fabsf(y[i] - x[i]), d == ZT_FP32 ? 0 : 0.02f);
  }
}
END_TEST

int main(void) {
  Suite *suite = suite_create("random");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 300);
  tcase_add_test(all, philox_known_answers);
  tcase_add_test(all, below_is_in_range);
  tcase_add_test(all, permutations_meet_all);
  tcase_add_test(all, permutations_of_large_numbers);
  tcase_add_test(all, permutations_differ);
  tcase_add_test(all, normal_numbers_have_their_moments);
  tcase_add_test(all, normal_numbers_by_piece);
  tcase_add_test(all, names_of_formats);
  tcase_add_loop_test(all, every_pattern_comes_back, 0, 2);
  tcase_add_loop_test(all, rounding_is_to_nearest_even, 0, 2);
#ifdef __FLT16_MAX__
  tcase_add_test(all, half_precision_is_the_compilers);
#endif
  tcase_add_test(all, formats_need_no_alignment);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
