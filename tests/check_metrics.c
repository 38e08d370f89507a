/* SPDX-License-Identifier: BSD-3-Clause */
/* metrics.jsonl: the text of a line, numbers bit for bit, cutting back after
 * any crash, full disks. */
#include "tests/small_disk.h"

#include "report/metrics.h"

#include "base/json.h"
#include "tests/scratch.h"
#include "tests/unit.h"

#include <float.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

static uint64_t dice = 88172645463325252u;

static uint64_t roll(void) {
  dice ^= dice << 13;
  dice ^= dice >> 7;
  return dice ^= dice << 17;
}

static void put_file(const char *path, const char *bytes, size_t size) {
  FILE *f = fopen(path, "w");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
  ck_assert_int_eq(fclose(f), 0);
}

static void check_file(const char *path, const char *bytes, size_t size) {
  char *is;
  size_t is_size;
  ck_zt_ok(zt_read_file(path, SIZE_MAX / 2, &is, &is_size));
  ck_assert_msg(is_size == size && !memcmp(is, bytes, size),
                "%s: %zu bytes instead of %zu:\n%.300s", path, is_size, size,
                is);
  free(is);
}

static void be_quiet(void) {
  ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
}

START_TEST(golden_lines) {
  static const char expected[] =
      "{\"t\": \"run\", \"version\": \"0.1\", \"ranks\": 3, \"resumed\": true, "
      "\"restart\": null}\n"
      "{\"t\": \"train\", \"step\": 1, \"loss\": 3.25, \"grad_norm\": "
      "0.10000000000000001, \"lr\": 0.0, \"tokens\": 4096, \"targets\": 912, "
      "\"seconds\": 2.0}\n"
      "{\"t\": \"train\", \"step\": 2, \"loss\": null, \"grad_norm\": null, "
      "\"lr\": 1.0000000000000001e-05, \"tokens\": 1, \"targets\": 1, \"bad\": "
      "\"decoder.final_layer_norm.weight\", \"seconds\": 0.5}\n"
      "{\"t\": \"train\", \"step\": 3, \"loss\": 1.0, \"objective\": 1.5, "
      "\"grad_norm\": null, "
      "\"lr\": -0.0, \"tokens\": 1, \"targets\": 1, \"bad\": \"grad_norm\", "
      "\"seconds\": 0.5}\n"
      "{\"t\": \"end\"}\n";
  const char *path = scratch_path("golden.jsonl");
  zt_metrics *m;
  ck_zt_ok(zt_metrics_open(path, -1, &m));
  ck_assert_int_eq(zt_metrics_tell(m), 0);
  ck_zt_ok(zt_metrics_line(m, "run",
                           ZT_FIELDS(zt_field_text("version", "0.1"),
                                     zt_field_int("ranks", 3),
                                     zt_field_flag("resumed", true),
                                     zt_field_text("restart", NULL))));
  zt_train_line line = {.step = 1,
                        .loss = 3.25,
                        .grad_norm = 0.1,
                        .tokens = 4096,
                        .targets = 912,
                        .seconds = 2};
  ck_zt_ok(zt_metrics_train(m, &line));
  line = (zt_train_line){.step = 2,
                         .loss = NAN,
                         .grad_norm = INFINITY,
                         .lr = 1e-5,
                         .tokens = 1,
                         .targets = 1,
                         .bad = "decoder.final_layer_norm.weight",
                         .seconds = 0.5};
  ck_zt_ok(zt_metrics_train(m, &line));
  line = (zt_train_line){.step = 3,
                         .loss = 1,
                         .grad_norm = -INFINITY,
                         .lr = -0.0,
                         .tokens = 1,
                         .targets = 1,
                         .seconds = 0.5,
                         .has_terms = true,
                         .objective = 1.5};
  ck_zt_ok(zt_metrics_train(m, &line));
  ck_zt_ok(zt_metrics_line(m, "end", NULL, 0));
  zt_metrics_sync(m);
  ck_assert_int_eq(zt_metrics_tell(m), (int64_t) strlen(expected));
  zt_metrics_close(&m);
  ck_assert_ptr_null(m);
  check_file(path, expected, strlen(expected));
}
END_TEST

/* One field line with this value; what a JSON reader and strtod() make of it.
 */
