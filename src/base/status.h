/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Status codes, the one error message of a process, and fault points.
 *
 *  A function that can fail returns zt_status.  The first failure stores a
 *  message with zt_fail(); callers pass the code up with ZT_TRY and add
 *  nothing, so the message a user reads is the one closest to the cause.  The
 *  message names file or key, reason and way out, in at most 200 characters. */
#ifndef ZT_BASE_STATUS_H
#define ZT_BASE_STATUS_H

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ZT_STATUS_LIST(X) /* name, value, exit code, text */                   \
  X(ZT_OK, 0, 0, "success")                                                    \
  X(ZT_ERR_USAGE, 1, 64, "wrong usage")                                        \
  X(ZT_ERR_DATA, 2, 65, "bad data")                                            \
  X(ZT_ERR_NOINPUT, 3, 66, "no such input")                                    \
  X(ZT_ERR_UNAVAILABLE, 4, 69, "device, driver or launcher unusable")          \
  X(ZT_ERR_INTERNAL, 5, 70, "internal error")                                  \
  X(ZT_ERR_MEMORY, 6, 71, "out of memory")                                     \
  X(ZT_ERR_CREATE, 7, 73, "cannot create output")                              \
  X(ZT_ERR_IO, 8, 74, "input/output error")                                    \
  X(ZT_ERR_HANG, 9, 76, "a rank does not answer")                              \
  X(ZT_ERR_CONFIG, 10, 78, "bad configuration")                                \
  X(ZT_ERR_DIVERGED, 11, 79, "training diverged")                              \
  X(ZT_STOPPED, 12, 143, "stopped from outside")

typedef enum zt_status {
#define X(name, value, exit_code, text) name = value,
  ZT_STATUS_LIST(X)
#undef X
} zt_status;

#define ZT_TRY(expr)                                                           \
  do {                                                                         \
    zt_status zt_st_ = (expr);                                                 \
    if (zt_st_ != ZT_OK)                                                       \
      return zt_st_;                                                           \
  } while (0)

enum { ZT_MESSAGE_SIZE = 512 };

/** Exit code of the process (sysexits.h and two of our own) for a status. */
int zt_status_exit_code(zt_status status);
/** A few words that name the status. */
const char *zt_status_text(zt_status status);

/** Store the error message and return the code, for `return zt_fail(...)`.
 *  Local.  Only the calling thread sees the message. */
zt_status zt_fail(zt_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** The same, with ": " and the text of errno appended. */
zt_status zt_fail_errno(zt_status status, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/** Status for a failed open for reading: no such file is ZT_ERR_NOINPUT. */
zt_status zt_fail_open(const char *path);
/** The message of the last failure, "" if there was none. */
const char *zt_last_error(void);

/* Fault points: places where a test makes one rank fail, to show that all
 * ranks then end together.  ZT_FAULT=POINT@RANK[:N] in the environment fails
 * the N-th passage (default: the first) of that point on that rank.  At
 * step.order it does not fail but leaves a gather out, so that its collectives
 * are no longer those of the others. */
#define ZT_FAULT_LIST(X) /* identifier, name */                                \
  X(ZT_FAULT_CONFIG, "config.read")                                            \
  X(ZT_FAULT_PLAN, "plan.memory")                                              \
  X(ZT_FAULT_ALLOC, "device.allocate")                                         \
  X(ZT_FAULT_DATA_OPEN, "data.open")                                           \
  X(ZT_FAULT_DATA_READ, "data.read")                                           \
  X(ZT_FAULT_WEIGHTS_OPEN, "weights.open")                                     \
  X(ZT_FAULT_WEIGHTS_READ, "weights.read")                                     \
  X(ZT_FAULT_GATHER, "step.gather")                                            \
  X(ZT_FAULT_ORDER, "step.order")                                              \
  X(ZT_FAULT_COMPUTE, "step.compute")                                          \
  X(ZT_FAULT_REDUCE, "step.reduce")                                            \
  X(ZT_FAULT_UPDATE, "step.update")                                            \
  X(ZT_FAULT_EVALUATE, "evaluate.batch")                                       \
  X(ZT_FAULT_METRICS, "metrics.write")                                         \
  X(ZT_FAULT_RESTART_LAYOUT, "restart.layout")                                 \
  X(ZT_FAULT_RESTART_WRITE, "restart.write")                                   \
  X(ZT_FAULT_RESTART_SYNC, "restart.sync")                                     \
  X(ZT_FAULT_RESTART_SEAL, "restart.seal")                                     \
  X(ZT_FAULT_RESTART_OPEN, "restart.open")                                     \
  X(ZT_FAULT_RESTART_READ, "restart.read")                                     \
  X(ZT_FAULT_IMPORT_READ, "import.read")                                       \
  X(ZT_FAULT_IMPORT_WRITE, "import.write")                                     \
  X(ZT_FAULT_EXPORT_READ, "export.read")                                       \
  X(ZT_FAULT_EXPORT_WRITE, "export.write")                                     \
  X(ZT_FAULT_GENERATE, "generate.token")

typedef enum zt_fault {
#define X(id, name) id,
  ZT_FAULT_LIST(X)
#undef X
      ZT_FAULT_COUNT
} zt_fault;

/** Name of a fault point, as ZT_FAULT takes it. */
const char *zt_fault_name(zt_fault point);
/** Read ZT_FAULT for this rank.  An unknown point is ZT_ERR_USAGE. */
zt_status zt_fault_arm(int rank);
/** While held, a passage does not count: for planning, which runs the code of a
 *  step without doing one. */
void zt_fault_hold(bool hold);
/** ZT_OK, or the failure asked for: `ZT_TRY(zt_fault_check(ZT_FAULT_READ))`. */
zt_status zt_fault_check(zt_fault point);

#ifdef __cplusplus
}
#endif

#endif
