/* SPDX-License-Identifier: BSD-3-Clause */
/* Samples of the causal task: documents that stay apart in packed samples,
 * what is learnt of pairs and masked documents, what is too long. */
#include "train/texts.h"

#include "io/token_writer.h"
#include "numbers.h"
#include "train/batch.h"

#include "comm/comm_mpi.h"
#include "device/device_check.h"
#include "device/device_cpu.h"
#include "scratch.h"
#include "train_unit.h"
#include "unit.h"

#include <string.h>

enum { L = 8, PAD = 0, N = ZT_NO_LABEL };

static const zt_tokens_info about = {
    .vocabulary = 384, .eos = 1, .pad = PAD, .sentinel = -1};

/* One letter an id; with a mask, capitals are learnt. */
static void add(zt_token_writer *w, int stream, const char *text) {
  bool masked = zt_token_writer_about(w)->masked;
  for (const char *c = text; *c; c++) {
    ck_zt_ok(zt_token_writer_add(w, stream, &(int32_t){*c}, 1));
    if (masked)
      ck_zt_ok(zt_token_writer_mask(w, *c >= 'A' && *c <= 'Z', 1));
  }
  ck_zt_ok(zt_token_writer_end(w, stream));
}

/* Documents, or pairs whose halves a bar parts. */
static zt_tokens *make(zt_tokens_info info, const char *const *texts) {
  const char *path = scratch_path("texts.h5");
  char half[100];
  zt_token_writer *w;
  zt_tokens *tokens;
  ck_zt_ok(zt_token_writer_create(path, &info, true, &w));
  for (; *texts; texts++) {
    const char *bar = strchr(*texts, '|');
    snprintf(half, sizeof half, "%.*s", (int) (bar ? bar - *texts : 99),
             *texts);
    add(w, 0, half);
    if (bar)
      add(w, 1, bar + 1);
  }
  ck_zt_ok(zt_token_writer_finish(w));
  zt_token_writer_destroy(&w);
  ck_zt_ok(zt_tokens_open(path, &tokens));
  ck_zt_ok(zt_tokens_verify(tokens));
  return tokens;
}

/* What a sample is to be: a dot is padding or no label, `first` in digits. */
typedef struct wanted {
  const char *ids, *labels, *first;
} wanted;

static void check_sample(zt_texts *t, int64_t sample, const wanted *w) {
  int32_t ids[L], labels[L], first[L];
  char seen[3][L + 1] = {{0}};
  int64_t targets = 0, tokens = 0;
  memset(ids, 0x77, sizeof ids);
  memset(labels, 0x77, sizeof labels);
  memset(first, 0x77, sizeof first);
  zt_text_row row = {.ids = ids, .labels = labels, .first = first};
  ck_zt_ok(zt_texts_read(t, sample, &row));
  for (int i = 0; i < L; i++) {
    seen[0][i] = (char) (ids[i] == PAD ? '.' : ids[i]);
    seen[1][i] = (char) (labels[i] == N ? '.' : labels[i]);
    seen[2][i] = (char) ('0' + first[i]);
    tokens += ids[i] != PAD;
    targets += labels[i] != N;
  }
  ck_assert_str_eq(seen[0], w->ids);
  ck_assert_str_eq(seen[1], w->labels);
  ck_assert_str_eq(seen[2], w->first);
  ck_assert_int_eq(row.tokens, tokens);
  ck_assert_int_eq(row.targets, targets);
}

