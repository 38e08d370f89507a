/* SPDX-License-Identifier: BSD-3-Clause */
/* Batches: which sample stands where, and what a micro-batch holds. */
#include "train/batch.h"

#include "io/token_writer.h"
#include "train/span.h"

#include "scratch.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

enum { SOURCE = 32, TARGET = 10, BATCH = 12, EOS = 1, PAD = 0, START = 5 };

static const zt_tokens_info about = {.vocabulary = 384,
                                     .eos = EOS,
                                     .pad = PAD,
                                     .sentinel = 258,
                                     .tokenizer = "bytes"};

static const zt_batch_spec spans = {.task = ZT_TASK_SPAN_CORRUPTION,
                                    .source_length = SOURCE,
                                    .target_length = TARGET,
                                    .packing = true,
                                    .shuffled = true,
                                    .batch = BATCH,
                                    .seed = 42,
                                    .vocabulary = 384,
                                    .pad_id = PAD,
                                    .eos_id = EOS,
                                    .start_id = START};

static zt_batch_spec pairs_spec(void) {
  zt_batch_spec spec = spans;
  spec.task = ZT_TASK_SEQ2SEQ;
  spec.source_length = 5;
  spec.target_length = 4;
  spec.shuffled = false;
  return spec;
}

/* A file of documents: `lengths` tokens each, ids 3 .. 130, end ids as asked.
 */
static zt_tokens *make_documents(const zt_tokens_info *info, const int *lengths,
                                 int count, bool end_ids) {
  zt_token_writer *w;
  const char *path = scratch_path("documents.h5");
  ck_zt_ok(zt_token_writer_create(path, info, true, &w));
  int32_t next = 0, eos = EOS;
  for (int d = 0; d < count; d++) {
    for (int i = 0; i < lengths[d]; i++, next++)
      ck_zt_ok(zt_token_writer_add(w, 0, &(int32_t){3 + next % 128}, 1));
    if (end_ids)
      ck_zt_ok(zt_token_writer_add(w, 0, &eos, 1));
    ck_zt_ok(zt_token_writer_end(w, 0));
  }
  ck_zt_ok(zt_token_writer_finish(w));
  zt_token_writer_destroy(&w);
  zt_tokens *tokens;
  ck_zt_ok(zt_tokens_open(path, &tokens));
  return tokens;
}

/* Arrays of BATCH samples, filled with what must not stay. */
static int32_t source[BATCH * SOURCE], valid[BATCH], target[BATCH * TARGET],
    labels[BATCH * TARGET];

static zt_micro_batch micro_at(const zt_batch_spec *spec, int sample) {
  return (zt_micro_batch){.source = source + sample * spec->source_length,
                          .source_valid = valid + sample,
                          .target = target + sample * spec->target_length,
                          .labels = labels + sample * spec->target_length};
}

static void poison(void) {
  memset(source, 0x77, sizeof source);
  memset(valid, 0x77, sizeof valid);
  memset(target, 0x77, sizeof target);
  memset(labels, 0x77, sizeof labels);
}

static zt_micro_batch fill(zt_batch *batch, const zt_batch_spec *spec,
                           int64_t step, int samples) {
  poison();
  zt_micro_batch micro = micro_at(spec, 0);
  ck_zt_ok(zt_batch_fill(batch, step, 0, samples, &micro));
  return micro;
}

/* ---- Order ---- */

START_TEST(test_every_epoch_has_every_sample_once) {
  enum { RAW = 34, SAMPLES = 37, EPOCHS = 5 };
  zt_tokens *tokens =
      make_documents(&about, (int[]){RAW * SAMPLES + RAW - 1}, 1, false);
  zt_batch *batch;
  ck_zt_ok(zt_batch_create(&spans, &tokens, NULL, 1, &batch));
  ck_assert_int_eq(zt_batch_samples(batch), SAMPLES); /* no short tail */
  int64_t order[EPOCHS][SAMPLES];
  for (int g = 0; g < EPOCHS * SAMPLES; g++)
    order[g / SAMPLES][g % SAMPLES] =
        zt_batch_sample(batch, g / BATCH + 1, g % BATCH);
  for (int e = 0; e < EPOCHS; e++) {
    int seen[SAMPLES] = {0};
    for (int i = 0; i < SAMPLES; i++) {
      ck_assert(order[e][i] >= 0 && order[e][i] < SAMPLES);
      ck_assert_int_eq(seen[order[e][i]]++, 0);
    }
    if (e > 0)
      ck_assert_mem_ne(order[e], order[0], sizeof order[e]);
  }
  zt_batch_destroy(&batch);
  zt_batch_destroy(&batch);
  zt_batch_spec spec = spans;
  spec.seed++;
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  int64_t other[SAMPLES];
  for (int g = 0; g < SAMPLES; g++)
    other[g] = zt_batch_sample(batch, g / BATCH + 1, g % BATCH);
  ck_assert_mem_ne(other, order[0], sizeof other);
  zt_batch_destroy(&batch);
  spec.shuffled = false;
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  for (int64_t step = 1; step < 20; step++)
    for (int64_t p = 0; p < BATCH; p++)
      ck_assert_int_eq(zt_batch_sample(batch, step, p),
                       ((step - 1) * BATCH + p) % SAMPLES);
  zt_batch_destroy(&batch);
  zt_tokens_close(&tokens);
}
END_TEST

