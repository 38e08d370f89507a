/* SPDX-License-Identifier: BSD-3-Clause */
/* Draws follow the probabilities, cuts keep what they should, and nothing but
 * seed, prompt and token decides; the queue gives prompts out in order. */
#include "train/queue.h"
#include "train/sample.h"
#include "unit.h"

#include <math.h>
#include <string.h>

enum { N = 6, DRAWS = 20000 };

static const float logits[N] = {1, 3, 2, 0, 3, -INFINITY};

static void shares(const zt_sampling *s, double share[N]) {
  int32_t room[N];
  float copy[N];
  memset(share, 0, N * sizeof *share);
  for (int64_t i = 0; i < DRAWS; i++) {
    memcpy(copy, logits, sizeof copy);
    share[zt_sample(s, copy, N, room, i % 7, i / 7)] += 1.0 / DRAWS;
  }
}

/* Of the ids in the mask, by exp(logit / t). */
static void compare(const zt_sampling *s, unsigned mask) {
  double share[N], total = 0;
  shares(s, share);
  for (int i = 0; i < N; i++)
    if (mask >> i & 1)
      total += exp((double) logits[i] / s->temperature);
  for (int i = 0; i < N; i++) {
    double want = exp((double) logits[i] / s->temperature) / total;
    if (mask >> i & 1)
      ck_assert_double_eq_tol(share[i], want, 0.015);
    else
      ck_assert(share[i] == 0);
  }
}

START_TEST(draws_follow_the_probabilities) {
  compare(&(zt_sampling){.temperature = 1, .top_p = 1, .seed = 1}, 0x1f);
  compare(&(zt_sampling){.temperature = 2, .top_p = 1, .seed = 2}, 0x1f);
  compare(&(zt_sampling){.temperature = 1, .top_p = 1, .top_k = 9}, 0x1f);
}
END_TEST

START_TEST(cuts_keep_the_best) {
  /* Of equals the smaller id stands first. */
  compare(&(zt_sampling){.temperature = 1, .top_p = 1, .top_k = 1}, 0x02);
  compare(&(zt_sampling){.temperature = 1, .top_p = 1, .top_k = 3}, 0x16);
  /* Shares at 1: 0.390, 0.390, 0.144, 0.053, 0.019. */
  compare(&(zt_sampling){.temperature = 1, .top_p = 0.38}, 0x02);
  compare(&(zt_sampling){.temperature = 1, .top_p = 0.40}, 0x12);
  compare(&(zt_sampling){.temperature = 1, .top_p = 0.93}, 0x17);
  compare(&(zt_sampling){.temperature = 1, .top_p = 0.99}, 0x1f);
  compare(&(zt_sampling){.temperature = 1, .top_p = 0}, 0x02);
  /* Of the best three the shares are 0.42, 0.42, 0.16. */
  compare(&(zt_sampling){.temperature = 1, .top_p = 0.8, .top_k = 3}, 0x12);
}
END_TEST

START_TEST(a_draw_is_repeated) {
  const zt_sampling s = {.temperature = 1, .top_p = 0.99, .seed = 5};
  int32_t room[N], other = 0;
  for (int64_t i = 0; i < 100; i++) {
    float a[N], b[N];
    memcpy(a, logits, sizeof a);
    memcpy(b, logits, sizeof b);
    int32_t id = zt_sample(&s, a, N, room, i, 3);
    ck_assert_int_eq(id, zt_sample(&s, b, N, room, i, 3));
    other += id != zt_sample(&s, b, N, room, i, 4);
  }
  ck_assert_int_gt(other, 20);
}
END_TEST

START_TEST(temperature_zero_is_the_best) {
  float a[N];
  memcpy(a, logits, sizeof a);
  ck_assert_int_eq(zt_sample(&(zt_sampling){.seed = 1}, a, N, NULL, 0, 0), 1);
}
END_TEST

/* ---- Queue ---- */

START_TEST(prompts_go_out_in_order) {
  const int64_t start[] = {0, 3, 5, 9, 10, 20, 21};
  int64_t rows[3], taken[4], n;
  const int64_t wanted[3][3] = {{0, 2, -1}, {1, 3, -1}, {4, -1, -1}};
  for (int rank = 0; rank < 3; rank++) {
    zt_queue q = {
        .count = 6, .start = start, .ranks = 3, .most_rows = 12, .rows = rows};
    int64_t free[] = {2, 2, 1};
    ck_assert(zt_queue_give(&q, free, rank, taken, &n));
    ck_assert_int_eq(q.next, 5);
    for (int64_t i = 0; i < n; i++)
      ck_assert_int_eq(taken[i], wanted[rank][i]);
    ck_assert_int_eq(wanted[rank][n], -1);
    int64_t none[] = {0, 0, 0}, last[] = {0, 1, 0};
    ck_assert(!zt_queue_give(&q, none, rank, taken, &n));
    ck_assert(zt_queue_give(&q, last, rank, taken, &n));
    ck_assert_int_eq(n, rank == 1);
    ck_assert(!zt_queue_give(&q, last, rank, taken, &n));
  }
}
END_TEST

/* A prompt that has no room among the others waits, and so do those behind. */
START_TEST(rows_are_limited) {
  const int64_t start[] = {0, 8, 16, 18};
  int64_t rows[1], taken[4], n, free[] = {4};
  zt_queue q = {
      .count = 3, .start = start, .ranks = 1, .most_rows = 10, .rows = rows};
  ck_assert(zt_queue_give(&q, free, 0, taken, &n));
  ck_assert_int_eq(n, 1);
  ck_assert(zt_queue_give(&q, free, 0, taken, &n));
  ck_assert_int_eq(n, 2);
  ck_assert_int_eq(q.next, 3);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("sample");
  TCase *all = tcase_create("all");
  tcase_add_test(all, draws_follow_the_probabilities);
  tcase_add_test(all, cuts_keep_the_best);
  tcase_add_test(all, a_draw_is_repeated);
  tcase_add_test(all, temperature_zero_is_the_best);
  tcase_add_test(all, prompts_go_out_in_order);
  tcase_add_test(all, rows_are_limited);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
