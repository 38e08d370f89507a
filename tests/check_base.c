/* SPDX-License-Identifier: BSD-3-Clause */
/* Arenas, status codes, fault points and small allocations. */
#include "base/arena.h"
#include "base/memory.h"
#include "base/status.h"
#include "numbers.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>

/* ---- Arenas ---- */

static char memory[4096] __attribute__((aligned(ZT_ARENA_ALIGN)));
static void *given_back;
static size_t given_bytes;

static void note_released(void *from, size_t bytes) {
  given_back = from;
  given_bytes = bytes;
}

START_TEST(arena_is_a_stack) {
  zt_arena a;
  zt_arena_init(&a, "test", memory, sizeof memory);
  a.released = note_released;
  char *p = zt_arena_push(&a, 1), *q = zt_arena_push(&a, 300);
  ck_assert_ptr_eq(p, memory);
  ck_assert_ptr_eq(q, memory + 256);
  size_t mark = zt_arena_mark(&a);
  ck_assert_ptr_eq(zt_arena_push(&a, 0), memory + 768);
  ck_assert_ptr_eq(zt_arena_push(&a, 10), memory + 768);
  zt_arena_release(&a, mark);
  ck_assert_ptr_eq(given_back, memory + mark);
  ck_assert_uint_eq(given_bytes, 768 + 10 - mark);
  ck_assert_uint_eq(a.peak, 768 + 10);
  ck_assert_ptr_eq(zt_arena_push(&a, 4), memory + 768); /* again */
  ck_assert_uint_eq(a.peak, 768 + 10);
}
END_TEST

START_TEST(arena_ends) {
  zt_arena a;
  zt_arena_init(&a, "test", memory, 1000);
  ck_assert_ptr_null(zt_arena_push(&a, 1001));
  ck_assert_ptr_null(zt_arena_push(&a, SIZE_MAX));
  ck_assert_ptr_nonnull(zt_arena_push(&a, 600));
  ck_assert_ptr_null(zt_arena_push(&a, 233)); /* from 768 on */
  ck_assert_ptr_null(zt_arena_push(&a, SIZE_MAX - 700));
  ck_assert_uint_eq(a.used, 600);
  ck_assert_ptr_nonnull(zt_arena_push(&a, 232));
  ck_assert_ptr_null(zt_arena_push(&a, 0));
}
END_TEST

/* With no base it says what a real one needs. */
START_TEST(arena_measures) {
  zt_arena real, measured;
  static char big[1 << 20] __attribute__((aligned(ZT_ARENA_ALIGN)));
  zt_arena_init(&real, "real", big, sizeof big);
  zt_arena_init(&measured, "measured", NULL, 0);
  measured.released = note_released;
  given_back = NULL;
  size_t marks[200];
  for (int i = 0; i < 200; i++) {
    size_t n = numbers_bits(1, (uint64_t) i) % 5000;
    marks[i] = zt_arena_mark(&real);
    ck_assert_uint_eq(zt_arena_mark(&measured), marks[i]);
    ck_assert_ptr_nonnull(zt_arena_push(&real, n));
    ck_assert_ptr_nonnull(zt_arena_push(&measured, n));
    if (i % 3 == 2) {
      zt_arena_release(&real, marks[i - 1]);
      zt_arena_release(&measured, marks[i - 1]);
    }
  }
  ck_assert_uint_eq(real.peak, measured.peak);
  ck_assert_ptr_null(given_back);
}
END_TEST

/* ---- Status ---- */

START_TEST(status_codes) {
  ck_assert_int_eq(zt_status_exit_code(ZT_OK), 0);
  ck_assert_int_eq(zt_status_exit_code(ZT_ERR_USAGE), 64);
  ck_assert_int_eq(zt_status_exit_code(ZT_ERR_DATA), 65);
  ck_assert_int_eq(zt_status_exit_code(ZT_ERR_CONFIG), 78);
  ck_assert_int_eq(zt_status_exit_code(ZT_ERR_DIVERGED), 79);
  ck_assert_int_eq(zt_status_exit_code((zt_status) 99), 70);
  ck_assert_str_eq(zt_status_text(ZT_ERR_IO), "input/output error");
  ck_assert_str_eq(zt_status_text((zt_status) 99), "unknown status");
}
END_TEST

static zt_status try_twice(int *calls) {
  ZT_TRY((++*calls, ZT_OK));
  ZT_TRY((++*calls, zt_fail(ZT_ERR_IO, "number %d", *calls)));
  ++*calls;
  return ZT_OK;
}

START_TEST(messages) {
  int calls = 0;
  ck_zt_fails(try_twice(&calls), ZT_ERR_IO);
  ck_assert_int_eq(calls, 2);
  ck_assert_str_eq(zt_last_error(), "number 2");
  errno = ENOSPC;
  ck_zt_fails(zt_fail_errno(ZT_ERR_IO, "%s", "file"), ZT_ERR_IO);
  ck_assert_str_eq(zt_last_error(), "file: No space left on device");
  errno = ENOENT;
  ck_zt_fails(zt_fail_open("x"), ZT_ERR_NOINPUT);
  errno = EACCES;
  ck_zt_fails(zt_fail_open("x"), ZT_ERR_NOINPUT);
  errno = EIO;
  ck_zt_fails(zt_fail_open("x"), ZT_ERR_IO);
  char text[2 * ZT_MESSAGE_SIZE];
  memset(text, 'y', sizeof text);
  text[sizeof text - 1] = '\0';
  errno = EIO;
  ck_zt_fails(zt_fail_errno(ZT_ERR_IO, "%s", text), ZT_ERR_IO);
  ck_assert_uint_eq(strlen(zt_last_error()), ZT_MESSAGE_SIZE - 1);
}
END_TEST

