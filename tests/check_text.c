/* SPDX-License-Identifier: BSD-3-Clause */
/* Strings, sizes and times as people write and read them, and JSON. */
#include "base/text.h"

#include "base/json.h"
#include "numbers.h"
#include "scratch.h"
#include "unit.h"

/* ---- Growing strings ---- */

START_TEST(strings_grow) {
  zt_text t = {0};
  size_t size = 0;
  for (int i = 0; i < 500; i++) {
    zt_text_add(&t, "%d,", i);
    zt_text_append(&t, "ab\0c", 4);
    size += (size_t) snprintf(NULL, 0, "%d,", i) + 4;
  }
  ck_assert(!t.failed);
  ck_assert_uint_eq(t.size, size);
  ck_assert_int_eq(t.data[size], '\0');
  ck_assert_mem_eq(t.data, "0,ab\0c1,ab", 10);
  zt_text_free(&t);
  ck_assert_ptr_null(t.data);
  zt_text_free(&t);
}
END_TEST

static const struct {
  const char *bytes;
  size_t size;
  const char *json;
} strings[] = {
    {"", 0, "\"\""},
    {"plain", 5, "\"plain\""},
    {"a\"b\\c\n", 6, "\"a\\\"b\\\\c\\n\""},
    {"\0\x01\t\r\x1f\x7f", 6, "\"\\u0000\\u0001\\u0009\\u000d\\u001f\\u007f\""},
    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
     "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""},
    {"\xf4\x8f\xbf\xbf", 4, "\"\xf4\x8f\xbf\xbf\""},
    /* What is not UTF-8: each bad byte by itself. */
    {"a\x80z", 3, "\"a\xef\xbf\xbdz\""},
    {"\xc3", 1, "\"\xef\xbf\xbd\""},
    {"\xc0\xaf", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xe0\x80\xaf", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xf4\x90\x80\x80", 4,
     "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    {"\xf0\x9f\x98q", 4, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdq\""},
    {"\xff\xfe", 2, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
};

START_TEST(strings_become_json) {
  bool whole = _i < 6;
  zt_text t = {0};
  zt_text_add_json(&t, strings[_i].bytes, strings[_i].size);
  ck_assert_str_eq(t.data, strings[_i].json);
  ck_assert_int_eq(zt_is_utf8(strings[_i].bytes, strings[_i].size), whole);
  zt_text_free(&t);
}
END_TEST

/* Any bytes at all: jansson reads them back, and what was UTF-8 is as it was.
 */
START_TEST(any_bytes_become_json) {
  for (uint64_t seed = 0; seed < 2000; seed++) {
    char bytes[24];
    size_t n = numbers_bits(seed, 99) % sizeof bytes;
    for (size_t i = 0; i < n; i++) {
      uint64_t r = numbers_bits(seed, i);
      bytes[i] = r % 3 ? (char) (r >> 8) : "\xe2\x82\xac\xc3\xa4"[r % 5];
    }
    zt_text t = {0};
    zt_text_add_json(&t, bytes, n);
    json_t *back =
        json_loadb(t.data, t.size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    ck_assert_ptr_nonnull(back);
    if (zt_is_utf8(bytes, n)) {
      ck_assert_uint_eq(json_string_length(back), n);
      ck_assert_mem_eq(json_string_value(back), bytes, n);
    }
    json_decref(back);
    zt_text_free(&t);
  }
}
END_TEST

/* ---- Sizes, times, words ---- */

START_TEST(sizes_are_read) {
  static const struct {
    const char *text;
    double bytes; /* < 0: not a size */
  } sizes[] = {
      {"0", 0},        {"4096", 4096},    {"1e9", 1e9},     {"5GB", 5e9},
      {"5 GB", 5e9},   {"64MiB", 0x1p26}, {"64M", 0x1p26},  {"1.5K", 1536},
      {"2kB", 2000},   {"2k", 2000},      {"1TiB", 0x1p40}, {"1TB", 1e12},
      {".5G", 0x1p29}, {"7B", 7},         {"", -1},         {"-1", -1},
      {"GB", -1},      {"5GBs", -1},      {"5 G B", -1},    {"nan", -1},
      {"inf", -1},     {"1e400", -1},     {"9e18", -1},     {".", -1},
      {"+5", -1},      {" 5", -1},        {"5PiB", -1}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    size_t bytes = 12345;
    bool read = zt_parse_bytes(sizes[i].text, &bytes);
    ck_assert_msg(read == (sizes[i].bytes >= 0), "\"%s\"", sizes[i].text);
    ck_assert_uint_eq(bytes, read ? (size_t) sizes[i].bytes : 12345);
  }
}
END_TEST

START_TEST(figures_are_written) {
  char b[32];
  ck_assert_str_eq(zt_human_bytes(0, b), "0 B");
  ck_assert_str_eq(zt_human_bytes(1023, b), "1023 B");
  ck_assert_str_eq(zt_human_bytes(1536, b), "1.50 KiB");
  ck_assert_str_eq(zt_human_bytes(0x1p40, b), "1.00 TiB");
  ck_assert_str_eq(zt_human_bytes(0x1p70, b), "1048576.00 PiB");
  ck_assert_str_eq(zt_human_time(0.04, b), "0.0 s");
  ck_assert_str_eq(zt_human_time(12.34, b), "12.3 s");
  ck_assert_str_eq(zt_human_time(125, b), "2m 05s");
  ck_assert_str_eq(zt_human_time(7380, b), "2h 03m");
  ck_assert_str_eq(zt_human_time(NAN, b), "?");
  ck_assert_str_eq(zt_human_time(-1, b), "?");
  ck_assert_uint_lt(strlen(zt_human_time(1e18, b)), 32);
  ck_assert_uint_lt(strlen(zt_human_bytes(1e30, b)), 32);
}
END_TEST

START_TEST(words_are_compared) {
  static const struct {
    const char *a, *b;
    int edits;
  } words[] = {{"", "", 0},           {"a", "", 1},
               {"", "abc", 3},        {"batch", "batch", 0},
               {"bacth", "batch", 1}, {"kitten", "sitting", 3},
               {"ab", "ba", 1},       {"steps", "step", 1},
               {"abcd", "badc", 2},   {"lr", "beta", 4}};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    ck_assert_int_eq(zt_edit_distance(words[i].a, words[i].b), words[i].edits);
    ck_assert_int_eq(zt_edit_distance(words[i].b, words[i].a), words[i].edits);
  }
  char long_word[200] = "";
  memset(long_word, 'x', sizeof long_word - 1);
  ck_assert_int_eq(zt_edit_distance(long_word, "x"), 99);
  ck_assert_int_eq(zt_edit_distance(long_word + 199 - 96, ""), 96);
  ck_assert(zt_starts_with("abc", "ab") && !zt_starts_with("a", "ab"));
  ck_assert(zt_ends_with("abc", "bc") && !zt_ends_with("c", "bc"));
  ck_assert(zt_starts_with("", "") && zt_ends_with("", ""));
}
END_TEST

START_TEST(paths_fit_or_not) {
  char path[PATH_MAX], name[PATH_MAX];
  memset(name, 'n', sizeof name);
  name[PATH_MAX - 3] = '\0';
  ck_zt_ok(zt_path(path, "d/%s", name));
  ck_assert_uint_eq(strlen(path), PATH_MAX - 1);
  ck_zt_fails(zt_path(path, "dd/%s", name), ZT_ERR_USAGE);
  ck_assert_uint_le(strlen(zt_last_error()), 200);
}
END_TEST

/* ---- JSON ---- */

static json_t *object_of(const char *text) {
  json_t *object;
  ck_zt_ok(zt_json_parse(text, strlen(text), "FILE", &object));
  return object;
}

START_TEST(values_are_read) {
  json_t *o = object_of("{\"i\": 7, \"r\": 0.5, \"b\": true, \"s\": \"x\", "
                        "\"n\": null, \"big\": 9223372036854775807}");
  int64_t i = 1;
  double r = 1;
  bool b = false;
  const char *s = "kept";
  ck_zt_ok(zt_json_int(o, "FILE", "i", true, 7, 7, &i));
  ck_assert_int_eq(i, 7);
  ck_zt_ok(zt_json_int(o, "FILE", "big", true, 0, INT64_MAX, &i));
  ck_assert_int_eq(i, INT64_MAX);
  ck_zt_ok(zt_json_real(o, "FILE", "r", true, &r));
  ck_assert_double_eq(r, 0.5);
  ck_zt_ok(zt_json_real(o, "FILE", "i", true, &r)); /* integers too */
  ck_assert_double_eq(r, 7);
  ck_zt_ok(zt_json_bool(o, "FILE", "b", true, &b));
  ck_assert(b);
  for (int k = 0; k < 2; k++) { /* missing, and null */
    const char *key = k ? "n" : "none";
    ck_zt_ok(zt_json_string(o, "FILE", key, false, &s));
    ck_assert_str_eq(s, "kept");
    ck_zt_fails(zt_json_string(o, "FILE", key, true, &s), ZT_ERR_DATA);
    ck_assert_ptr_nonnull(strstr(zt_last_error(), key));
  }
  ck_zt_ok(zt_json_string(o, "FILE", "s", true, &s));
  ck_assert_str_eq(s, "x");
  ck_zt_fails(zt_json_int(o, "FILE", "i", true, 8, 9, &i), ZT_ERR_DATA);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "FILE: \"i\" is 7"));
  ck_zt_fails(zt_json_int(o, "FILE", "r", true, 0, 9, &i), ZT_ERR_DATA);
  ck_zt_fails(zt_json_real(o, "FILE", "s", true, &r), ZT_ERR_DATA);
  ck_zt_fails(zt_json_bool(o, "FILE", "i", true, &b), ZT_ERR_DATA);
  ck_zt_fails(zt_json_string(o, "FILE", "i", true, &s), ZT_ERR_DATA);
  json_decref(o);
}
END_TEST