/* ---- Span corruption ---- */

/* The raw text of one row; returns its length. */
static int64_t restore(const int32_t *src, int64_t n, const int32_t *lab,
                       int32_t *text) {
  int64_t length = 0, at = 0, end = 0;
  while (end < TARGET && lab[end] != ZT_NO_LABEL)
    end++;
  end--; /* the end id */
  int32_t mark = 258;
  for (int64_t i = 0; i < n - 1; i++) {
    if (src[i] != mark) {
      text[length++] = src[i];
      continue;
    }
    ck_assert_int_eq(lab[at], mark);
    for (at++; at < end && lab[at] != mark - 1; at++)
      text[length++] = lab[at];
    mark--;
  }
  ck_assert_int_eq(src[n - 1], EOS);
  ck_assert_int_eq(lab[at], EOS);
  ck_assert_int_eq(at, end);
  return length;
}

/* Padding, shift and counts of the rows that were filled. */
static void check_rows(const zt_batch_spec *spec, const zt_micro_batch *micro,
                       int samples) {
  int64_t tokens = 0, targets = 0;
  for (int r = 0; r < samples; r++) {
    const int32_t *s = micro->source + r * spec->source_length;
    const int32_t *t = micro->target + r * spec->target_length;
    const int32_t *l = micro->labels + r * spec->target_length;
    for (int64_t i = micro->source_valid[r]; i < spec->source_length; i++)
      ck_assert_int_eq(s[i], PAD);
    int64_t n = 0;
    while (n < spec->target_length && l[n] != ZT_NO_LABEL)
      n++;
    ck_assert_int_eq(t[0], START);
    for (int64_t i = 0; i < spec->target_length; i++) {
      ck_assert(i < n ? l[i] >= 0 : l[i] == ZT_NO_LABEL);
      if (i > 0)
        ck_assert_int_eq(t[i], i <= n ? l[i - 1] : PAD);
    }
    tokens += micro->source_valid[r] + n;
    targets += n;
  }
  ck_assert_int_eq(micro->tokens, tokens);
  ck_assert_int_eq(micro->targets, targets);
}

START_TEST(test_packed_windows) {
  enum { RAW = 34 };
  zt_tokens *tokens = make_documents(&about, (int[]){50, 3, 200, 90}, 4, true);
  zt_batch *batch;
  zt_batch_spec spec = spans;
  spec.target_length = TARGET;
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  ck_assert_int_eq(zt_batch_samples(batch), 347 / RAW);
  zt_span_lengths l = zt_span_measure(RAW);
  for (int64_t step = 1; step < 10; step++) {
    zt_micro_batch micro = fill(batch, &spec, step, BATCH);
    check_rows(&spec, &micro, BATCH);
    for (int r = 0; r < BATCH; r++) {
      int32_t text[SOURCE + TARGET], expected[RAW];
      ck_assert_int_eq(valid[r], l.source);
      ck_assert_int_eq(labels[r * TARGET + l.target - 1], EOS);
      ck_assert_int_eq(
          restore(source + r * SOURCE, valid[r], labels + r * TARGET, text),
          RAW);
      ck_zt_ok(zt_tokens_read(tokens, 0, zt_batch_sample(batch, step, r) * RAW,
                              RAW, expected));
      ck_assert_mem_eq(text, expected, sizeof expected);
    }
  }
  zt_batch_destroy(&batch);
  zt_tokens_close(&tokens);
}
END_TEST