static void check_real(double value) {
  const char *path = scratch_path("real.jsonl");
  zt_metrics *m;
  char *bytes;
  size_t size;
  json_t *o;
  ck_zt_ok(zt_metrics_open(path, 0, &m));
  ck_zt_ok(zt_metrics_line(m, "eval", ZT_FIELDS(zt_field_real("x", value))));
  zt_metrics_close(&m);
  ck_zt_ok(zt_read_file(path, 4096, &bytes, &size));
  ck_zt_ok(zt_json_parse(bytes, size, path, &o));
  json_t *x = json_object_get(o, "x");
  if (isfinite(value)) {
    double read = json_real_value(x),
           text = strtod(strstr(bytes, "x\": ") + 4, NULL);
    ck_assert_msg(json_is_real(x), "not a real: %s", bytes);
    ck_assert_msg(!memcmp(&read, &value, 8) && !memcmp(&text, &value, 8),
                  "%a became %s", value, bytes);
  } else {
    ck_assert(json_is_null(x));
  }
  json_decref(o);
  free(bytes);
}

START_TEST(numbers_keep_all_bits) {
  static const double special[] = {
      0.0,      -0.0,    1.0,      -1.0,        1e22,
      1e23,     1e17,    1e16,     0.1,         DBL_MAX,
      -DBL_MAX, DBL_MIN, 5e-324,   DBL_EPSILON, 9007199254740993.0,
      1e300,    NAN,     INFINITY, -INFINITY,   1.0 / 3};
  be_quiet(); /* each open with 0 is a resume of a file that is not there */
  for (size_t i = 0; i < sizeof special / sizeof *special; i++)
    check_real(special[i]);
  for (int i = 0; i < 3000; i++) {
    uint64_t bits = roll();
    double value;
    memcpy(&value, &bits, sizeof value);
    check_real(value);
  }
}
END_TEST

START_TEST(hostile_text) {
  const char *path = scratch_path("text.jsonl");
  size_t n = 1000000;
  char *text = malloc(n + 1);
  for (size_t i = 0; i < n; i++)
    text[i] = (char) (roll() % 255 + 1);
  text[n] = '\0';
  zt_metrics *m;
  json_t *o;
  ck_zt_ok(zt_metrics_open(path, -1, &m));
  ck_zt_ok(zt_metrics_line(m, "event",
                           ZT_FIELDS(zt_field_text("text", text),
                                     zt_field_text("quote", "\"\\\n\t\x1b"))));
  zt_metrics_close(&m);
  char *bytes;
  size_t size;
  ck_zt_ok(zt_read_file(path, 16 * n, &bytes, &size));
  ck_assert_ptr_eq(strchr(bytes, '\n'), bytes + size - 1);
  ck_zt_ok(zt_json_parse(bytes, size, path, &o));
  ck_assert_str_eq(json_string_value(json_object_get(o, "quote")),
                   "\"\\\n\t\x1b");
  json_decref(o);
  free(bytes);
  free(text);
}
END_TEST

enum { LINES = 60 };

/* Lines first .. LINES - 1 of a run whose content depends on nothing else. */
static void write_lines(zt_metrics *m, int first, int64_t offset[LINES + 1]) {
  for (int i = first; i < LINES; i++) {
    zt_train_line line = {.step = i + 1,
                          .loss = 10.0 / (i + 1),
                          .grad_norm = sqrt(i),
                          .bad = i % 7 ? NULL : "encoder.block.0.long.name",
                          .seconds = 1};
    offset[i] = zt_metrics_tell(m);
    ck_zt_ok(zt_metrics_train(m, &line));
  }
  offset[LINES] = zt_metrics_tell(m);
}

/* A crash leaves any number of bytes, a restart remembers any line. */
START_TEST(cut_back_anywhere) {
  const char *path = scratch_path("cut.jsonl");
  int64_t offset[LINES + 1], again[LINES + 1];
  zt_metrics *m;
  char *whole;
  size_t size;
  be_quiet();
  ck_zt_ok(zt_metrics_open(path, -1, &m));
  write_lines(m, 0, offset);
  zt_metrics_close(&m);
  ck_zt_ok(zt_read_file(path, 1 << 20, &whole, &size));
  for (int i = 0; i < 1000; i++) {
    int line = (int) (roll() % (LINES + 1));
    size_t left = roll() % (size + 1);
    put_file(path, whole, left);
    ck_zt_ok(zt_metrics_open(path, offset[line], &m));
    if (left < (size_t) offset[line]) {
      size_t end = left;
      while (end > 0 && whole[end - 1] != '\n')
        end--;
      ck_assert_int_eq(zt_metrics_tell(m), (int64_t) end);
      zt_metrics_close(&m);
      check_file(path, whole, end);
      continue;
    }
    ck_assert_int_eq(zt_metrics_tell(m), offset[line]);
    check_file(path, whole, (size_t) offset[line]);
    write_lines(m, line, again);
    zt_metrics_close(&m);
    check_file(path, whole, size);
  }
  free(whole);
}
END_TEST

