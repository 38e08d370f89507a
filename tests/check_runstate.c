/* SPDX-License-Identifier: BSD-3-Clause */
/* STATUS.json: every state there and back, hostile files, ranks that write at
 * the same time. */
#include "tests/small_disk.h"

#include "report/runstate.h"

#include "base/text.h"
#include "tests/scratch.h"
#include "tests/unit.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static const char *make_run(const char *name) {
  const char *dir = scratch_path(name);
  ck_assert_int_eq(mkdir(dir, 0777), 0);
  return dir;
}

static void put_status(const char *dir, const char *bytes, size_t size) {
  char path[PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", dir, ZT_RUNSTATE_FILE);
  FILE *f = fopen(path, "w");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
  ck_assert_int_eq(fclose(f), 0);
}

START_TEST(every_state_there_and_back) {
  const char *dir = make_run("states");
  char before[32], after[32];
  zt_runstate r;
  unsetenv("SLURM_JOB_ID");
  unsetenv("SLURM_RESTART_COUNT");
  zt_utc_now(before);
  ck_zt_ok(zt_runstate_write(
      dir, &(zt_runstate){.state = ZT_RUN_MORE, .steps = 1000}));
  zt_utc_now(after);
  ck_zt_ok(zt_runstate_read(dir, &r));
  ck_assert(r.state == ZT_RUN_MORE && r.code == 0 && r.rank == -1);
  ck_assert(!r.message && !r.restart && !r.job && r.life == 0);
  ck_assert(r.step == 0 && r.steps == 1000);
  ck_assert(strcmp(before, r.time) <= 0 && strcmp(r.time, after) <= 0);
  zt_runstate_free(&r);
  zt_runstate_free(&r);

  setenv("SLURM_JOB_ID", "4711", 1);
  setenv("SLURM_RESTART_COUNT", "2", 1);
  const char *message = "rank 3: \"x.h5\": No space left\n\x1b[31m";
  ck_zt_ok(zt_runstate_write(dir, &(zt_runstate){.state = ZT_RUN_FAILED,
                                                 .code = 74,
                                                 .rank = 3,
                                                 .message = message,
                                                 .step = INT64_MAX,
                                                 .steps = INT64_MAX,
                                                 .restart = "step-000001200"}));
  ck_zt_ok(zt_runstate_read(dir, &r));
  ck_assert(r.state == ZT_RUN_FAILED && r.code == 74 && r.rank == 3);
  ck_assert(r.step == INT64_MAX && r.steps == INT64_MAX && r.life == 2);
  ck_assert_str_eq(r.message, message);
  ck_assert_str_eq(r.restart, "step-000001200");
  ck_assert_str_eq(r.job, "4711");
  zt_runstate_free(&r);

  /* The rank matters only in a failure, where it may be unknown. */
  setenv("SLURM_RESTART_COUNT", "rubbish", 1);
  ck_zt_ok(zt_runstate_write(
      dir,
      &(zt_runstate){.state = ZT_RUN_DONE, .rank = 0, .step = 5, .steps = 5}));
  ck_zt_ok(zt_runstate_read(dir, &r));
  ck_assert(r.state == ZT_RUN_DONE && r.rank == -1 && r.life == 0);
  zt_runstate_free(&r);
  ck_zt_ok(zt_runstate_write(
      dir, &(zt_runstate){.state = ZT_RUN_FAILED, .rank = -1, .code = 79}));
  ck_zt_ok(zt_runstate_read(dir, &r));
  ck_assert(r.state == ZT_RUN_FAILED && r.rank == -1 && r.code == 79);
  zt_runstate_free(&r);
}
END_TEST

static const char good[] =
    "{\"state\": \"failed\", \"code\": 74, \"rank\": 1, \"message\": \"no\", "
    "\"step\": 3, \"steps\": 9, \"restart\": \"step-000000003\", \"time\": "
    "\"2026-01-31T23:59:59Z\", \"job\": null, \"life\": 0}";

/* `good` with one part replaced. */
static void check_refused(const char *dir, const char *part, const char *with,
                          const char *named) {
  const char *at = strstr(good, part);
  zt_text text = {0};
  zt_runstate r;
  ck_assert_ptr_nonnull(at);
  zt_text_add(&text, "%.*s%s%s", (int) (at - good), good, with,
              at + strlen(part));
  put_status(dir, text.data, text.size);
  ck_zt_fails(zt_runstate_read(dir, &r), ZT_ERR_DATA);
  ck_assert_msg(strstr(zt_last_error(), named) != NULL, "%s -> %s: %s", part,
                with, zt_last_error());
  ck_assert_ptr_nonnull(strstr(zt_last_error(), ZT_RUNSTATE_FILE));
  zt_text_free(&text);
}

START_TEST(wrong_files) {
  const char *dir = make_run("wrong");
  zt_runstate r;
  ck_zt_fails(zt_runstate_read(dir, &r), ZT_ERR_NOINPUT);
  put_status(dir, good, strlen(good));
  ck_zt_ok(zt_runstate_read(dir, &r));
  zt_runstate_free(&r);
  check_refused(dir, "\"failed\"", "\"running\"", "running");
  check_refused(dir, "\"failed\"", "\"done\"", "code");
  check_refused(dir, "\"failed\"", "7", "state");
  check_refused(dir, "74", "0", "code");
  check_refused(dir, "74", "256", "code");
  check_refused(dir, "74", "7.4", "code");
  check_refused(dir, "\"code\": 74, ", "", "code");
  check_refused(dir, "\"rank\": 1", "\"rank\": -1", "rank");
  check_refused(dir, "\"no\"", "[]", "message");
  check_refused(dir, "\"step\": 3", "\"step\": -3", "step");
  check_refused(dir, "\"steps\": 9", "\"steps\": null", "steps");
  check_refused(dir, "step-000000003", "../../etc/passwd", "restart");
  check_refused(dir, "step-000000003", "step-", "restart");
  check_refused(dir, "step-000000003", "step-3.tmp", "restart");
  check_refused(dir, "2026-01-31T23:59:59Z", "yesterday", "time");
  check_refused(dir, "2026-01-31T23:59:59Z", "2026-01-31T23:59:59Z ", "time");
  check_refused(dir, "\"job\": null", "\"job\": 4", "job");
  check_refused(dir, "\"life\": 0", "\"life\": \"0\"", "life");
  check_refused(dir, "\"life\": 0", "\"life\": 0, \"life\": 0", "life");
  check_refused(dir, "{", "[", "JSON");
  char *huge = calloc(1, 100000);
  put_status(dir, huge, 100000);
  ck_zt_fails(zt_runstate_read(dir, &r), ZT_ERR_DATA);
  free(huge);
}
END_TEST

/* Every prefix and 2000 damaged copies: refused, or whole and in range. */
START_TEST(damaged_files) {
  const char *dir = make_run("damaged");
  char bytes[sizeof good];
  uint64_t dice = 1;
  zt_runstate r;
  for (size_t n = 0; n < strlen(good); n++) {
    put_status(dir, good, n);
    ck_zt_fails(zt_runstate_read(dir, &r), ZT_ERR_DATA);
  }
  for (int i = 0; i < 2000; i++) {
    memcpy(bytes, good, sizeof good);
    for (int k = 0; k <= i % 3; k++) {
      dice = dice * 6364136223846793005u + 1442695040888963407u;
      bytes[(dice >> 33) % strlen(good)] ^= (char) (1 << (dice >> 60) % 8);
    }
    put_status(dir, bytes, strlen(good));
    zt_status status = zt_runstate_read(dir, &r);
    ck_assert(status == ZT_OK || status == ZT_ERR_DATA);
    if (status == ZT_OK) {
      ck_assert(r.code >= 0 && r.code < 256 && r.step >= 0 && r.rank >= -1);
      zt_runstate_free(&r);
    }
  }
}
END_TEST

START_TEST(places_that_cannot_be) {
  ck_zt_fails(zt_runstate_write(scratch_path("nowhere"), &(zt_runstate){0}),
              ZT_ERR_CREATE);
  /* A folder in its place: refused, and the draft is gone. */
  char path[PATH_MAX];
  const char *dir = make_run("taken");
  snprintf(path, sizeof path, "%s/%s", dir, ZT_RUNSTATE_FILE);
  ck_assert_int_eq(mkdir(path, 0777), 0);
  ck_zt_fails(zt_runstate_write(dir, &(zt_runstate){0}), ZT_ERR_CREATE);
  ck_assert_int_eq(rmdir(path), 0);
  ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

/* Ranks that end together: whoever reads sees one of them, whole. */
START_TEST(many_writers) {
  enum { WRITERS = 4, TIMES = 100 };
  const char *dir = make_run("many");
  zt_runstate r;
  ck_zt_ok(zt_runstate_write(dir, &(zt_runstate){.state = ZT_RUN_MORE}));
  for (int w = 0; w < WRITERS; w++)
    if (fork() == 0) {
      for (int i = 0; i < TIMES; i++)
        if (zt_runstate_write(dir, &(zt_runstate){.state = ZT_RUN_FAILED,
                                                  .code = 74,
                                                  .rank = w,
                                                  .step = i}) != ZT_OK)
          _exit(1);
      _exit(0);
    }
  int left = WRITERS, failed = 0, result;
  while (left > 0) {
    ck_zt_ok(zt_runstate_read(dir, &r));
    zt_runstate_free(&r);
    if (waitpid(-1, &result, WNOHANG) > 0) {
      left--;
      failed += result != 0;
    }
  }
  ck_assert_int_eq(failed, 0);
  ck_zt_ok(zt_runstate_read(dir, &r));
  ck_assert(r.state == ZT_RUN_FAILED && r.step == TIMES - 1);
  zt_runstate_free(&r);
}
END_TEST

/* The state of a run that died of a full disk. */
START_TEST(full_disk) {
  const char *dir = scratch_path("disk"), *stuff = scratch_path("disk/stuff");
  static const char block[4096];
  zt_runstate r;
  if (!small_disk(dir))
    return;
  ck_zt_ok(zt_runstate_write(dir, &(zt_runstate){.state = ZT_RUN_MORE}));
  FILE *f = fopen(stuff, "w");
  while (fwrite(block, 1, sizeof block, f) == sizeof block && !fflush(f))
    ;
  fclose(f);
  ck_zt_ok(zt_runstate_write(
      dir, &(zt_runstate){.state = ZT_RUN_FAILED, .code = 74, .rank = 2}));
  ck_zt_ok(zt_runstate_read(dir, &r));
  ck_assert(r.state == ZT_RUN_FAILED && r.code == 74 && r.rank == 2);
  zt_runstate_free(&r);
  umount(dir);
}
END_TEST

int main(void) {
  scratch_begin("check_runstate");
  Suite *s = suite_create("runstate");
  TCase *c = tcase_create("runstate");
  tcase_set_timeout(c, 30);
  tcase_add_test(c, every_state_there_and_back);
  tcase_add_test(c, wrong_files);
  tcase_add_test(c, damaged_files);
  tcase_add_test(c, places_that_cannot_be);
  tcase_add_test(c, many_writers);
  tcase_add_test(c, full_disk);
  suite_add_tcase(s, c);
  int rc = unit_main(s, CK_FORK);
  scratch_end();
  return rc;
}