/* One document a sample, without its end id, cut at the raw length. */
START_TEST(test_documents) {
  static const int lengths[] = {0, 1, 2, 3, 10, 33, 34, 35, 36, 100, 5, 7};
  const int count = sizeof lengths / sizeof *lengths;
  for (int end_ids = 0; end_ids < 2; end_ids++) {
    zt_tokens *tokens = make_documents(&about, lengths, count, end_ids);
    zt_batch *batch;
    zt_batch_spec spec = spans;
    spec.packing = spec.shuffled = false;
    ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
    ck_assert_int_eq(zt_batch_samples(batch), count);
    zt_micro_batch micro = fill(batch, &spec, 1, count);
    check_rows(&spec, &micro, count);
    int32_t next = 0;
    for (int r = 0; r < count; r++) {
      int32_t text[SOURCE + TARGET];
      int n = lengths[r] < 34 ? lengths[r] : 34;
      ck_assert_int_eq(valid[r], zt_span_measure(n).source);
      ck_assert_int_eq(
          restore(source + r * SOURCE, valid[r], labels + r * TARGET, text), n);
      for (int i = 0; i < n; i++)
        ck_assert_int_eq(text[i], 3 + (next + i) % 128);
      next += lengths[r];
    }
    zt_batch_destroy(&batch);
    zt_tokens_close(&tokens);
  }
}
END_TEST

static void must_fail(const zt_batch_spec *spec, zt_tokens *tokens,
                      zt_status status, const char *word) {
  zt_batch *batch;
  ck_zt_fails(zt_batch_create(spec, &tokens, NULL, 1, &batch), status);
  ck_assert_ptr_null(batch);
  ck_assert_msg(strstr(zt_last_error(), word), "%s", zt_last_error());
  ck_assert_uint_le(strlen(zt_last_error()), 200 + strlen(scratch));
}

/* ---- The next token ---- */

static zt_batch_spec causal_spec(bool packing) {
  zt_batch_spec spec = spans;
  spec.task = ZT_TASK_CAUSAL;
  spec.source_length = 0;
  spec.target_length = TARGET;
  spec.packing = packing;
  spec.shuffled = false;
  spec.start_id = -1; /* decoders have none */
  return spec;
}

/* n tokens, each but the last with the next one as its label. */
static void check_text(const int32_t *wanted, int64_t n, int row) {
  const int32_t *t = target + row * TARGET, *l = labels + row * TARGET;
  for (int64_t i = 0; i < TARGET; i++) {
    ck_assert_int_eq(t[i], i < n ? wanted[i] : PAD);
    ck_assert_int_eq(l[i], i + 1 < n ? wanted[i + 1] : ZT_NO_LABEL);
  }
}

START_TEST(test_causal_windows) {
  enum { TOKENS = 7 + 4 + 1 + 4 + 31 + 4 + 1 }; /* with end ids */
  zt_tokens *tokens =
      make_documents(&about, (int[]){7, 4, 0, 4, 31, 2}, 6, true);
  zt_batch_spec spec = causal_spec(true);
  zt_batch *batch;
  int32_t all[TOKENS + 2];
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  int64_t n = zt_tokens_about(tokens)->tokens[0];
  ck_assert_int_eq(n, 54);
  ck_assert_int_eq(zt_batch_samples(batch), n / TARGET); /* no short tail */
  ck_zt_ok(zt_tokens_read(tokens, 0, 0, n, all));
  for (int64_t step = 1; step < 4; step++) {
    zt_micro_batch micro = fill(batch, &spec, step, BATCH);
    for (int r = 0; r < BATCH; r++)
      check_text(all + zt_batch_sample(batch, step, r) * TARGET, TARGET, r);
    ck_assert_int_eq(micro.tokens, BATCH * TARGET);
    ck_assert_int_eq(micro.targets, BATCH * (TARGET - 1));
  }
  zt_batch_destroy(&batch);
  zt_tokens_close(&tokens);
}
END_TEST

/* One document a sample, with its end id if it fits. */
START_TEST(test_causal_documents) {
  static const int lengths[] = {0, 1, 2, 9, 10, 11, 12, 40, 3};
  const int count = sizeof lengths / sizeof *lengths;
  for (int end_ids = 0; end_ids < 2; end_ids++) {
    zt_tokens *tokens = make_documents(&about, lengths, count, end_ids);
    zt_batch_spec spec = causal_spec(false);
    zt_batch *batch;
    int64_t sum = 0, targets = 0, first, n;
    ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
    ck_assert_int_eq(zt_batch_samples(batch), count);
    zt_micro_batch micro = fill(batch, &spec, 1, count);
    for (int r = 0; r < count; r++) {
      int32_t text[64];
      ck_zt_ok(zt_tokens_document(tokens, 0, r, &first, &n));
      ck_zt_ok(zt_tokens_read(tokens, 0, first, n, text));
      n = n < TARGET ? n : TARGET;
      check_text(text, n, r);
      sum += n;
      targets += n ? n - 1 : 0;
    }
    ck_assert_int_eq(micro.tokens, sum);
    ck_assert_int_eq(micro.targets, targets);
    zt_batch_destroy(&batch);
    zt_tokens_close(&tokens);
  }
}
END_TEST

