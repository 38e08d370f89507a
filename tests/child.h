/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Parts of unit tests in processes of their own: those that end one, or hold
 *  something while another one wants it. */
#ifndef ZT_TESTS_CHILD_H
#define ZT_TESTS_CHILD_H

#include <check.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

/** Begin act() in a child. */
static inline pid_t child_start(void (*act)(void)) {
  pid_t pid = fork();
  ck_assert_int_ge(pid, 0);
  if (pid == 0) {
    act();
    _exit(0);
  }
  return pid;
}

/** Its status as waitpid() has it: 0 if all it expected holds. */
static inline int child_end(pid_t pid) {
  int status;
  ck_assert_int_eq(waitpid(pid, &status, 0), pid);
  return status;
}

static inline int in_child(void (*act)(void)) {
  return child_end(child_start(act));
}

/** For the child. */
static inline void expect(bool holds) {
  if (!holds)
    _exit(99);
}

#endif