/* Hugging Face's "no limit"; neither strings nor other numbers change. */
START_TEST(huge_integers_are_reals) {
  json_t *o = object_of(
      "{\"a\": 1000000000000000019884624838656,\n\"b\":[-"
      "1000000000000000019884624838656], \"c\": 9223372036854775807, \"d\": "
      "0.12345678901234567890123, \"e\": 12345678901234567890123e-22, \"f\": "
      "\"\\\"12345678901234567890123 \", \"g\":true, "
      "\"12345678901234567890123\": null}");
  int64_t i = 1;
  double r = 1;
  const char *s;
  ck_zt_fails(zt_json_int(o, "FILE", "a", true, 0, INT64_MAX, &i), ZT_ERR_DATA);
  ck_zt_ok(zt_json_real(o, "FILE", "a", true, &r));
  ck_assert_double_eq(r, 1e30);
  r = json_number_value(json_array_get(json_object_get(o, "b"), 0));
  ck_assert_double_eq(r, -1e30);
  ck_zt_ok(zt_json_int(o, "FILE", "c", true, 0, INT64_MAX, &i));
  ck_assert_int_eq(i, INT64_MAX);
  ck_zt_ok(zt_json_real(o, "FILE", "d", true, &r));
  ck_assert_double_eq(r, 0.12345678901234567890123);
  ck_zt_ok(zt_json_real(o, "FILE", "e", true, &r));
  ck_assert_double_eq(r, 1.2345678901234567890123);
  ck_zt_ok(zt_json_string(o, "FILE", "f", true, &s));
  ck_assert_str_eq(s, "\"12345678901234567890123 ");
  ck_assert(json_is_null(json_object_get(o, "12345678901234567890123")));
  json_decref(o);
}
END_TEST

