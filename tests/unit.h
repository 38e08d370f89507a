/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the libcheck programs share. */
#ifndef ZT_TESTS_UNIT_H
#define ZT_TESTS_UNIT_H

#include "base/status.h"

#include <check.h>
#include <stdlib.h>

/** The call must succeed; says why it did not. */
#define ck_zt_ok(expr)                                                         \
  do {                                                                         \
    zt_status ck_st_ = (expr);                                                 \
    ck_assert_msg(ck_st_ == ZT_OK, "%s: %s: %s", #expr,                        \
                  zt_status_text(ck_st_), zt_last_error());                    \
  } while (0)

/** The call must fail with this status. */
#define ck_zt_fails(expr, status)                                              \
  do {                                                                         \
    zt_status ck_st_ = (expr);                                                 \
    ck_assert_msg(ck_st_ == (status), "%s: %s instead of %s (%s)", #expr,      \
                  zt_status_text(ck_st_), zt_status_text(status),              \
                  zt_last_error());                                            \
  } while (0)

/** Run one suite; fork is CK_NOFORK wherever MPI, HDF5 or a device is used. */
static inline int unit_main(Suite *suite, enum fork_status fork) {
  SRunner *runner = srunner_create(suite);
  srunner_set_fork_status(runner, fork);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
