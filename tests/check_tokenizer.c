/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokenizer/tokenizer.h"

#include "scratch.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

typedef struct taken {
  int32_t ids[100000];
  size_t n;
} taken;

static zt_status take(void *context, const int32_t *ids, size_t n) {
  taken *t = context;
  ck_assert_uint_le(t->n + n, sizeof t->ids / sizeof *t->ids);
  memcpy(t->ids + t->n, ids, n * sizeof *ids);
  t->n += n;
  return ZT_OK;
}

static zt_status refuse(void *context, const int32_t *ids, size_t n) {
  (void) context, (void) ids, (void) n;
  return zt_fail(ZT_ERR_IO, "no more");
}

static zt_tokenizer *tokenizer;
static taken all;

static void setup(void) {
  ck_zt_ok(zt_tokenizer_open("bytes", &tokenizer));
  all.n = 0;
}

static void teardown(void) {
  zt_tokenizer_close(&tokenizer);
  ck_assert_ptr_null(tokenizer);
  zt_tokenizer_close(&tokenizer);
}

START_TEST(test_bytes_vocabulary) {
  const zt_vocabulary *v = &tokenizer->vocabulary;
  ck_assert_int_eq(v->size, 384);
  ck_assert_int_eq(v->pad, 0);
  ck_assert_int_eq(v->eos, 1);
  ck_assert_int_eq(v->unk, 2);
  ck_assert_int_eq(v->sentinel, 258);
}
END_TEST

/* Any bytes, fed in pieces of any size, come back. */
START_TEST(test_bytes_round_trip) {
  static char text[50000];
  uint32_t random = 1;
  for (size_t i = 0; i < sizeof text; i++) {
    random = random * 1664525 + 1013904223;
    text[i] = (char) (random >> 24);
  }
  for (size_t at = 0, n = 0; at < sizeof text; at += n) {
    n = (at * 7 + 1) % 9000;
    n = n < sizeof text - at ? n : sizeof text - at;
    ck_zt_ok(zt_tokenizer_encode(tokenizer, text + at, n, false, take, &all));
  }
  ck_zt_ok(zt_tokenizer_encode(tokenizer, "", 0, true, take, &all));
  ck_assert_uint_eq(all.n, sizeof text);
  for (size_t i = 0; i < all.n; i++)
    ck_assert_int_eq(all.ids[i], (unsigned char) text[i] + 3);
  zt_text back = {0};
  ck_zt_ok(zt_tokenizer_decode(tokenizer, all.ids, all.n, &back));
  ck_assert_uint_eq(back.size, sizeof text);
  ck_assert_mem_eq(back.data, text, sizeof text);
  zt_text_free(&back);
}
END_TEST

/* Hugging Face's ByT5Tokenizer("Life is like a box of chocolates."). */
START_TEST(test_bytes_reference) {
  static const int32_t known[] = {79,  108, 105, 104, 35,  108, 118, 35,  111,
                                  108, 110, 104, 35,  100, 35,  101, 114, 123,
                                  35,  114, 105, 35,  102, 107, 114, 102, 114,
                                  111, 100, 119, 104, 118, 49};
  const char *text = "Life is like a box of chocolates.";
  ck_zt_ok(
      zt_tokenizer_encode(tokenizer, text, strlen(text), true, take, &all));
  ck_assert_uint_eq(all.n, sizeof known / sizeof *known);
  ck_assert_mem_eq(all.ids, known, sizeof known);
}
END_TEST

START_TEST(test_bytes_decode_specials) {
  static const int32_t ids[] = {0,   'a' + 3, 2,         383, 'b' + 3,
                                259, -1,      INT32_MAX, 1,   258};
  zt_text back = {0};
  ck_zt_ok(
      zt_tokenizer_decode(tokenizer, ids, sizeof ids / sizeof *ids, &back));
  ck_assert_str_eq(back.data, "ab\xFF");
  zt_text_free(&back);
}
END_TEST

START_TEST(test_sink_failure) {
  ck_zt_fails(zt_tokenizer_encode(tokenizer, "x", 1, true, refuse, NULL),
              ZT_ERR_IO);
}
END_TEST

START_TEST(test_open_failures) {
  zt_tokenizer *t;
  const char *path = scratch_path("not.model");
  FILE *f = fopen(path, "w");
  ck_assert_ptr_nonnull(f);
  fputs("{\"model\": \"a tokenizer.json\"}", f);
  fclose(f);
  zt_status missing = zt_tokenizer_open(scratch_path("missing"), &t);
  ck_assert_ptr_null(t);
  if (missing == ZT_ERR_UNAVAILABLE)
    return; /* a build without SentencePiece says so */
  ck_assert_int_eq(missing, ZT_ERR_NOINPUT);
  ck_zt_fails(zt_tokenizer_open(path, &t), ZT_ERR_DATA);
  ck_assert_ptr_null(t);
  ck_zt_fails(zt_tokenizer_open(scratch_path("."), &t), ZT_ERR_NOINPUT);
}
END_TEST

static zt_status print_ids(void *context, const int32_t *ids, size_t n) {
  zt_text text = {0};
  for (size_t i = 0; i < n; i++)
    printf("%d ", ids[i]);
  ZT_TRY(zt_tokenizer_decode(context, ids, n, &text));
  fprintf(stderr, "%s\n", text.data ? text.data : "");
  zt_text_free(&text);
  return ZT_OK;
}

/* For scripts: the ids of standard input, fed in odd pieces, on standard
 * output, and their text on standard error. */
static int print_encoded(const char *model) {
  zt_tokenizer *t;
  char piece[37];
  if (zt_tokenizer_open(model, &t) != ZT_OK)
    return fprintf(stderr, "%s\n", zt_last_error()), EXIT_FAILURE;
  for (size_t n; (n = fread(piece, 1, sizeof piece, stdin)) > 0;)
    if (zt_tokenizer_encode(t, piece, n, false, print_ids, t) != ZT_OK)
      return EXIT_FAILURE;
  if (zt_tokenizer_encode(t, "", 0, true, print_ids, t) != ZT_OK)
    return EXIT_FAILURE;
  zt_tokenizer_close(&t);
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "--encode"))
    return print_encoded(argv[2]);
  scratch_begin("check_tokenizer");
  Suite *suite = suite_create("tokenizer");
  TCase *tc = tcase_create("bytes");
  tcase_add_checked_fixture(tc, setup, teardown);
  tcase_add_test(tc, test_bytes_vocabulary);
  tcase_add_test(tc, test_bytes_round_trip);
  tcase_add_test(tc, test_bytes_reference);
  tcase_add_test(tc, test_bytes_decode_specials);
  tcase_add_test(tc, test_sink_failure);
  tcase_add_test(tc, test_open_failures);
  suite_add_tcase(suite, tc);
  int rc = unit_main(suite, CK_NOFORK);
  scratch_end();
  return rc;
}
