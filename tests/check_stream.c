/* SPDX-License-Identifier: BSD-3-Clause */
/* Text as it comes: all of it is printed once, stops are found wherever tokens
 * cut them, and a token of a long text costs no more than one of a short one.
 */
#include "prog/stream.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

enum { MOST = 3000 };

/* The bytes of "bytes", counted. */
typedef struct counting {
  zt_tokenizer base;
  zt_tokenizer *bytes;
  size_t decoded;
} counting;

static zt_status count_decode(zt_tokenizer *tokenizer, const int32_t *ids,
                              size_t n, zt_text *text) {
  counting *c = (counting *) tokenizer;
  c->decoded += n;
  return zt_tokenizer_decode(c->bytes, ids, n, text);
}

static const zt_tokenizer_ops count_ops = {.decode = count_decode};

static zt_status keep(void *context, const int32_t *ids, size_t n) {
  int32_t **to = context;
  memcpy(*to, ids, n * sizeof *ids);
  *to += n;
  return ZT_OK;
}

static counting open_counting(void) {
  counting c = {.base.ops = &count_ops};
  ck_zt_ok(zt_tokenizer_open("bytes", &c.bytes));
  return c;
}

static int64_t ids_of(counting *c, const char *text, int32_t *ids) {
  int32_t *to = ids;
  ck_zt_ok(zt_tokenizer_encode(c->bytes, text, strlen(text), true, keep, &to));
  return to - ids;
}

/* Characters of one to four bytes, bytes that are none, ids without text. */
static int64_t make_text(counting *c, int32_t *ids) {
  static const char *const parts[] = {"a",
                                      "\xC3\xA9",
                                      "\xE2\x82\xAC",
                                      "bc",
                                      "\xF0\x9F\x8C\x8D",
                                      "\xFF\xFE",
                                      "\xE2\x82",
                                      " "};
  int64_t n = 0;
  for (unsigned i = 0; n < MOST - 8; i++) {
    n += ids_of(c, parts[i * i % 8], ids + n);
    if (i % 5 == 0)
      ids[n++] = 1; /* the end id: no text */
  }
  return n;
}

START_TEST(printed_once) {
  static int32_t ids[MOST];
  counting c = open_counting();
  int64_t n = make_text(&c, ids);
  char *shown = NULL;
  size_t size = 0;
  zt_text all = {0};
  zt_stream s = {.tokenizer = &c.base, .to = open_memstream(&shown, &size)};
  for (int64_t i = 1; i <= n; i++) {
    bool end = i == n;
    ck_zt_ok(zt_stream_token(&s, 0, ids, i, &end));
    ck_assert_uint_eq(s.printed, size);
  }
  ck_assert_uint_lt(c.decoded, (size_t) n * 150);
  ck_zt_ok(zt_tokenizer_decode(c.bytes, ids, (size_t) n, &all));
  ck_assert_uint_eq(size, all.size);
  ck_assert_mem_eq(shown, all.data, size);
  fclose(s.to);
  free(shown);
  zt_text_free(&all);
  zt_tokenizer_close(&c.bytes);
}
END_TEST

START_TEST(stops_found) {
  static const char *const stops[] = {"x", "STOP", "\xE2\x82\xAC!",
                                      "a rather long one, of more bytes than "
                                      "are looked at for the others"};
  static int32_t ids[MOST];
  counting c = open_counting();
  int64_t n = ids_of(&c, "not here: ", ids), before = MOST / 3;
  while (n < before)
    n += n % 97 == 0 ? (ids[n] = 1, 1) : ids_of(&c, "S", ids + n);
  n += ids_of(&c, stops[_i], ids + n);
  zt_stream s = {
      .tokenizer = &c.base, .stops = {"never", stops[_i]}, .n_stops = 2};
  for (int64_t i = 1; i <= n; i++) {
    bool end = false;
    ck_zt_ok(zt_stream_token(&s, 0, ids, i, &end));
    ck_assert_int_eq(end, i == n);
  }
  ck_assert_uint_lt(c.decoded, (size_t) n * 400);
  zt_tokenizer_close(&c.bytes);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("stream");
  TCase *all = tcase_create("all");
  tcase_add_test(all, printed_once);
  tcase_add_loop_test(all, stops_found, 0, 4);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_FORK);
}
