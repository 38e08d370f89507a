/* SPDX-License-Identifier: BSD-3-Clause */
/* Several token files with shares, and samples held out. */
#include "base/random.h"
#include "io/token_writer.h"
#include "train/batch.h"
#include "train/split.h"

#include "scratch.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH = 8, BATCH = 6, FILES = 3, BLOCK = 1 << 16 };

static const int counts[FILES] = {40, 7, 301}; /* samples of a file */
static const double weights[FILES] = {0.5, 2, 1};
static zt_tokens *files[FILES];

static const zt_tokens_info about = {
    .vocabulary = 1000, .eos = 1, .pad = 0, .sentinel = -1, .tokenizer = "t"};

static const zt_batch_spec causal = {.task = ZT_TASK_CAUSAL,
                                     .target_length = LENGTH,
                                     .packing = true,
                                     .shuffled = true,
                                     .batch = BATCH,
                                     .seed = 42,
                                     .vocabulary = 1000,
                                     .pad_id = 0,
                                     .eos_id = 1,
                                     .start_id = -1};

/* One document whose samples begin with the number of the sample in all files.
 */
static zt_tokens *make_file(const zt_tokens_info *info, const char *name,
                            int first, int samples) {
  zt_token_writer *w;
  zt_tokens *tokens;
  ck_zt_ok(zt_token_writer_create(scratch_path(name), info, true, &w));
  for (int i = 0; i < samples * LENGTH; i++)
    ck_zt_ok(zt_token_writer_add(
        w, 0, &(int32_t){i % LENGTH ? 2 : first + i / LENGTH}, 1));
  ck_zt_ok(zt_token_writer_end(w, 0));
  ck_zt_ok(zt_token_writer_finish(w));
  zt_token_writer_destroy(&w);
  ck_zt_ok(zt_tokens_open(scratch_path(name), &tokens));
  return tokens;
}

static void open_files(void) {
  for (int i = 0, first = 0; i < FILES; first += counts[i++]) {
    char name[16];
    snprintf(name, sizeof name, "%d.h5", i);
    files[i] = make_file(&about, name, first, counts[i]);
  }
}

static void close_files(void) {
  for (int i = 0; i < FILES; i++)
    zt_tokens_close(&files[i]);
}

static zt_batch *mix(const zt_batch_spec *spec, const double *shares) {
  zt_batch *batch;
  ck_zt_ok(zt_batch_create(spec, files, shares, FILES, &batch));
  return batch;
}

static int file_of(int64_t sample) {
  return sample < counts[0] ? 0 : sample < counts[0] + counts[1] ? 1 : 2;
}

/* ---- Splitting ---- */

START_TEST(sides_share_all_samples) {
  static const double shares[] = {0, 1e-9, 0.01, 0.1, 0.37, 0.5, 0.9, 0.999};
  static char seen[5000];
  for (int64_t n = 1; n < 5000; n += n < 60 ? 1 : 613)
    for (size_t s = 0; s < sizeof shares / sizeof *shares; s++) {
      zt_split split = zt_split_of(n, shares[s], 7 + s);
      memset(seen, 0, sizeof seen);
      ck_assert(shares[s] == 0 || zt_split_count(&split, true) > 0);
      for (int side = 0; side < 2; side++) {
        int64_t last = -1;
        for (int64_t i = 0; i < zt_split_count(&split, side); i++) {
          int64_t at = zt_split_sample(&split, side, i);
          ck_assert_msg(at > last && at < n, "%d of %d", (int) at, (int) n);
          ck_assert_int_eq(seen[at]++, 0);
          last = at;
        }
      }
      ck_assert_int_eq(
          zt_split_count(&split, false) + zt_split_count(&split, true), n);
    }
}
END_TEST

