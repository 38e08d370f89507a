/* SPDX-License-Identifier: BSD-3-Clause */
/* The digest against its definition, element by element, and even shares. */
#include "base/random.h"
#include "io/digest.h"
#include "io/pieces.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { MOST = 70000 };

static unsigned char bytes[4 * MOST + 16];

/* As DESIGN says it, once more and without any hurry. */
static uint64_t slow_sum(uint64_t key, zt_dtype dtype, const void *values,
                         int64_t first, int64_t n) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < n; i++) {
    float widened;
    uint32_t bits;
    zt_to_fp32(dtype, (const char *) values + (size_t) i * zt_dtype_size(dtype),
               &widened, 1);
    memcpy(&bits, &widened, sizeof bits);
    uint64_t x = (key + (uint64_t) (first + i) * 0x9E3779B97F4A7C15) ^ bits;
    x ^= x >> 30;
    x *= 0xBF58476D1CE4E5B9;
    x ^= x >> 27;
    x *= 0x94D049BB133111EB;
    x ^= x >> 31;
    sum += x;
  }
  return sum;
}

static void fill(void) {
  for (size_t i = 0; i < sizeof bytes; i += 16) {
    uint32_t counter[4] = {(uint32_t) i}, out[4];
    zt_philox(7, counter, out);
    memcpy(bytes + i, out, 16);
  }
}

START_TEST(any_place_any_length) {
  fill();
  for (int d = ZT_FP32; d <= ZT_FP16; d++)
    for (uint32_t i = 0; i < 200; i++) {
      uint32_t counter[4] = {i, (uint32_t) d}, r[4];
      zt_philox(1, counter, r);
      int64_t n = i < 130 ? i * 17 : r[0] % (MOST / 4), at = r[1] % 13;
      int64_t first = (int64_t) ((uint64_t) r[2] << 12 | r[3] % 4096);
      uint64_t key = (uint64_t) r[0] << 32 | r[2];
      const unsigned char *from = bytes + at; /* any alignment */
      ck_assert_uint_eq(zt_digest_add(key, (zt_dtype) d, from, first, n),
                        slow_sum(key, (zt_dtype) d, from, first, n));
    }
}
END_TEST

/* Every 16-bit pattern: subnormal numbers, infinite, NaN. */
START_TEST(every_half) {
  static uint16_t all[65536];
  for (int i = 0; i < 65536; i++)
    all[i] = (uint16_t) i;
  for (int d = ZT_BF16; d <= ZT_FP16; d++)
    for (int64_t at = 0; at < 65536; at += 4096)
      ck_assert_uint_eq(zt_digest_add(3, (zt_dtype) d, all + at, at, 4096),
                        slow_sum(3, (zt_dtype) d, all + at, at, 4096));
}
END_TEST

START_TEST(parts_add_up) {
  fill();
  uint64_t whole = zt_digest_add(9, ZT_BF16, bytes, 0, MOST), sum = 0;
  for (int64_t at = 0, n = 1; at < MOST; at += n, n = n * 5 % 7919 + 1) {
    if (n > MOST - at)
      n = MOST - at;
    sum += zt_digest_add(9, ZT_BF16, bytes + 2 * at, at, n);
  }
  ck_assert_uint_eq(sum, whole);
}
END_TEST

/* Equal values have one digest, however they are stored. */
START_TEST(formats_agree) {
  static float wide[5000];
  fill();
  memset(bytes + 2 * 5000, 0, 4);
  for (int d = ZT_BF16; d <= ZT_FP16; d++) {
    zt_to_fp32((zt_dtype) d, bytes, wide, 5000);
    ck_assert_uint_eq(zt_digest_add(5, (zt_dtype) d, bytes, 0, 5000),
                      zt_digest_add(5, ZT_FP32, wide, 0, 5000));
  }
}
END_TEST

START_TEST(keys) {
  const int64_t dims[] = {32128, 512};
  const char *text = "parameters/shared.weight[32128,512]";
  ck_assert_uint_eq(zt_digest_key("parameters", "shared.weight", 2, dims),
                    XXH3_64bits(text, strlen(text)));
  ck_assert_uint_eq(zt_digest_text("step=12"), XXH3_64bits("step=12", 7));
}
END_TEST

/* ---- Even shares ---- */

static void check_shares(const int64_t *start, int count, int ranks) {
  int64_t at = 0, most = 0, least = start[count];
  for (int r = 0; r < ranks; r++) {
    zt_pieces pieces;
    zt_piece piece;
    int64_t share = 0;
    zt_pieces_begin(&pieces, start, count, ranks, r, 3 * ZT_PIECE_GRAIN);
    while (zt_pieces_next(&pieces, &piece)) {
      ck_assert_int_eq(start[piece.index] + piece.at, at); /* no gap */
      ck_assert_int_eq(piece.at % ZT_PIECE_GRAIN, 0);
      ck_assert(piece.n > 0 && piece.n <= 3 * ZT_PIECE_GRAIN);
      ck_assert(piece.at + piece.n <=
                start[piece.index + 1] - start[piece.index]);
      at += piece.n;
      share += piece.n;
    }
    most = share > most ? share : most;
    least = share < least ? share : least;
  }
  ck_assert_int_eq(at, start[count]);
  ck_assert(most - least <= 2 * ZT_PIECE_GRAIN);
}

START_TEST(shares_are_even) {
  enum { COUNT = 40 };
  for (int trial = 0; trial < 60; trial++) {
    int64_t start[COUNT + 1] = {0};
    int count = trial % COUNT + 1;
    for (int i = 0; i < count; i++) {
      uint32_t counter[4] = {(uint32_t) trial, (uint32_t) i}, r[4];
      zt_philox(2, counter, r);
      /* Empty ones and one that outweighs all others are among them. */
      int64_t n = r[0] % 5 == 0 ? 0 : r[1] % (i == 3 ? 900000 : 9000);
      start[i + 1] = start[i] + n;
    }
    for (int ranks = 1; ranks < 20; ranks += 3)
      check_shares(start, count, ranks);
  }
  check_shares((int64_t[]){0, 0}, 1, 3);
  check_shares((int64_t[]){0}, 0, 2);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("digest");
  TCase *tests = tcase_create("digest");
  tcase_add_test(tests, any_place_any_length);
  tcase_add_test(tests, every_half);
  tcase_add_test(tests, parts_add_up);
  tcase_add_test(tests, formats_agree);
  tcase_add_test(tests, keys);
  tcase_add_test(tests, shares_are_even);
  suite_add_tcase(suite, tests);
  return unit_main(suite, CK_FORK);
}
