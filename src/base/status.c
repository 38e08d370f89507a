/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[ZT_MESSAGE_SIZE];

/* Set once at start, then only counted down, by any thread. */
static int armed = -1;
static _Atomic long armed_passages;
static bool held; /* planning */

int zt_status_exit_code(zt_status status) {
  switch (status) {
#define X(name, value, exit_code, text)                                        \
  case name:                                                                   \
    return exit_code;
    ZT_STATUS_LIST(X)
#undef X
  }
  return 70;
}

const char *zt_status_text(zt_status status) {
  switch (status) {
#define X(name, value, exit_code, text)                                        \
  case name:                                                                   \
    return text;
    ZT_STATUS_LIST(X)
#undef X
  }
  return "unknown status";
}

zt_status zt_fail(zt_status status, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  return status;
}

zt_status zt_fail_errno(zt_status status, const char *format, ...) {
  int saved = errno;
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  size_t used = strlen(message);
  snprintf(message + used, sizeof message - used, ": %s", strerror(saved));
  return status;
}

zt_status zt_fail_open(const char *path) {
  zt_status status = errno == ENOENT || errno == ENOTDIR ? ZT_ERR_NOINPUT
                     : errno == EACCES                   ? ZT_ERR_NOINPUT
                                                         : ZT_ERR_IO;
  return zt_fail_errno(status, "%s: cannot open", path);
}

const char *zt_last_error(void) {
  return message;
}

static const char *const fault_names[] = {
#define X(id, name) name,
    ZT_FAULT_LIST(X)
#undef X
};

const char *zt_fault_name(zt_fault point) {
  return fault_names[point];
}

zt_status zt_fault_arm(int rank) {
  const char *wish = getenv("ZT_FAULT");
  armed = -1;
  if (!wish || !*wish)
    return ZT_OK;
  const char *at = strchr(wish, '@');
  int wished_rank = 0;
  long passages = 1;
  int used = 0;
  if (!at ||
      sscanf(at, "@%d%n:%ld%n", &wished_rank, &used, &passages, &used) < 1 ||
      at[used] || passages < 1)
    return zt_fail(ZT_ERR_USAGE, "ZT_FAULT=%s: expected POINT@RANK[:N]", wish);
  armed_passages = passages;
  for (int i = 0; i < ZT_FAULT_COUNT; i++)
    if (strlen(fault_names[i]) == (size_t) (at - wish) &&
        !strncmp(wish, fault_names[i], (size_t) (at - wish))) {
      if (wished_rank == rank)
        armed = i;
      return ZT_OK;
    }
  return zt_fail(
      ZT_ERR_USAGE,
      "ZT_FAULT=%s: no such fault point ('ztinfo faults' lists them)", wish);
}

void zt_fault_hold(bool hold) {
  held = hold;
}

zt_status zt_fault_check(zt_fault point) {
  if (held || (int) point != armed || --armed_passages != 0)
    return ZT_OK;
  return zt_fail(ZT_ERR_IO, "fault injected at %s (ZT_FAULT is set)",
                 fault_names[point]);
}
