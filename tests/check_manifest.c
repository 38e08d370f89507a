/* SPDX-License-Identifier: BSD-3-Clause */
/* A manifest may be sealed and still be nonsense: what it says of parameters is
 * refused before anything is read by it. */
#include "io/restart_inside.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

/* Two units of 6 and 4 elements, and parameters given as JSON. */
static zt_status check(const char *parameters, const char *aliases) {
  int64_t numel[] = {6, 4}, start[] = {0, 6, 10};
  char text[1024];
  snprintf(text, sizeof text, "{\"parameters\": %s, \"aliases\": %s}",
           parameters, aliases);
  zt_restart_inside inside = {
      .n_units = 2, .unit_numel = numel, .unit_start = start};
  zt_restart restart = {.path = (char *) "r",
                        .manifest = json_loads(text, 0, NULL),
                        .inside = &inside};
  ck_assert_msg(restart.manifest != NULL, "%s", text);
  zt_status status = zt_restart_check_manifest(&restart);
  json_decref(restart.manifest);
  return status;
}

#define A "{\"name\": \"a\", \"shape\": [2, 3], \"start\": 0}"
#define B "{\"name\": \"b\", \"shape\": [4], \"start\": 6}"

static void refused(const char *parameters, const char *aliases,
                    const char *text) {
  ck_zt_fails(check(parameters, aliases), ZT_ERR_DATA);
  ck_assert_msg(strstr(zt_last_error(), text) &&
                    strstr(zt_last_error(), "r/manifest.json") &&
                    !strpbrk(zt_last_error(), "\n\033"),
                "'%s' instead of '%s'", zt_last_error(), text);
}

START_TEST(good_ones) {
  ck_zt_ok(check("[" A "," B "]", "{}"));
  ck_zt_ok(check("[" A "," B "]", "{\"c\": \"a\", \"d\": \"a\"}"));
  ck_zt_ok(check("[" A "," B "]", "null"));
}
END_TEST

START_TEST(wrong_parameters) {
  static const char *const entries[] = {
      "{\"name\": \"b\", \"shape\": [4], \"start\": 5}",
      "{\"name\": \"b\", \"shape\": [4], \"start\": 7}",
      "{\"name\": \"b\", \"shape\": [4], \"start\": -6}",
      "{\"name\": \"b\", \"shape\": [4], \"start\": \"6\"}",
      "{\"name\": \"b\", \"shape\": [4]}",
      "{\"name\": \"b\", \"shape\": [], \"start\": 6}",
      "{\"name\": \"b\", \"shape\": [1, 1, 1, 2, 2], \"start\": 6}",
      "{\"name\": \"b\", \"shape\": [0], \"start\": 6}",
      "{\"name\": \"b\", \"shape\": [-2, -2], \"start\": 6}",
      "{\"name\": \"b\", \"shape\": [4.0], \"start\": 6}",
      "{\"name\": \"b\", \"shape\": [9223372036854775807, 4], \"start\": 6}",
      "{\"name\": \"b\", \"shape\": [9223372036854775807], \"start\": 6}",
      "{\"name\": \"a\", \"shape\": [4], \"start\": 6}",
      "{\"name\": \"b/c\", \"shape\": [4], \"start\": 6}",
      "{\"name\": \"\", \"shape\": [4], \"start\": 6}",
      "{\"name\": \"b\\u001b\", \"shape\": [4], \"start\": 6}",
      "{\"name\": 7, \"shape\": [4], \"start\": 6}",
      "7",
  };
  for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
    char list[256];
    snprintf(list, sizeof list, "[" A ", %s]", entries[i]);
    refused(list, "{}", "cannot be");
  }
  refused("[" A "]", "{}", "do not fill the units");
  refused("[]", "{}", "do not fill the units");
  refused("{}", "{}", "do not fill the units");
}
END_TEST

START_TEST(wrong_aliases) {
  static const char *const aliases[] = {
      "{\"c\": \"d\"}",        "{\"a\": \"b\"}",   "{\"c\": 7}",
      "{\"c/d\": \"a\"}",      "{\"\": \"a\"}",    "{\"c\": null}",
      "{\"c\\u000a\": \"a\"}", "{\"c\": [\"a\"]}",
  };
  for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
    refused("[" A "," B "]", aliases[i], "alias ");
}
END_TEST

int main(void) {
  Suite *suite = suite_create("manifest");
  TCase *tests = tcase_create("manifest");
  tcase_add_test(tests, good_ones);
  tcase_add_test(tests, wrong_parameters);
  tcase_add_test(tests, wrong_aliases);
  suite_add_tcase(suite, tests);
  return unit_main(suite, CK_FORK);
}
