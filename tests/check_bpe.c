/* SPDX-License-Identifier: BSD-3-Clause */
/* Byte-level BPE: ids that Hugging Face's tokenizers gave
 * (golden/tokenizer/make.py), in pieces of any size; files that are not what
 * they should be. */
#include "tokenizer/tokenizer.h"

#include "base/json.h"
#include "base/text.h"
#include "scratch.h"
#include "tokenizer/utf8.h"
#include "unit.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {"gpt2", "llama3", "smollm", "qwen"};

typedef struct taken {
  int32_t ids[700000];
  size_t n;
} taken;

static taken all;

static zt_status take(void *context, const int32_t *ids, size_t n) {
  taken *t = context;
  ck_assert_uint_le(t->n + n, sizeof t->ids / sizeof *t->ids);
  memcpy(t->ids + t->n, ids, n * sizeof *ids);
  t->n += n;
  return ZT_OK;
}

static const char *golden(const char *name) {
  static char path[4][512];
  static int next;
  char *p = path[next++ % 4];
  const char *src = getenv("ZT_SRC");
  snprintf(p, sizeof *path, "%s/tests/golden/tokenizer/%s", src ? src : ".",
           name);
  return p;
}

/* ---- Against the reference ---- */

/* The texts, as arrays of bytes. */
static json_t *read_texts(void) {
  json_error_t error;
  json_t *texts = json_load_file(golden("text.json"), 0, &error);
  ck_assert_msg(texts != NULL, "%s", error.text);
  return texts;
}

static size_t bytes_of(const json_t *array, char *bytes, size_t most) {
  size_t n = json_array_size(array);
  ck_assert_uint_le(n, most);
  for (size_t i = 0; i < n; i++)
    bytes[i] = (char) json_integer_value(json_array_get(array, i));
  return n;
}

static zt_tokenizer *open_kind(const char *kind) {
  char name[64];
  zt_tokenizer *t;
  snprintf(name, sizeof name, "%s.json", kind);
  ck_zt_ok(zt_tokenizer_open(golden(name), &t));
  return t;
}

static void ck_ids(FILE *file, const char *kind, size_t text) {
  static char line[20000];
  ck_assert_ptr_nonnull(fgets(line, sizeof line, file));
  size_t n = 0;
  for (char *c = line, *end; *c && *c != '\n'; c = end, n++) {
    long id = strtol(c, &end, 10);
    ck_assert_msg(n < all.n && all.ids[n] == id,
                  "%s, text %zu, id %zu: %d "
                  "instead of %ld",
                  kind, text, n, n < all.n ? all.ids[n] : -1, id);
    end += *end == ' ';
  }
  ck_assert_uint_eq(n, all.n);
}

START_TEST(test_reference) {
  const char *kind = kinds[_i];
  if (!strcmp(kind, "qwen") && !zt_utf8_can_compose())
    return;
  static char text[8192];
  char name[64];
  json_t *texts = read_texts();
  zt_tokenizer *t = open_kind(kind);
  snprintf(name, sizeof name, "%s.ids", kind);
  for (size_t step = 1; step < 10000; step = step < 9 ? step + 1 : step * 7) {
    FILE *ids = fopen(golden(name), "r");
    ck_assert_ptr_nonnull(ids);
    for (size_t i = 0; i < json_array_size(texts); i++) {
      size_t size = bytes_of(json_array_get(texts, i), text, sizeof text);
      all.n = 0;
      for (size_t at = 0, n; at < size; at += n) {
        n = size - at < step ? size - at : step;
        ck_zt_ok(
            zt_tokenizer_encode(t, text + at, n, at + n == size, take, &all));
      }
      ck_ids(ids, kind, i);
    }
    fclose(ids);
  }
  json_decref(texts);
  zt_tokenizer_close(&t);
}
END_TEST

/* A long text is cut where it does not matter: ids do not depend on the size
 * of the pieces it comes in, and give the text back. */
