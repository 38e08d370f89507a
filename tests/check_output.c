/* SPDX-License-Identifier: BSD-3-Clause */
/* Output files that are whole or not there, and the thread that writes. */
#include "small_disk.h"

#include "base/json.h"
#include "base/text.h"
#include "io/output.h"
#include "io/writer.h"

#include "scratch.h"
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static bool exists(const char *name) {
  return access(scratch_path(name), F_OK) == 0;
}

static void put(const char *name, const char *text) {
  FILE *f = fopen(scratch_path(name), "w");
  ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void check_content(const char *name, const char *text) {
  char *bytes;
  ck_zt_ok(zt_read_file(scratch_path(name), 1000, &bytes, NULL));
  ck_assert_str_eq(bytes, text);
  free(bytes);
}

START_TEST(appears_at_commit) {
  zt_output o;
  const char *path = scratch_path("a");
  ck_zt_ok(zt_output_begin(&o, path, false));
  ck_zt_ok(zt_output_reserve(&o, 3));
  ck_zt_ok(zt_write_at(o.fd, path, "abc", 3, 0));
  ck_assert(!exists("a") && exists("a.tmp"));
  ck_zt_ok(zt_output_commit(&o));
  ck_assert(exists("a") && !exists("a.tmp"));
  check_content("a", "abc");
  zt_output_discard(&o); /* allowed, and does nothing */
  check_content("a", "abc");
}
END_TEST

START_TEST(replaces_only_when_asked) {
  zt_output o;
  put("b", "old");
  ck_zt_fails(zt_output_begin(&o, scratch_path("b"), false), ZT_ERR_CREATE);
  ck_assert(strstr(zt_last_error(), "--force"));
  ck_zt_ok(zt_output_begin(&o, scratch_path("b"), true));
  ck_zt_ok(zt_write_at(o.fd, "b", "new", 3, 0));
  zt_output_discard(&o);
  check_content("b", "old");
  ck_zt_ok(zt_output_begin(&o, scratch_path("b"), true));
  ck_zt_ok(zt_write_at(o.fd, "b", "new", 3, 0));
  ck_zt_ok(zt_output_commit(&o));
  check_content("b", "new");
  /* What appears meanwhile is not replaced either. */
  ck_zt_ok(zt_output_begin(&o, scratch_path("c"), false));
  put("c", "another's");
  ck_zt_fails(zt_output_commit(&o), ZT_ERR_CREATE);
  zt_output_discard(&o);
  check_content("c", "another's");
  ck_assert(!exists("c.tmp"));
}
END_TEST

START_TEST(temporaries) {
  zt_output o, other;
  put("d.tmp", "what a killed run left");
  ck_zt_ok(zt_output_begin(&o, scratch_path("d"), false));
  ck_zt_fails(zt_output_begin(&other, scratch_path("d"), false), ZT_ERR_CREATE);
  ck_assert(strstr(zt_last_error(), "another program"));
  ck_assert(exists("d.tmp")); /* the refused one removes nothing */
  int fd;
  ck_zt_ok(zt_output_join(scratch_path("d"), &fd));
  ck_zt_ok(zt_write_at(fd, "d", "together", 8, 0));
  close(fd);
  ck_zt_ok(zt_output_commit(&o));
  check_content("d", "together");
}
END_TEST

START_TEST(impossible_places) {
  zt_output o;
  char path[PATH_MAX + 16];
  ck_zt_fails(zt_output_begin(&o, scratch_path("none/a"), false),
              ZT_ERR_CREATE);
  ck_zt_fails(zt_output_begin(&o, scratch, true), ZT_ERR_CREATE);
  ck_assert(strstr(zt_last_error(), "not a regular file"));
  put("target", "precious");
  snprintf(path, sizeof path, "%s/e.tmp", scratch);
  ck_assert_int_eq(symlink(scratch_path("target"), path), 0);
  ck_zt_fails(zt_output_begin(&o, scratch_path("e"), false), ZT_ERR_CREATE);
  check_content("target", "precious");
}
END_TEST

/* ---- Full disk, in a process of its own: the mount stays with it ---- */

START_TEST(full_disk) {
  zt_output o;
  zt_writer *w;
  if (!small_disk(scratch_path("small")))
    return;
  ck_zt_ok(zt_output_begin(&o, scratch_path("small/a"), false));
  ck_zt_fails(zt_output_reserve(&o, 1 << 20), ZT_ERR_IO);
  ck_assert(strstr(zt_last_error(), "no room"));
  ck_zt_ok(zt_writer_create(2, 1 << 15, &w));
  for (int i = 0; i < 5; i++) {
    memset(zt_writer_buffer(w), i, 1 << 15);
    zt_writer_put(w, o.fd, "small/a", 1 << 15, i << 15);
  }
  ck_zt_fails(zt_writer_flush(w), ZT_ERR_IO);
  ck_assert_msg(strstr(zt_last_error(), "small/a: cannot write: No space"),
                "%s", zt_last_error());
  zt_writer_destroy(&w);
  zt_output_discard(&o);
  ck_assert(!exists("small/a") && !exists("small/a.tmp"));
}
END_TEST

/* ---- The thread ---- */

START_TEST(writer_writes_all) {
  enum { BUFFER = 10000, COUNT = 300 };
  zt_output o;
  zt_writer *w;
  ck_zt_ok(zt_output_begin(&o, scratch_path("w"), false));
  ck_zt_ok(zt_writer_create(3, BUFFER, &w));
  for (int i = 0; i < COUNT; i++) {
    int place = i * 7 % COUNT; /* any order */
    size_t n = i % 3 ? BUFFER : BUFFER / 2;
    memset(zt_writer_buffer(w), place % 251, BUFFER);
    ck_zt_ok(zt_writer_put(w, o.fd, "w", n, (int64_t) place * BUFFER));
  }
  ck_zt_ok(zt_writer_flush(w));
  unsigned char bytes[BUFFER];
  int wrong = 0;
  for (int i = 0; i < COUNT; i++) {
    int place = i * 7 % COUNT;
    size_t n = i % 3 ? BUFFER : BUFFER / 2;
    ck_zt_ok(zt_read_at(o.fd, "w", bytes, n, (int64_t) place * BUFFER));
    for (size_t k = 0; k < n; k++)
      wrong += bytes[k] != place % 251;
  }
  ck_assert_int_eq(wrong, 0);
  ck_zt_fails(zt_read_at(o.fd, "w", bytes, BUFFER, (int64_t) COUNT * BUFFER),
              ZT_ERR_IO);
  zt_writer_destroy(&w);
  zt_writer_destroy(&w);
  zt_output_discard(&o);
}
END_TEST

START_TEST(writer_reports_the_first_failure) {
  zt_writer *w;
  ck_zt_ok(zt_writer_create(2, 100, &w));
  int closed = open("/dev/null", O_RDONLY);
  ck_assert_int_ge(closed, 0);
  close(closed);
  zt_writer_buffer(w);
  zt_writer_put(w, closed, "first", 100, 0);
  zt_writer_buffer(w);
  zt_writer_put(w, closed, "second", 100, 0);
  ck_zt_fails(zt_writer_flush(w), ZT_ERR_IO);
  ck_assert(zt_starts_with(zt_last_error(), "first: cannot write"));
  zt_writer_destroy(&w);
}
END_TEST

int main(void) {
  scratch_begin("check_output");
  Suite *suite = suite_create("output");
  TCase *tests = tcase_create("output");
  tcase_add_test(tests, appears_at_commit);
  tcase_add_test(tests, replaces_only_when_asked);
  tcase_add_test(tests, temporaries);
  tcase_add_test(tests, impossible_places);
  tcase_add_test(tests, full_disk);
  tcase_add_test(tests, writer_writes_all);
  tcase_add_test(tests, writer_reports_the_first_failure);
  suite_add_tcase(suite, tests);
  int failed = unit_main(suite, CK_FORK);
  scratch_end();
  return failed;
}
