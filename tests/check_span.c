/* SPDX-License-Identifier: BSD-3-Clause */
/* Span corruption: counts, distribution, and that nothing is lost. */
#include "train/span.h"

#include "unit.h"

#include <math.h>
#include <string.h>

enum { FIRST = 32099, EOS = 1, MOST = 4096 };

static int32_t raw[MOST], lengths[MOST], source[MOST], target[MOST];

/* What the source and target of n tokens were made of.  Ids of the text are
 * below FIRST - spans.  Returns 0 if all is as the header says, else the number
 * of the broken rule. */
static int broken_rule(int64_t n) {
  zt_span_lengths l = zt_span_measure(n);
  int64_t s = 0, t = 0, back = 0;
  if (source[l.source - 1] != EOS || target[l.target - 1] != EOS)
    return 1;
  for (int64_t k = 0; k < l.spans; k++) {
    int32_t mark = (int32_t) (FIRST - k);
    int64_t from = back;
    while (s < l.source && source[s] != mark && back < n)
      if (source[s++] != raw[back++])
        return 2;
    if (back == from || s == l.source || source[s++] != mark)
      return 3; /* text comes first, then the mark */
    if (target[t++] != mark)
      return 4;
    from = back;
    while (t < l.target - 1 && target[t] != mark - 1)
      if (back == n || target[t++] != raw[back++])
        return 5;
    if (back == from)
      return 6;
  }
  /* Corrupted text ends with noise; a text too short is left as it is. */
  while (s < l.source - 1)
    if (l.spans > 0 || source[s++] != raw[back++])
      return 7;
  return back == n && t == l.target - 1 ? 0 : 8;
}

static void corrupt(uint64_t seed, uint32_t step, uint32_t sample, int64_t n) {
  zt_span_draw draw = {.seed = seed, .step = step, .sample = sample};
  zt_span_corrupt(&draw, raw, n, FIRST, EOS, lengths, source, target);
}

static void setup(void) {
  for (int i = 0; i < MOST; i++)
    raw[i] = 3 + i * 7 % 20000;
}

/* Hugging Face's compute_input_and_target_lengths() goes up one by one. */
START_TEST(test_lengths) {
  for (int64_t wanted = 3; wanted < 3000; wanted++) {
    int64_t n = wanted - 2 > 2 ? wanted - 2 : 2;
    while (zt_span_measure(n + 1).source <= wanted)
      n++;
    if (zt_span_raw_length(wanted) != n || zt_span_measure(n).source != wanted)
      ck_abort_msg("%d", (int) wanted);
  }
  ck_assert_int_eq(zt_span_raw_length(512), 568);
  zt_span_lengths l = zt_span_measure(568);
  ck_assert_int_eq(l.noise, 85);
  ck_assert_int_eq(l.spans, 28);
  ck_assert_int_eq(l.source, 512);
  ck_assert_int_eq(l.target, 114);
  /* From run_t5_mlm_flax for 1024, 256 and 128. */
  ck_assert_int_eq(zt_span_raw_length(1024), 1137);
  ck_assert_int_eq(zt_span_measure(1137).target, 229);
  ck_assert_int_eq(zt_span_raw_length(256), 284);
  ck_assert_int_eq(zt_span_measure(284).target, 58);
  /* Ties go to even, as in Python: 0.15 * 30 = 4.5, 0.15 * 10 = 1.5. */
  ck_assert_int_eq(zt_span_measure(30).noise, 4);
  ck_assert_int_eq(zt_span_measure(10).noise, 2);
  for (int64_t n = 1; n < 5000; n++) {
    zt_span_lengths a = zt_span_measure(n - 1), b = zt_span_measure(n);
    if (b.source < a.source || b.source > a.source + 2 || b.target < a.target)
      ck_abort_msg("%d", (int) n);
  }
}
END_TEST

START_TEST(test_nothing_is_lost) {
  for (uint32_t i = 0; i < 1000; i++) {
    int64_t n = i < 50 ? i : i * 37 % 2000;
    corrupt(5, i / 8, i % 8, n);
    ck_assert_msg(broken_rule(n) == 0, "length %d: rule %d", (int) n,
                  broken_rule(n));
  }
}
END_TEST

