/* SPDX-License-Identifier: BSD-3-Clause */
/* A save in which a call fails: what was committed before is there, and nothing
 * else passes for a restart. */
#include "base/text.h"
#include "comm/agree.h"
#include "io/restart_writer.h"
#include "mpi_unit.h"
#include "numbers.h"
#include "restart_unit.h"
#include "scratch.h"
#include "shim/shim.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static held h;

static void open_held(const char *name, int per_part) {
  held_create(&h, comm, held_folder(comm, scratch_path(name)), HELD_TINY);
  held_writer(&h, per_part, 1 << 20);
}

static bool anywhere(bool here) {
  int64_t word = here;
  ck_zt_ok(zt_comm_all_reduce(comm, &word, 1, ZT_MAX));
  return word != 0;
}

static void calm(void) {
  zt_writer_wait(h.writer);
  ck_zt_ok(zt_agree(comm, ZT_OK));
}

/* What rank 0 finds; the others are told. */
static int64_t newest(void) {
  int64_t step = -1;
  if (comm->rank == 0)
    ck_zt_ok(held_load_newest(&h, alone, &step));
  ck_zt_ok(zt_comm_broadcast(comm, &step, sizeof step, 0));
  return step;
}

/* ---- One call fails ---- */

/* What a run does with a save, and with what it finds when it starts anew. */
static bool save_with(int rank, long n, int what, bool always, int64_t step) {
  zt_restart_end end = {0};
  held_fill(&h, step);
  if (comm->rank == rank)
    shim_fail(h.dir, SHIM_ANY, n, what, always);
  zt_status status = held_save(&h, step, &end);
  zt_writer_wait(h.writer);
  bool happened = anywhere(shim_calm());
  ck_assert_msg(end.committed == (status == ZT_OK), "%s", zt_last_error());
  ck_assert_msg(status == ZT_OK || status == ZT_ERR_IO ||
                    status == ZT_ERR_CREATE,
                "call %ld, error %d: %s", n, what, zt_last_error());
  ck_assert(status == ZT_OK || strlen(zt_last_error()) <= 300);
  int64_t loaded = newest();
  /* A rename that could not be made durable may be there all the same. */
  ck_assert_msg(loaded == step || (status != ZT_OK && loaded == 1),
                "call %ld, error %d (%s): step %" PRId64, n, what,
                status == ZT_OK ? "committed" : zt_last_error(), loaded);
  if (comm->rank == 0) {
    char path[PATH_MAX];
    ck_zt_ok(zt_path(path, "%s/step-%09" PRId64, h.dir, step));
    scratch_remove(path);
    zt_restart_clean(h.dir, NULL);
  }
  ck_zt_ok(zt_agree(comm, ZT_OK));
  return happened;
}

/* In the short form: one rank with its part, two ranks with one each. */
static bool every_case(int per_part) {
  return numbers_long() || (comm->size <= 2 && per_part == comm->size - 1);
}

START_TEST(every_call_fails) {
  static const int whats[] = {ENOSPC, EIO, EDQUOT, EINTR, SHIM_SHORT};
  int64_t step = 1, cases = 0;
  open_held(_i ? "fail-parts" : "fail-part", _i);
  held_fill(&h, step);
  ck_zt_ok(held_save(&h, step, NULL));
  for (int last = 0; last < 2 && (last == 0 || comm->size > 1); last++)
    for (size_t w = 0; w < sizeof whats / sizeof *whats; w++)
      for (int always = 0; always < 2; always++) {
        if (always && whats[w] != ENOSPC && whats[w] != EIO)
          continue; /* what may last */
        int rank = last ? comm->size - 1 : 0;
        long stride = every_case(_i) ? 1 : 6 * comm->size + 1;
        for (long n = 1 + (long) w % stride;
             save_with(rank, n, whats[w], always, ++step); n += stride)
          cases++;
        ck_assert_int_eq(newest(), 1);
      }
  if (comm->rank == 0)
    printf("%" PRId64 " calls failed\n", cases);
  ck_assert_int_gt(cases, 10);
  held_free(&h);
}
END_TEST