START_TEST(cut_back_odd_files) {
  static const char text[] = "{\"a\": 1}\n{\"b\": 2}\nno end";
  const char *path = scratch_path("odd.jsonl");
  zt_metrics *m;
  be_quiet();
  /* Missing. */
  ck_zt_ok(zt_metrics_open(path, 1234, &m));
  ck_assert_int_eq(zt_metrics_tell(m), 0);
  zt_metrics_close(&m);
  /* Changed: no line ends there. */
  put_file(path, text, strlen(text));
  ck_zt_ok(zt_metrics_open(path, 12, &m));
  ck_assert_int_eq(zt_metrics_tell(m), 9);
  zt_metrics_close(&m);
  check_file(path, text, 9);
  /* Far too short, and torn; far beyond any file. */
  put_file(path, text, strlen(text));
  ck_zt_ok(zt_metrics_open(path, INT64_MAX, &m));
  ck_assert_int_eq(zt_metrics_tell(m), 18);
  zt_metrics_close(&m);
  /* One long line without an end. */
  char *blob = calloc(1, 100001);
  memset(blob, 'x', 100000);
  put_file(path, blob, 100000);
  ck_zt_ok(zt_metrics_open(path, 99999, &m));
  ck_assert_int_eq(zt_metrics_tell(m), 0);
  zt_metrics_close(&m);
  free(blob);
}
END_TEST

START_TEST(a_new_run_keeps_old_metrics) {
  const char *path = scratch_path("fresh.jsonl");
  zt_metrics *m;
  be_quiet();
  for (int i = 0; i < 3; i++) {
    ck_zt_ok(zt_metrics_open(path, -1, &m));
    ck_assert_int_eq(zt_metrics_tell(m), 0);
    ck_zt_ok(zt_metrics_line(m, "run", ZT_FIELDS(zt_field_int("i", i))));
    zt_metrics_close(&m);
  }
  check_file(scratch_path("fresh.jsonl.old-1"), "{\"t\": \"run\", \"i\": 0}\n",
             21);
  check_file(scratch_path("fresh.jsonl.old-2"), "{\"t\": \"run\", \"i\": 1}\n",
             21);
  check_file(path, "{\"t\": \"run\", \"i\": 2}\n", 21);
  /* An empty one is not worth it. */
  put_file(path, "", 0);
  ck_zt_ok(zt_metrics_open(path, -1, &m));
  zt_metrics_close(&m);
  ck_assert_int_ne(access(scratch_path("fresh.jsonl.old-3"), F_OK), 0);
}
END_TEST

START_TEST(places_that_cannot_be) {
  zt_metrics *m;
  ck_zt_fails(zt_metrics_open(scratch_path("no/such/dir.jsonl"), -1, &m),
              ZT_ERR_CREATE);
  ck_assert_int_eq(mkdir(scratch_path("dir.jsonl"), 0777), 0);
  ck_zt_fails(zt_metrics_open(scratch_path("dir.jsonl"), 0, &m), ZT_ERR_CREATE);
  ck_assert_int_eq(mkfifo(scratch_path("pipe.jsonl"), 0666), 0);
  ck_zt_fails(zt_metrics_open(scratch_path("pipe.jsonl"), 0, &m),
              ZT_ERR_CREATE);
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "not a regular file"));
  ck_zt_fails(zt_metrics_open("/dev/null", 0, &m), ZT_ERR_CREATE);
}
END_TEST

START_TEST(the_fault_point) {
  zt_metrics *m = NULL;
  setenv("ZT_FAULT", "metrics.write@0:2", 1);
  ck_zt_ok(zt_fault_arm(0));
  ck_zt_ok(zt_metrics_open(scratch_path("fault.jsonl"), -1, &m));
  ck_zt_ok(zt_metrics_line(m, "run", NULL, 0));
  int64_t end = zt_metrics_tell(m);
  ck_zt_fails(zt_metrics_line(m, "run", NULL, 0), ZT_ERR_IO);
  ck_assert_int_eq(zt_metrics_tell(m), end);
  ck_zt_ok(zt_metrics_line(m, "run", NULL, 0));
  zt_metrics_close(&m);
  /* A rank that does not write can fail there too. */
  setenv("ZT_FAULT", "metrics.write@5", 1);
  ck_zt_ok(zt_fault_arm(5));
  ck_zt_fails(zt_metrics_line(NULL, "run", NULL, 0), ZT_ERR_IO);
  ck_zt_ok(zt_metrics_train(NULL, &(zt_train_line){.step = 1}));
  ck_assert_int_eq(zt_metrics_tell(NULL), 0);
  ck_assert_int_eq(zt_metrics_lost(NULL), 0);
  zt_metrics_sync(NULL);
  zt_metrics_close(&m);
}
END_TEST

