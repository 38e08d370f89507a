/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_problems.h"

#include <stdio.h>
#include <string.h>

/* Messages have 200 characters, and the name of the program stands before. */
enum { MOST = 180 };

void zt_problem_v(zt_problems *problems, int64_t at, const char *place,
                  const char *format, va_list args) {
  problems->count++;
  if (problems->count > 1 && at >= problems->first_at)
    return;
  problems->first_at = at;
  int used = snprintf(problems->first, sizeof problems->first,
                      "%.*s: ", ZT_PLACE - 3, place);
  vsnprintf(problems->first + used, sizeof problems->first - (size_t) used,
            format, args);
}

void zt_problem(zt_problems *problems, int64_t at, const char *place,
                const char *format, ...) {
  va_list args;
  va_start(args, format);
  zt_problem_v(problems, at, place, format, args);
  va_end(args);
}

zt_status zt_problems_end(const zt_problems *problems) {
  char more[32] = "", first[MOST + 1];
  if (problems->count == 0)
    return ZT_OK;
  if (problems->count > 1)
    snprintf(more, sizeof more, " (and %d more)", problems->count - 1);
  zt_shorten(problems->first, false, first, sizeof first - strlen(more));
  return zt_fail(ZT_ERR_CONFIG, "%s%s", first, more);
}

/* Whether the byte goes on a character begun before it. */
static bool inside_character(char c) {
  return ((unsigned char) c & 0xC0) == 0x80;
}

const char *zt_shorten(const char *text, bool keep_end, char *buffer,
                       size_t size) {
  size_t n = strlen(text), kept = size - 4;
  if (n < size) {
    memcpy(buffer, text, n + 1);
  } else if (keep_end) {
    const char *from = text + n - kept;
    while (inside_character(*from))
      from++;
    snprintf(buffer, size, "...%s", from);
  } else {
    while (kept > 0 && inside_character(text[kept]))
      kept--;
    snprintf(buffer, size, "%.*s...", (int) kept, text);
  }
  for (char *c = buffer; *c; c++)
    if ((unsigned char) *c < 0x20 || *c == 0x7F)
      *c = '?';
  return buffer;
}