START_TEST(wrong_json_is_refused) {
  const char *const wrong[] = {"",
                               "{",
                               "[1]",
                               "3",
                               "{} x",
                               "{'a':1}",
                               "null",
                               "{\"a\":}",
                               "{\"a\":1,\"a\":1}",
                               "{\"a\":\"\xc3\"}",
                               "{\"a\":1e999}"};
  json_t *o;
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    ck_zt_fails(zt_json_parse(wrong[i], strlen(wrong[i]), "FILE", &o),
                ZT_ERR_DATA);
    ck_assert(zt_starts_with(zt_last_error(), "FILE"));
    ck_assert(zt_is_utf8(zt_last_error(), strlen(zt_last_error())));
  }
}
END_TEST

START_TEST(files_are_read) {
  const char *path = scratch_path("file");
  char *bytes;
  size_t size;
  FILE *f = fopen(path, "wb");
  ck_assert_ptr_nonnull(f);
  fwrite("a\0b", 1, 3, f);
  fclose(f);
  ck_zt_ok(zt_read_file(path, 3, &bytes, &size));
  ck_assert_uint_eq(size, 3);
  ck_assert_mem_eq(bytes, "a\0b", 4);
  free(bytes);
  ck_zt_fails(zt_read_file(path, 2, &bytes, &size), ZT_ERR_DATA);
  ck_zt_fails(zt_read_file(scratch, 9, &bytes, &size), ZT_ERR_NOINPUT);
  ck_zt_fails(zt_read_file(scratch_path("none"), 9, &bytes, &size),
              ZT_ERR_NOINPUT);
}
END_TEST

int main(void) {
  scratch_begin("check_text");
  Suite *suite = suite_create("text");
  TCase *all = tcase_create("all");
  tcase_add_test(all, strings_grow);
  tcase_add_loop_test(all, strings_become_json, 0,
                      sizeof strings / sizeof *strings);
  tcase_add_test(all, any_bytes_become_json);
  tcase_add_test(all, sizes_are_read);
  tcase_add_test(all, figures_are_written);
  tcase_add_test(all, words_are_compared);
  tcase_add_test(all, paths_fit_or_not);
  tcase_add_test(all, values_are_read);
  tcase_add_test(all, huge_integers_are_reals);
  tcase_add_test(all, wrong_json_is_refused);
  tcase_add_test(all, files_are_read);
  suite_add_tcase(suite, all);
  int failed = unit_main(suite, CK_NOFORK);
  scratch_end();
  return failed;
}