/* ---- Fault points ---- */

static void arm(const char *wish, int rank) {
  ck_assert_int_eq(setenv("ZT_FAULT", wish, 1), 0);
  ck_zt_ok(zt_fault_arm(rank));
}

START_TEST(faults_fire_once) {
  for (int point = 0; point < ZT_FAULT_COUNT; point++) {
    char wish[64];
    snprintf(wish, sizeof wish, "%s@2:3", zt_fault_name((zt_fault) point));
    arm(wish, 2);
    for (int passage = 1; passage <= 5; passage++)
      for (int other = 0; other < ZT_FAULT_COUNT; other++)
        ck_assert_int_eq(zt_fault_check((zt_fault) other),
                         other == point && passage == 3 ? ZT_ERR_IO : ZT_OK);
    ck_assert_ptr_nonnull(
        strstr(zt_last_error(), zt_fault_name((zt_fault) point)));
    arm(wish, 1); /* another rank */
    ck_zt_ok(zt_fault_check((zt_fault) point));
  }
  arm("step.reduce@0", 0);
  ck_zt_fails(zt_fault_check(ZT_FAULT_REDUCE), ZT_ERR_IO);
  arm("", 0);
  ck_zt_ok(zt_fault_check(ZT_FAULT_REDUCE));
  unsetenv("ZT_FAULT");
  ck_zt_ok(zt_fault_arm(0));
  ck_zt_ok(zt_fault_check(ZT_FAULT_REDUCE));
}
END_TEST

START_TEST(wrong_faults_are_refused) {
  const char *const wrong[] = {"step.reduce",
                               "step.reduce@",
                               "step.reduce@x",
                               "step@0",
                               "@0",
                               "step.reduces@0",
                               "step.reduce@0:",
                               "step.reduce@0:x",
                               "step.reduce@0:0",
                               "step.reduce@0:-1",
                               "step.reduce@0 1",
                               "step.reduce@0:1x"};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    setenv("ZT_FAULT", wrong[i], 1);
    zt_status status = zt_fault_arm(0);
    ck_assert_msg(status == ZT_ERR_USAGE, "%s", wrong[i]);
    ck_zt_ok(zt_fault_check(ZT_FAULT_REDUCE));
  }
  unsetenv("ZT_FAULT");
}
END_TEST

/* ---- Memory ---- */

START_TEST(allocations) {
  int64_t n;
  int *list = NULL;
  size_t capacity = 0;
  char *copy = zt_strdup("text"), *none = zt_calloc(0, 0);
  ck_assert_str_eq(copy, "text");
  ck_assert_ptr_nonnull(none);
  free(copy);
  free(none);
#ifndef __SANITIZE_ADDRESS__ /* it ends the program instead */
  ck_assert_ptr_null(zt_calloc(SIZE_MAX / 4, 16));
  ck_assert_ptr_nonnull(strstr(zt_last_error(), "memory"));
#endif
  for (int i = 0; i < 1000; i++) {
    ck_assert(zt_grow(&list, &capacity, (size_t) i, sizeof *list));
    ck_assert_int_eq(list[i], 0);
    list[i] = i + 1;
  }
  ck_assert_int_eq(list[0], 1);
  ck_assert_int_eq(list[998], 999);
  free(list);
  ck_assert(zt_mul_overflows((int64_t) 1 << 40, 1 << 23, &n));
  ck_assert(!zt_mul_overflows((int64_t) 1 << 40, 1 << 22, &n));
  ck_assert_int_eq(n, (int64_t) 1 << 62);
  ck_assert(zt_add_overflows(INT64_MAX, 1, &n));
  ck_assert(!zt_add_overflows(INT64_MAX, 0, &n));
  ck_assert_uint_gt(zt_private_bytes(), 1 << 14);
}
END_TEST

/* Every length and alignment around where the path past the caches begins: the
 * same bytes, and none beside them. */
START_TEST(copies_past_the_caches) {
  enum { LARGE = 1 << 20, ROOM = LARGE + 512 };
  unsigned char *from = zt_calloc(ROOM, 1), *to = zt_calloc(ROOM, 1);
  for (int i = 0; i < ROOM; i++)
    from[i] = (unsigned char) (i * 2654435761u >> 11);
  for (int change = -65; change <= 130; change += 13)
    for (int shift = 0; shift < 67; shift += 11) {
      const size_t n = (size_t) (LARGE + change);
      memset(to, 0xA5, ROOM);
      zt_copy_past(to + 64 + shift, from + 3, n);
      ck_assert_mem_eq(to + 64 + shift, from + 3, n);
      for (int i = 0; i < 64 + shift; i++)
        ck_assert_uint_eq(to[i], 0xA5);
      for (size_t i = 64 + (size_t) shift + n; i < ROOM; i++)
        ck_assert_uint_eq(to[i], 0xA5);
    }
  free(from);
  free(to);
}
END_TEST

int main(void) {
  Suite *suite = suite_create("base");
  TCase *all = tcase_create("all");
  tcase_add_test(all, arena_is_a_stack);
  tcase_add_test(all, arena_ends);
  tcase_add_test(all, arena_measures);
  tcase_add_test(all, status_codes);
  tcase_add_test(all, messages);
  tcase_add_test(all, faults_fire_once);
  tcase_add_test(all, wrong_faults_are_refused);
  tcase_add_test(all, allocations);
  tcase_add_test(all, copies_past_the_caches);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