START_TEST(test_causal_refusals) {
  zt_tokens *tokens = make_documents(&about, (int[]){TARGET - 1}, 1, false);
  zt_batch_spec spec = causal_spec(true);
  must_fail(&spec, tokens, ZT_ERR_DATA, "data.length");
  spec.target_length = 1;
  must_fail(&spec, tokens, ZT_ERR_CONFIG, "data.length");
  spec = causal_spec(false);
  spec.vocabulary = 300; /* the file says 384 */
  must_fail(&spec, tokens, ZT_ERR_DATA, "vocabulary");
  zt_tokens_close(&tokens);
}
END_TEST

/* However a step is cut, a place holds the same. */
START_TEST(test_cut_does_not_matter) {
  static const int sizes[] = {1, 2, 3, 4, 5, 6, 7};
  zt_tokens *tokens =
      make_documents(&about, (int[]){300, 20, 40, 5, 500}, 5, true);
  for (int packing = 0; packing < 2; packing++) {
    zt_batch *batch;
    zt_batch_spec spec = spans;
    spec.packing = packing;
    ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
    for (int64_t step = 3; step < 5; step++) {
      zt_micro_batch whole = fill(batch, &spec, step, BATCH);
      static int32_t s[BATCH * SOURCE], v[BATCH], t[BATCH * TARGET],
          l[BATCH * TARGET];
      memcpy(s, source, sizeof s);
      memcpy(v, valid, sizeof v);
      memcpy(t, target, sizeof t);
      memcpy(l, labels, sizeof l);
      for (int i = 0; i < 7; i++) {
        int64_t seen = 0, targets = 0;
        poison();
        for (int at = 0; at < BATCH; at += sizes[i]) {
          int n = sizes[i] < BATCH - at ? sizes[i] : BATCH - at;
          zt_micro_batch micro = micro_at(&spec, at);
          ck_zt_ok(zt_batch_fill(batch, step, at, n, &micro));
          seen += micro.tokens;
          targets += micro.targets;
        }
        ck_assert_int_eq(seen, whole.tokens);
        ck_assert_int_eq(targets, whole.targets);
        ck_assert_mem_eq(source, s, sizeof s);
        ck_assert_mem_eq(valid, v, sizeof v);
        ck_assert_mem_eq(target, t, sizeof t);
        ck_assert_mem_eq(labels, l, sizeof l);
      }
    }
    zt_batch_destroy(&batch);
  }
  zt_tokens_close(&tokens);
}
END_TEST

/* ---- Pairs ---- */

static zt_tokens *make_pairs(const char *const text[][2], int count) {
  zt_token_writer *w;
  zt_tokens_info info = about;
  info.pairs = true;
  const char *path = scratch_path("pairs.h5");
  ck_zt_ok(zt_token_writer_create(path, &info, true, &w));
  for (int i = 0; i < count; i++)
    for (int s = 0; s < 2; s++) {
      for (const char *c = text[i][s]; *c; c++)
        ck_zt_ok(zt_token_writer_add(w, s, &(int32_t){*c}, 1));
      ck_zt_ok(zt_token_writer_end(w, s));
    }
  ck_zt_ok(zt_token_writer_finish(w));
  zt_token_writer_destroy(&w);
  zt_tokens *tokens;
  ck_zt_ok(zt_tokens_open(path, &tokens));
  return tokens;
}

START_TEST(test_pairs) {
  static const char *const text[][2] = {
      {"ab", "xyz"}, {"abcdefg", "tuvwxyz"}, {"abcde", "x"}};
  const int32_t N = ZT_NO_LABEL;
  const int32_t sources[] = {'a', 'b', 0,   0,   0,   'a', 'b', 'c', 'd', 'e',
                             'a', 'b', 'c', 'd', 'e', 'a', 'b', 0,   0,   0};
  const int32_t targets[] = {5, 'x', 'y', 'z', 5, 't', 'u', 'v',
                             5, 'x', 0,   0,   5, 'x', 'y', 'z'};
  const int32_t labelled[] = {'x', 'y', 'z', N, 't', 'u', 'v', 'w',
                              'x', N,   N,   N, 'x', 'y', 'z', N};
  zt_tokens *tokens = make_pairs(text, 3);
  zt_batch_spec spec = pairs_spec();
  zt_batch *batch;
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  ck_assert_int_eq(zt_batch_samples(batch), 3);
  zt_micro_batch micro = fill(batch, &spec, 1, 4);
  ck_assert_mem_eq(source, sources, sizeof sources);
  ck_assert_mem_eq(valid, ((int32_t[]){2, 5, 5, 2}), 16);
  ck_assert_mem_eq(target, targets, sizeof targets);
  ck_assert_mem_eq(labels, labelled, sizeof labelled);
  ck_assert_int_eq(micro.targets, 3 + 4 + 1 + 3);
  ck_assert_int_eq(micro.tokens, 2 + 5 + 5 + 2 + micro.targets);
  check_rows(&spec, &micro, 4);
  zt_batch_destroy(&batch);
  zt_tokens_close(&tokens);
}
END_TEST