START_TEST(splits_are_drawn) {
  zt_split a = zt_split_of((int64_t) 1 << 50, 0.01, 1), b = a;
  int same = 0;
  b.key = 2;
  for (int64_t i = 0; i < 1000; i++) {
    int64_t at = zt_split_sample(&a, true, i * (a.held / 1000));
    same += at == zt_split_sample(&b, true, i * (a.held / 1000));
    ck_assert_int_ne(zt_split_sample(&a, false, at - i), at);
  }
  ck_assert_int_lt(same, 40);
}
END_TEST

/* What is held out is never trained on, and nothing is lost. */
START_TEST(held_out_is_not_trained_on) {
  zt_batch_spec spec = causal;
  int seen[2][400] = {{0}};
  int all = counts[0] + counts[1] + counts[2];
  spec.hold_out = 0.1;
  spec.split_seed = 9;
  for (int weighted = 0; weighted < 2; weighted++) {
    memset(seen, 0, sizeof seen);
    for (int side = 0; side < 2; side++) {
      spec.held_out = side;
      spec.shuffled = !side;
      spec.seed = (uint64_t) (side + weighted);
      zt_batch *b = mix(&spec, weighted ? weights : NULL);
      ck_assert_int_eq(zt_batch_samples(b), side ? 35 : 313);
      int64_t steps =
          weighted && !side ? 3000 : 1 + zt_batch_samples(b) / BATCH;
      for (int64_t g = 0; g < steps * BATCH; g++)
        seen[side][zt_batch_sample(b, g / BATCH + 1, g % BATCH)]++;
      zt_batch_destroy(&b);
    }
    for (int i = 0; i < all; i++)
      ck_assert_msg(!seen[0][i] != !seen[1][i], "sample %d: %d, %d", i,
                    seen[0][i], seen[1][i]);
  }
}
END_TEST

/* ---- Mixing ---- */

/* All files as one: the old order, and each sample once. */
START_TEST(without_weights_all_are_one) {
  zt_batch *b = mix(&causal, NULL);
  uint64_t n = (uint64_t) zt_batch_samples(b);
  ck_assert_uint_eq(n, 348);
  for (uint64_t g = 0; g < 3 * n; g++)
    ck_assert_int_eq(
        zt_batch_sample(b, (int64_t) g / BATCH + 1, (int64_t) g % BATCH),
        zt_permute(causal.seed, g / n, n, g % n));
  zt_batch_destroy(&b);
  zt_batch_spec spec = causal;
  spec.shuffled = false;
  b = mix(&spec, NULL);
  for (int64_t g = 0; g < 1000; g++)
    ck_assert_int_eq(zt_batch_sample(b, g / BATCH + 1, g % BATCH),
                     g % (int64_t) n);
  zt_batch_destroy(&b);
}
END_TEST

/* The shares are kept over 65,536 places exactly and at all times nearly; a
 * file shows each of its samples once before it begins anew. */
START_TEST(shares_are_kept) {
  zt_batch *b = mix(&causal, weights);
  int64_t places[FILES] = {0};
  int seen[400] = {0};
  for (int64_t g = 0; g < 2 * BLOCK; g++) {
    int64_t sample = zt_batch_sample(b, g / BATCH + 1, g % BATCH);
    int file = file_of(sample);
    seen[sample]++;
    if (++places[file] % counts[file] == 0) {
      int64_t first = file ? counts[0] + (file > 1 ? counts[1] : 0) : 0;
      for (int64_t i = first; i < first + counts[file]; i++)
        ck_assert_int_eq(seen[i], places[file] / counts[file]);
    }
    if (g > 3000)
      for (int i = 0; i < FILES; i++)
        ck_assert_double_eq_tol((double) places[i] / (double) g,
                                weights[i] / 3.5, 0.04);
    if (g % 9973 == 0)
      for (int i = 0; i < FILES && (g + 1) % BATCH == 0; i++)
        ck_assert_int_eq(zt_batch_places(b, (g + 1) / BATCH, i), places[i]);
  }
  for (int i = 0; i < FILES; i++) {
    zt_batch_share s = zt_batch_share_of(b, i);
    ck_assert_double_eq(s.share * 2 * BLOCK, (double) places[i]);
    ck_assert_double_eq_tol(s.share, weights[i] / 3.5, 2.0 / BLOCK);
    ck_assert_int_eq(s.samples, counts[i]);
  }
  zt_batch_destroy(&b);
}
END_TEST