/* Every line is an object; returns how many are train lines, and the lines that
 * events say are lost. */
static int count_lines(const char *path, int *lost) {
  char *bytes;
  size_t size;
  int found = 0;
  *lost = 0;
  ck_zt_ok(zt_read_file(path, 1 << 24, &bytes, &size));
  for (char *at = bytes, *end; *at; at = end + 1) {
    json_t *o;
    end = strchr(at, '\n');
    ck_assert_msg(end != NULL, "torn: %s", at);
    ck_zt_ok(zt_json_parse(at, (size_t) (end - at), path, &o));
    if (!strcmp(json_string_value(json_object_get(o, "t")), "train"))
      found++;
    *lost += (int) json_integer_value(json_object_get(o, "lines"));
    json_decref(o);
  }
  free(bytes);
  return found;
}

static int write_steps(zt_metrics *m, int n) {
  int failed = 0;
  for (int i = 0; i < n; i++)
    failed +=
        zt_metrics_train(m, &(zt_train_line){.step = 1, .loss = 0.1}) != ZT_OK;
  return failed;
}

/* A file size limit behaves as a full disk does: the write that meets it is
 * short, the next one fails.  It would hit libcheck's own files as well, so
 * nothing is asserted under it. */
START_TEST(no_room) {
  const char *path = scratch_path("limit.jsonl");
  struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  struct stat st;
  zt_metrics *m;
  int lost, written = 0, failed = 0, wrong_size = 0;
  be_quiet();
  signal(SIGXFSZ, SIG_IGN);
  ck_zt_ok(zt_metrics_open(path, -1, &m));
  for (int room = 1000; room < 20000; room += 777 + room % 100) {
    limit.rlim_cur = (rlim_t) room;
    failed += setrlimit(RLIMIT_FSIZE, &limit) != 0;
    failed += write_steps(m, 20);
    written += 20;
    wrong_size += stat(path, &st) != 0 || st.st_size > room ||
                  st.st_size != zt_metrics_tell(m);
  }
  limit.rlim_cur = RLIM_INFINITY;
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  ck_assert_int_eq(failed, 0);
  ck_assert_int_eq(wrong_size, 0);
  ck_assert_int_gt(zt_metrics_lost(m), 0);
  ck_assert_int_eq(write_steps(m, 1), 0);
  written++;
  int kept = count_lines(path, &lost);
  ck_assert_int_eq(lost, zt_metrics_lost(m));
  ck_assert_int_eq(kept + lost, written);
  zt_metrics_close(&m);
}
END_TEST

START_TEST(full_disk) {
  const char *disk = scratch_path("disk"), *path, *stuff;
  zt_metrics *m;
  int lost;
  if (!small_disk(disk))
    return;
  be_quiet();
  path = scratch_path("disk/metrics.jsonl");
  stuff = scratch_path("disk/stuff");
  char block[40000] = {0};
  put_file(stuff, block, sizeof block);
  ck_zt_ok(zt_metrics_open(path, -1, &m));
  ck_assert_int_eq(write_steps(m, 500), 0);
  ck_assert_int_gt(zt_metrics_lost(m), 0);
  ck_assert_int_eq(unlink(stuff), 0);
  ck_assert_int_eq(write_steps(m, 10), 0);
  int kept = count_lines(path, &lost);
  ck_assert_int_eq(lost, zt_metrics_lost(m));
  ck_assert_int_eq(kept + lost, 510);
  zt_metrics_close(&m);
  umount(disk);
}
END_TEST

int main(void) {
  scratch_begin("check_metrics");
  Suite *s = suite_create("metrics");
  TCase *c = tcase_create("metrics");
  tcase_set_timeout(c, 30);
  tcase_add_test(c, golden_lines);
  tcase_add_test(c, numbers_keep_all_bits);
  tcase_add_test(c, hostile_text);
  tcase_add_test(c, cut_back_anywhere);
  tcase_add_test(c, cut_back_odd_files);
  tcase_add_test(c, a_new_run_keeps_old_metrics);
  tcase_add_test(c, places_that_cannot_be);
  tcase_add_test(c, the_fault_point);
  tcase_add_test(c, no_room);
  tcase_add_test(c, full_disk);
  suite_add_tcase(s, c);
  int rc = unit_main(s, CK_FORK);
  scratch_end();
  return rc;
}