#define TEXTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct {
  const char *const *texts;
  bool packing, documents, masked;
  zt_too_long too_long;
  wanted samples[4];
} cases[] = {
    /* Windows: documents that run on, and that do not. */
    {TEXTS("abc", "defgh", "", "ijklmnopqrst"),
     true,
     false,
     false,
     0,
     {{"abcdefgh", "bcdefgh.", "00000000"},
      {"ijklmnop", "jklmnop.", "00000000"}}},
    {TEXTS("abc", "defgh", "", "ijklmnopqrst", "uvwxyz"),
     true,
     true,
     false,
     0,
     {{"abcdefgh", "bc.efgh.", "00033333"},
      {"ijklmnop", "jklmnop.", "00000000"},
      {"qrstuvwx", "rst.vwx.", "00004444"}}},
    {TEXTS("a", "b", "", "", "c", "defghijklmn", "xy"),
     true,
     true,
     false,
     0,
     {{"abcdefgh", "...efgh.", "01233333"},
      {"ijklmnxy", "jklmn.y.", "00000066"}}},
    /* Pairs: the target is learnt; whole ones are packed. */
    {TEXTS("ab|cd", "e|f", "gh|ijk", "l|m", "|no"),
     true,
     false,
     false,
     0,
     {{"abcdef..", ".cd.f...", "00004466"},
      {"ghijklm.", ".ijk.m..", "00000557"},
      {"no......", "o.......", "00222222"}}},
    {TEXTS("ab|cd", "abcdefgh|ij", "abcd|efghij", "x|y"),
     true,
     false,
     false,
     ZT_TOO_LONG_TRUNCATE,
     {{"abcd....", ".cd.....", "00004444"},
      {"abcdefgh", "........", "00000000"},
      {"abcdefgh", "...efgh.", "00000000"},
      {"xy......", "y.......", "00222222"}}},
    {TEXTS("ab|cd", "abcdefgh|ij", "x|y", "abcdefgh|ij"),
     true,
     false,
     false,
     ZT_TOO_LONG_SKIP,
     {{"abcdxy..", ".cd.y...", "00004466"}}},
    {TEXTS("abcdefgh|ij", "ab|cd", "abcdefgh|ij", "x|y"),
     false,
     false,
     false,
     ZT_TOO_LONG_SKIP,
     {{"abcd....", ".cd.....", "00004444"},
      {"xy......", "y.......", "00222222"}}},
    /* A mask: the first token of a document is never learnt. */
    {TEXTS("aBCd", "EF", "ghI"),
     true,
     false,
     true,
     0,
     {{"aBCdEF..", "BC..F...", "00004466"},
      {"ghI.....", ".I......", "00033333"}}},
    {TEXTS("aBCdefgHIJ", "EF"),
     false,
     false,
     true,
     0,
     {{"aBCdefgH", "BC....H.", "00000000"},
      {"EF......", "F.......", "00222222"}}},
    /* Documents, not packed. */
    {TEXTS("abc", "defghijklm"),
     false,
     true,
     false,
     0,
     {{"abc.....", "bc......", "00033333"},
      {"defghijk", "efghijk.", "00000000"}}},
    {TEXTS("defghijklm", "abc"),
     false,
     true,
     false,
     ZT_TOO_LONG_SKIP,
     {{"abc.....", "bc......", "00033333"}}},
};

START_TEST(samples_are_as_drawn) {
  zt_tokens_info info = about;
  info.pairs = strchr(cases[_i].texts[0], '|') != NULL;
  info.masked = cases[_i].masked;
  zt_tokens *tokens = make(info, cases[_i].texts);
  zt_texts_spec spec = {.length = L,
                        .packing = cases[_i].packing,
                        .documents = cases[_i].documents,
                        .too_long = cases[_i].too_long,
                        .pad_id = PAD};
  zt_texts *t;
  ck_zt_ok(zt_texts_create(&spec, tokens, &t));
  int n = 0;
  for (; n < 4 && cases[_i].samples[n].ids; n++)
    check_sample(t, n, &cases[_i].samples[n]);
  ck_assert_int_eq(zt_texts_samples(t), n);
  zt_texts_destroy(&t);
  zt_tokens_close(&tokens);
}
END_TEST

START_TEST(too_long_is_an_error) {
  zt_tokens *tokens = make(about, TEXTS("abc", "defghijkl"));
  zt_texts_spec spec = {.length = L, .too_long = ZT_TOO_LONG_ERROR};
  zt_texts *t;
  ck_zt_fails(zt_texts_create(&spec, tokens, &t), ZT_ERR_DATA);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "document 1 (from 0) has 9"));
  spec.length = 2;
  spec.too_long = ZT_TOO_LONG_SKIP;
  ck_zt_fails(zt_texts_create(&spec, tokens, &t), ZT_ERR_DATA);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "left out"));
  ck_assert_ptr_null(t);
  spec.length = 9;
  spec.too_long = ZT_TOO_LONG_ERROR;
  ck_zt_ok(zt_texts_create(&spec, tokens, &t));
  zt_texts_destroy(&t);
  zt_tokens_close(&tokens);
}
END_TEST

START_TEST(a_damaged_mask_is_noticed) {
  zt_tokens_info info = about;
  info.masked = true;
  zt_tokens *tokens = make(info, TEXTS("abCD", "efGH"));
  zt_texts_spec spec = {.length = L, .packing = true};
  zt_texts *t;
  FILE *f = fopen(scratch_path("texts.h5"), "r+b");
  fseek(f, -1, SEEK_END); /* the mask comes last */
  fputc(2, f);
  fclose(f);
  ck_zt_ok(zt_texts_create(&spec, tokens, &t));
  int32_t ids[L], labels[L];
  zt_text_row row = {.ids = ids, .labels = labels};
  ck_zt_fails(zt_texts_read(t, 0, &row), ZT_ERR_DATA);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "/mask[7] is 2"));
  ck_zt_fails(zt_tokens_verify(tokens), ZT_ERR_DATA);
  zt_texts_destroy(&t);
  zt_tokens_close(&tokens);
}
END_TEST