/* A place has its sample whatever was asked for before. */
START_TEST(places_know_no_history) {
  zt_batch *a = mix(&causal, weights), *b = mix(&causal, weights);
  int32_t ids[BATCH * LENGTH], labels[BATCH * LENGTH], valid[BATCH];
  zt_micro_batch micro = {
      .target = ids, .labels = labels, .source_valid = valid};
  for (int64_t i = 0; i < 60; i++) {
    int64_t step = 1 + (i * 7919) % 40000, place = i % BATCH;
    int64_t sample = zt_batch_sample(a, step, place);
    zt_batch_destroy(&b);
    b = mix(&causal, weights);
    ck_assert_int_eq(zt_batch_sample(b, step, place), sample);
    ck_zt_ok(zt_batch_fill(b, step, place, BATCH - place, &micro));
    ck_assert_int_eq(ids[0], sample);
    ck_assert_int_eq(micro.tokens, (BATCH - place) * LENGTH);
  }
  zt_batch_destroy(&a);
  zt_batch_destroy(&b);
}
END_TEST

START_TEST(small_shares_are_not_lost) {
  static const double extreme[FILES] = {1e-12, 1, 1e-12};
  zt_batch *b = mix(&causal, extreme);
  for (int i = 0; i < FILES; i++)
    ck_assert(zt_batch_share_of(b, i).share > 0);
  zt_batch_destroy(&b);
}
END_TEST

START_TEST(files_that_differ_are_refused) {
  static const struct {
    zt_tokens_info info;
    const char *what;
  } others[] = {
      {{.vocabulary = 999, .eos = 1, .sentinel = -1, .tokenizer = "t"},
       "vocabulary"},
      {{.vocabulary = 1000, .eos = 2, .sentinel = -1, .tokenizer = "t"},
       "end id"},
      {{.vocabulary = 1000, .eos = 1, .sentinel = 9, .tokenizer = "t"},
       "first sentinel"},
      {{.vocabulary = 1000, .eos = 1, .sentinel = -1, .tokenizer = "u"},
       "tokenizer"}};
  zt_batch *b;
  for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
    zt_tokens *two[] = {files[0], make_file(&others[i].info, "o.h5", 0, 3)};
    ck_zt_fails(zt_batch_create(&causal, two, NULL, 2, &b), ZT_ERR_DATA);
    ck_assert_msg(strstr(zt_last_error(), others[i].what), "%s",
                  zt_last_error());
    zt_tokens_close(&two[1]);
  }
  zt_batch_spec spec = causal;
  spec.hold_out = 0.95;
  ck_zt_fails(zt_batch_create(&spec, files, NULL, FILES, &b), ZT_ERR_DATA);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "all of its 7 samples"));
}
END_TEST

int main(void) {
  scratch_begin("check_corpora");
  Suite *suite = suite_create("corpora");
  TCase *all = tcase_create("corpora");
  tcase_set_timeout(all, 30);
  tcase_add_checked_fixture(all, open_files, close_files);
  tcase_add_test(all, sides_share_all_samples);
  tcase_add_test(all, splits_are_drawn);
  tcase_add_test(all, held_out_is_not_trained_on);
  tcase_add_test(all, without_weights_all_are_one);
  tcase_add_test(all, shares_are_kept);
  tcase_add_test(all, places_know_no_history);
  tcase_add_test(all, small_shares_are_not_lost);
  tcase_add_test(all, files_that_differ_are_refused);
  suite_add_tcase(suite, all);
  int rc = unit_main(suite, CK_NOFORK);
  scratch_end();
  return rc;
}