/* What a file system does not know costs nothing. */
START_TEST(unsupported_calls) {
  static const struct {
    int call, what;
  } refusals[] = {{SHIM_DIRECT, EINVAL},
                  {SHIM_FALLOCATE, EOPNOTSUPP},
                  {SHIM_FALLOCATE, EINVAL},
                  {SHIM_SYNC, SHIM_SLOW},
                  {SHIM_DIRECT, SHIM_SHORT}};
  open_held("unsupported", 1);
  for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
    int64_t step = (int64_t) i + 1, loaded;
    held_fill(&h, step);
    calm();
    shim_fail(h.dir, refusals[i].call, 1, refusals[i].what, true);
    ck_zt_ok(held_save(&h, step, NULL));
    calm();
    ck_assert(anywhere(shim_calm()));
    ck_zt_ok(held_load_newest(&h, comm, &loaded));
    ck_assert_int_eq(loaded, step);
  }
  held_free(&h);
}
END_TEST

/* Deletions that fail are a warning; the next ones try again. */
START_TEST(failed_deletes) {
  int64_t loaded;
  zt_restart_list list;
  open_held("delete", 0);
  h.retention.keep = 1;
  for (int64_t step = 1; step <= 3; step++) {
    held_fill(&h, step);
    calm();
    if (step == 2)
      shim_fail(h.dir, SHIM_UNLINK, 1, EACCES, true);
    ck_zt_ok(held_save(&h, step, NULL));
    calm();
    ck_assert(anywhere(shim_calm()) == (step == 2));
    ck_zt_ok(held_load_newest(&h, comm, &loaded));
    ck_assert_int_eq(loaded, step);
  }
  ck_zt_ok(zt_restart_find(h.dir, comm, &list));
  ck_assert_int_eq(list.count, 1);
  zt_restart_list_free(&list);
  held_free(&h);
}
END_TEST

/* A read that fails is no proof, and nobody falls back on it. */
START_TEST(failed_reads) {
  static const int whats[] = {EIO, ESTALE, ENOMEM};
  bool damaged;
  int failed = 0;
  open_held("read", 1);
  held_fill(&h, 1);
  ck_zt_ok(held_save(&h, 1, NULL));
  calm();
  for (size_t w = 0; w < sizeof whats / sizeof *whats; w++)
    for (int call = SHIM_OPEN; call <= SHIM_READ; call++) {
      bool more = numbers_long() || (w + (size_t) call) % 3 == 0;
      for (long n = 1; more; n++) {
        if (comm->rank == comm->size - 1)
          shim_fail(h.dir, call, n, whats[w], false);
        damaged = true;
        zt_status status = held_load(&h, "step-000000001", comm, &damaged);
        more = anywhere(shim_calm());
        /* What goes through the page cache instead is no failure at all. */
        ck_assert_msg(status == ZT_OK || (more && status == ZT_ERR_IO),
                      "call %ld: %s", n, zt_last_error());
        ck_assert(status == ZT_OK || !damaged);
        failed += status != ZT_OK;
      }
    }
  ck_assert_int_gt(failed, 5);
  held_free(&h);
}
END_TEST

static Suite *make_suite(void) {
  Suite *suite = suite_create("restart faults");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 120);
  tcase_add_loop_test(all, every_call_fails, 0, 2);
  tcase_add_test(all, unsupported_calls);
  tcase_add_test(all, failed_deletes);
  tcase_add_test(all, failed_reads);
  suite_add_tcase(suite, all);
  return suite;
}

int main(int argc, char **argv) {
  scratch_begin("check_restart_faults");
  shim_skip_syncs(true);
  int failed = mpi_unit_main(argc, argv, make_suite);
  scratch_end();
  return failed;
}