/* ---- A step on packed documents is a step on each for itself ---- */

enum { LENGTH = 24, PAIRS = 13 };

/* Pairs of 2 .. 19 tokens, or as many documents. */
static zt_tokens *make_many(bool pairs) {
  zt_tokens_info info = about;
  info.pairs = pairs;
  info.masked = !pairs;
  zt_token_writer *w;
  zt_tokens *tokens;
  ck_zt_ok(zt_token_writer_create(scratch_path("many.h5"), &info, true, &w));
  for (uint64_t d = 0; d < PAIRS; d++)
    for (int s = 0; s < 2; s++) {
      size_t n = 1 + numbers_bits(d, (uint64_t) s) % 9;
      int stream = pairs ? s : 0;
      for (uint64_t i = 0; i < n; i++) {
        uint64_t bits = numbers_bits(d + 100 * (uint64_t) s, i);
        int32_t id = (int32_t) (3 + bits % 300);
        ck_zt_ok(zt_token_writer_add(w, stream, &id, 1));
        if (!pairs)
          ck_zt_ok(zt_token_writer_mask(w, s == 1, 1));
      }
      if (pairs || s == 1)
        ck_zt_ok(zt_token_writer_end(w, stream));
    }
  ck_zt_ok(zt_token_writer_finish(w));
  zt_token_writer_destroy(&w);
  ck_zt_ok(zt_tokens_open(scratch_path("many.h5"), &tokens));
  return tokens;
}

static zt_step_result run_step(const zt_model *model, zt_tokens *tokens,
                               bool packing) {
  zt_device *dev;
  zt_comm *comm;
  zt_step_result result;
  zt_batch *batch;
  zt_step_options options = train_options(1, 1);
  zt_batch_spec spec = {.task = ZT_TASK_CAUSAL,
                        .target_length = LENGTH,
                        .packing = packing,
                        .vocabulary = model->shape.vocabulary,
                        .pad_id = -1,
                        .eos_id = -1,
                        .start_id = -1};
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  options.batch = zt_batch_samples(batch); /* all there is */
  zt_batch_destroy(&batch);
  spec.batch = options.batch;
  options.pass.source_length = 0;
  options.pass.target_length = LENGTH;
  options.pass.documents = packing;
  ck_zt_ok(zt_batch_create(&spec, &tokens, NULL, 1, &batch));
  ck_zt_ok(zt_device_cpu_create(1, &dev));
  ck_zt_ok(zt_device_check(dev));
  ck_zt_ok(zt_comm_mpi_create(MPI_COMM_SELF, &comm));
  zt_step *step = train_step(model, dev, comm, &options);
  ck_zt_ok(zt_step_run(step, batch, 1, 1e-3, 1, &result));
  zt_step_destroy(&step);
  zt_comm_destroy(&comm);
  zt_device_destroy(&dev);
  zt_batch_destroy(&batch);
  return result;
}

START_TEST(packed_loss_is_the_unpacked_one) {
  zt_model *model = train_model(_i & 1 ? "gpt2tiny" : "llamatiny", 0);
  zt_tokens *tokens = make_many(_i & 2);
  zt_step_result packed = run_step(model, tokens, true);
  zt_step_result apart = run_step(model, tokens, false);
  ck_assert_int_eq(packed.targets, apart.targets);
  ck_assert_int_eq(packed.tokens, apart.tokens);
  ck_assert_double_eq_tol(packed.loss, apart.loss, 1e-6 * apart.loss);
  ck_assert_double_eq_tol(packed.grad_norm, apart.grad_norm,
                          1e-5 * apart.grad_norm);
  zt_tokens_close(&tokens);
  zt_model_destroy(&model);
}
END_TEST

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  scratch_begin("check_texts");
  Suite *suite = suite_create("texts");
  TCase *tc = tcase_create("texts");
  tcase_set_timeout(tc, 60);
  tcase_add_loop_test(tc, samples_are_as_drawn, 0,
                      sizeof cases / sizeof *cases);
  tcase_add_test(tc, too_long_is_an_error);
  tcase_add_test(tc, a_damaged_mask_is_noticed);
  tcase_add_loop_test(tc, packed_loss_is_the_unpacked_one, 0, 4);
  suite_add_tcase(suite, tc);
  int rc = unit_main(suite, CK_NOFORK);
  scratch_end();
  MPI_Finalize();
  return rc;
}