START_TEST(test_long_text) {
  const char *kind = kinds[_i];
  if (!strcmp(kind, "qwen") && !zt_utf8_can_compose())
    return;
  static char piece[8192], text[700000];
  static int32_t whole[700000];
  size_t size = 0, count = 0;
  json_t *texts = read_texts();
  zt_tokenizer *t = open_kind(kind);
  /* Only those that are well-formed and in form C come back as they are. */
  static const int chosen[] = {0, 1, 2, 8};
  for (unsigned i = 0, random = 7; size < sizeof text - sizeof piece; i++) {
    random = random * 1664525 + 1013904223;
    size_t n = bytes_of(json_array_get(texts, (size_t) chosen[random >> 30]),
                        piece, sizeof piece);
    memcpy(text + size, piece, n);
    size += n;
  }
  for (size_t step = size; step > 900; step /= 9) {
    all.n = 0;
    for (size_t at = 0, n; at < size; at += n) {
      n = size - at < step ? size - at : step;
      ck_zt_ok(
          zt_tokenizer_encode(t, text + at, n, at + n == size, take, &all));
    }
    if (step == size) {
      memcpy(whole, all.ids, all.n * sizeof *whole);
      count = all.n;
    }
    ck_assert_uint_eq(all.n, count);
    ck_assert_int_eq(memcmp(all.ids, whole, count * sizeof *whole), 0);
  }
  zt_text back = {0};
  ck_zt_ok(zt_tokenizer_decode(t, whole, count, &back));
  ck_assert_uint_eq(back.size, size);
  ck_assert_int_eq(memcmp(back.data, text, size), 0);
  zt_text_free(&back);
  json_decref(texts);
  zt_tokenizer_close(&t);
}
END_TEST

START_TEST(test_vocabulary) {
  zt_tokenizer *t = open_kind("gpt2");
  ck_assert_int_eq(t->vocabulary.eos, 0);
  ck_assert_int_eq(t->vocabulary.pad, -1);
  ck_assert_int_eq(t->vocabulary.sentinel, -1);
  const int32_t ids[] = {0, (int32_t) t->vocabulary.size - 1, -1,
                         (int32_t) t->vocabulary.size, 1 << 30};
  zt_text text = {0};
  ck_zt_ok(zt_tokenizer_decode(t, ids, 5, &text)); /* none is a text */
  ck_assert_uint_eq(text.size, 0);
  zt_text_free(&text);
  zt_tokenizer_close(&t);
}
END_TEST

/* ---- Files that are not what they should be ---- */

/* The reference's file with a text in it changed. */
static const char *changed(const char *kind, const char *what,
                           const char *with) {
  static int number;
  char name[64], *bytes;
  size_t size;
  snprintf(name, sizeof name, "%s.json", kind);
  ck_zt_ok(zt_read_file(golden(name), 1 << 20, &bytes, &size));
  char *at = strstr(bytes, what);
  ck_assert_msg(at != NULL, "%s holds no %s", name, what);
  snprintf(name, sizeof name, "changed-%d.json", number++);
  const char *path = scratch_path(name);
  FILE *file = fopen(path, "w");
  ck_assert_ptr_nonnull(file);
  fprintf(file, "%.*s%s%s", (int) (at - bytes), bytes, with, at + strlen(what));
  fclose(file);
  free(bytes);
  return path;
}

