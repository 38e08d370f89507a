/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static struct {
  const char *program;
  int rank, size;
  FILE *file;
} self = {.program = "zt", .size = 1};

void zt_log_start(const char *program, int rank, int size) {
  self.program = program;
  self.rank = rank;
  self.size = size;
}

zt_status zt_log_open(const char *path) {
  zt_log_close();
  self.file = fopen(path, "a");
  if (!self.file)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot write the log", path);
  return ZT_OK;
}

void zt_log_close(void) {
  if (self.file)
    fclose(self.file);
  self.file = NULL;
}

/* A full disk must not stop a run for the sake of its log: errors of the log
 * file are not looked at. */
static void say(FILE *to, const char *prefix, const char *format,
                va_list args) {
  if (!to)
    return;
  va_list copy;
  va_copy(copy, args);
  fputs(prefix, to);
  vfprintf(to, format, copy);
  fputc('\n', to);
  fflush(to);
  va_end(copy);
}

void zt_info(const char *format, ...) {
  if (self.rank != 0)
    return;
  va_list args;
  va_start(args, format);
  say(stderr, "", format, args);
  say(self.file, "", format, args);
  va_end(args);
}

void zt_note(const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(self.file, "", format, args);
  va_end(args);
}

void zt_warn(const char *format, ...) {
  char prefix[96];
  if (self.size > 1 && self.rank != 0)
    snprintf(prefix, sizeof prefix, "%s: warning: rank %d: ", self.program,
             self.rank);
  else
    snprintf(prefix, sizeof prefix, "%s: warning: ", self.program);
  va_list args;
  va_start(args, format);
  say(stderr, prefix, format, args);
  say(self.file, prefix, format, args);
  va_end(args);
}

static void say_plain(FILE *to, const char *prefix, const char *format, ...) {
  va_list args;
  va_start(args, format);
  say(to, prefix, format, args);
  va_end(args);
}

void zt_error(const char *message) {
  char prefix[64];
  snprintf(prefix, sizeof prefix, "%s: ", self.program);
  say_plain(stderr, prefix, "%s", message);
  say_plain(self.file, prefix, "%s", message);
}