START_TEST(test_empty_side) {
  static const char *const text[][2] = {{"a", "b"}, {"", "c"}, {"d", ""}};
  zt_tokens *tokens = make_pairs(text, 3);
  zt_batch_spec spec = pairs_spec();
  zt_batch *batch;
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  for (int64_t i = 0; i < 3; i++) {
    zt_micro_batch micro = micro_at(&spec, 0);
    zt_status status = zt_batch_fill(batch, 1, i, 1, &micro);
    ck_assert_int_eq(status, i == 0 ? ZT_OK : ZT_ERR_DATA);
  }
  zt_batch_destroy(&batch);
  zt_tokens_close(&tokens);
}
END_TEST

/* ---- Refusals ---- */

START_TEST(test_refusals) {
  zt_tokens *tokens = make_documents(&about, (int[]){400}, 1, false);
  zt_batch_spec spec = spans;
  spec.target_length = 7;
  must_fail(&spec, tokens, ZT_ERR_CONFIG, "it takes 8");
  spec.target_length = 0;
  must_fail(&spec, tokens, ZT_ERR_CONFIG, "target_length");
  spec = spans;
  spec.source_length = 2;
  must_fail(&spec, tokens, ZT_ERR_CONFIG, "source_length");
  spec = spans;
  spec.source_length = 512;
  spec.target_length = 114;
  must_fail(&spec, tokens, ZT_ERR_DATA, "400 tokens, one sample takes 568");
  spec = spans;
  spec.vocabulary = 383;
  must_fail(&spec, tokens, ZT_ERR_DATA,
            "384 ids is larger than the model's 383");
  spec = spans;
  spec.eos_id = 2;
  must_fail(&spec, tokens, ZT_ERR_DATA, "eos_token_id");
  spec = spans;
  spec.start_id = -1;
  must_fail(&spec, tokens, ZT_ERR_DATA, "decoder_start_token_id");
  spec = spans;
  spec.task = ZT_TASK_SEQ2SEQ;
  must_fail(&spec, tokens, ZT_ERR_DATA, "holds no pairs");
  zt_tokens_close(&tokens);
  zt_tokens_info info = about;
  info.sentinel = -1;
  tokens = make_documents(&info, (int[]){400}, 1, false);
  must_fail(&spans, tokens, ZT_ERR_DATA, "no sentinels");
  zt_tokens_close(&tokens);
  info.sentinel = 3;
  tokens = make_documents(&info, (int[]){400}, 1, false);
  must_fail(&spans, tokens, ZT_ERR_DATA, "takes 2 sentinels");
  zt_tokens_close(&tokens);
  tokens = make_pairs((const char *const[][2]){{"a", "b"}}, 1);
  must_fail(&spans, tokens, ZT_ERR_DATA, "holds pairs");
  zt_tokens_close(&tokens);
}
END_TEST

int main(void) {
  scratch_begin("check_batch");
  Suite *suite = suite_create("batch");
  TCase *tc = tcase_create("batch");
  tcase_set_timeout(tc, 30);
  tcase_add_test(tc, test_every_epoch_has_every_sample_once);
  tcase_add_test(tc, test_packed_windows);
  tcase_add_test(tc, test_documents);
  tcase_add_test(tc, test_causal_windows);
  tcase_add_test(tc, test_causal_documents);
  tcase_add_test(tc, test_causal_refusals);
  tcase_add_test(tc, test_cut_does_not_matter);
  tcase_add_test(tc, test_pairs);
  tcase_add_test(tc, test_empty_side);
  tcase_add_test(tc, test_refusals);
  suite_add_tcase(suite, tc);
  int rc = unit_main(suite, CK_NOFORK);
  scratch_end();
  return rc;
}