static const struct {
  const char *kind, *what, *with, *says;
} wrong[] = {
    {"gpt2", "\"type\":\"BPE\"", "\"type\":\"Unigram\"", "Unigram"},
    {"gpt2", "\"type\":\"ByteLevel\"", "\"type\":\"Metaspace\"", "byte-level"},
    {"gpt2", "\"add_prefix_space\":false", "\"add_prefix_space\":true",
     "add_prefix_space"},
    {"gpt2", "\"normalizer\":null", "\"normalizer\":{\"type\":\"Lowercase\"}",
     "Lowercase"},
    {"gpt2", "\"lstrip\":false", "\"lstrip\":true", "lstrip"},
    {"gpt2", "\"model\":", "\"mode1\":", "not a tokenizer.json"},
    {"gpt2", "\"merges\":[", "\"merges\":[[\"\\u00ff\\u00ff\",\"x\"],",
     "merge 0"},
    {"gpt2", "\"merges\":[", "\"merges\":[7,", "no pair"},
    {"gpt2", "\"vocab\":{", "\"vocab\":{\"zzz\":-1,", "zzz"},
    {"gpt2", "\"vocab\":{", "\"vocab\":{\"zzz\":99999999,", "zzz"},
    {"gpt2", "\"vocab\":{", "\"vocab\":{\"zzz\":3,", "twice"},
    {"llama3", "(?i:", "(?i(", "pattern"},
    {"llama3", "\"Isolated\"", "\"Removed\"", "Removed"},
    {"smollm", "\"type\":\"Digits\"", "\"type\":\"Cipher\"", "Cipher"},
    {"gpt2", "{\"version\"", "{,\"version\"", "JSON"},
};

START_TEST(test_wrong) {
  zt_tokenizer *t;
  const char *path = changed(wrong[_i].kind, wrong[_i].what, wrong[_i].with);
  ck_zt_fails(zt_tokenizer_open(path, &t), ZT_ERR_DATA);
  ck_assert_ptr_null(t);
  ck_assert_msg(strstr(zt_last_error(), wrong[_i].says) != NULL, "%s",
                zt_last_error());
  ck_assert_uint_le(strlen(zt_last_error()), 200);
}
END_TEST

START_TEST(test_missing) {
  zt_tokenizer *t;
  ck_zt_fails(zt_tokenizer_open(scratch_path("none.json"), &t), ZT_ERR_NOINPUT);
}
END_TEST

/* ---- Ill-formed text ---- */

START_TEST(test_clean) {
  static const struct {
    const char *bytes, *text;
  } cases[] = {
      {"a\xFF"
       "b",
       "a\xEF\xBF\xBD"
       "b"},
      {"\xC3", "\xEF\xBF\xBD"},
      {"\xE2\x82", "\xEF\xBF\xBD"},
      {"\xE2\x82\xE2\x82\xAC", "\xEF\xBF\xBD\xE2\x82\xAC"},
      {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
      {"\xC0\xAF", "\xEF\xBF\xBD\xEF\xBF\xBD"},
      {"\xF0\x9F\x98x", "\xEF\xBF\xBDx"},
      {"\xF4\x90\x80\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
      {"\xE2\x82\xAC\xF0\x9F\x98\x80", "\xE2\x82\xAC\xF0\x9F\x98\x80"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    zt_text out = {0};
    size_t size = strlen(cases[i].bytes);
    ck_assert_uint_eq(zt_utf8_clean(cases[i].bytes, size, true, &out), size);
    ck_assert_str_eq(out.data, cases[i].text);
    zt_text_free(&out);
  }
  zt_text out = {0};
  ck_assert_uint_eq(zt_utf8_clean("ab\xF0\x9F\x98", 5, false, &out), 2);
  ck_assert_str_eq(out.data, "ab");
  zt_text_free(&out);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("bpe");
  TCase *t = tcase_create("ids");
  scratch_begin("check_bpe");
  tcase_set_timeout(t, 60);
  tcase_add_loop_test(t, test_reference, 0, 4);
  tcase_add_loop_test(t, test_long_text, 0, 4);
  tcase_add_test(t, test_vocabulary);
  tcase_add_loop_test(t, test_wrong, 0, sizeof wrong / sizeof *wrong);
  tcase_add_test(t, test_missing);
  tcase_add_test(t, test_clean);
  suite_add_tcase(suite, t);
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_NORMAL);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  scratch_end();
  return failed > 0;
}