START_TEST(test_short_texts) {
  corrupt(1, 1, 0, 0);
  ck_assert_int_eq(source[0], EOS);
  ck_assert_int_eq(target[0], EOS);
  corrupt(1, 1, 0, 1);
  ck_assert_int_eq(source[0], raw[0]);
  ck_assert_int_eq(source[1], EOS);
  ck_assert_int_eq(target[0], EOS);
  corrupt(1, 1, 0, 2);
  ck_assert_mem_eq(source, ((int32_t[]){raw[0], FIRST, EOS}), 12);
  ck_assert_mem_eq(target, ((int32_t[]){FIRST, raw[1], EOS}), 12);
}
END_TEST

/* 40 tokens: 6 of noise in 2 spans, so (5 over 1) * (33 over 1) = 165 masks,
 * all equally likely. */
START_TEST(test_all_masks_equally_likely) {
  enum { MASKS = 165, EACH = 400 };
  static int seen[MASKS];
  memset(seen, 0, sizeof seen);
  for (uint32_t i = 0; i < MASKS * EACH; i++) {
    corrupt(99, i / 64, i % 64, 40);
    seen[(lengths[1] - 1) * 33 + lengths[0] - 1]++;
  }
  double chi = 0;
  for (int m = 0; m < MASKS; m++)
    chi += (double) (seen[m] - EACH) * (seen[m] - EACH) / EACH;
  /* 164 degrees of freedom: mean 164, deviation 18.1. */
  ck_assert_msg(fabs(chi - 164) < 4 * 18.1, "%g", chi);
}
END_TEST

/* Lengths of the first spans of 568 tokens: choosing 27 of 84 places, the
 * first noise span has length k with probability (84-k over 27-1)/(84 over 27);
 * its mean is 85/28, that of the text spans 483/28. */
START_TEST(test_span_lengths) {
  enum { N = 20000 };
  double noise = 0, text = 0, ones = 0;
  for (uint32_t i = 0; i < N; i++) {
    corrupt(7, i / 32, i % 32, 568);
    text += lengths[2 * (i % 28)];
    noise += lengths[2 * (i % 28) + 1];
    ones += lengths[2 * (i % 28) + 1] == 1;
  }
  ck_assert_msg(fabs(noise / N - 85.0 / 28) < 0.08, "%g", noise / N);
  ck_assert_msg(fabs(text / N - 483.0 / 28) < 0.5, "%g", text / N);
  ck_assert_msg(fabs(ones / N - 27.0 / 84) < 0.014, "%g", ones / N);
}
END_TEST

/* The numbers of a sample are its own: another step, place or seed gives
 * others, the same gives the same in every version of this program (numbers
 * from an independent computation in Python). */
START_TEST(test_draws) {
  int32_t first[56];
  corrupt(1, 1, 0, 568);
  memcpy(first, lengths, sizeof first);
  corrupt(1, 1, 0, 568);
  ck_assert_mem_eq(lengths, first, sizeof first);
  corrupt(1, 1, 1, 568);
  ck_assert_mem_ne(lengths, first, sizeof first);
  corrupt(1, 2, 0, 568);
  ck_assert_mem_ne(lengths, first, sizeof first);
  corrupt(2, 1, 0, 568);
  ck_assert_mem_ne(lengths, first, sizeof first);
  corrupt(1234, 5, 6, 60);
  static const int32_t known[6] = {29, 4, 17, 4, 5, 1};
  ck_assert_msg(!memcmp(lengths, known, sizeof known), "%d %d %d %d %d %d",
                lengths[0], lengths[1], lengths[2], lengths[3], lengths[4],
                lengths[5]);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("span");
  TCase *tc = tcase_create("span");
  tcase_add_checked_fixture(tc, setup, NULL);
  tcase_add_test(tc, test_lengths);
  tcase_add_test(tc, test_nothing_is_lost);
  tcase_add_test(tc, test_short_texts);
  tcase_add_test(tc, test_all_masks_equally_likely);
  tcase_add_test(tc, test_span_lengths);
  tcase_add_test(tc, test_draws);
  suite_add_tcase(suite, tc);
  return unit_main(suite, CK_FORK);
}
