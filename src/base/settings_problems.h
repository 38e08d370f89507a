/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  All problems of a configuration in one message: the first one, and how many
 *  more there are. */
#ifndef ZT_BASE_SETTINGS_PROBLEMS_H
#define ZT_BASE_SETTINGS_PROBLEMS_H

#include "base/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Sizes of buffers: a file's name as messages have it, with line, a reason. */
enum { ZT_FILE_SHOWN = 56, ZT_PLACE = 72, ZT_REASON = 160 };

/** Start from {0}. */
typedef struct zt_problems {
  int count;
  int64_t first_at;
  char first[ZT_PLACE + ZT_REASON];
} zt_problems;

/** Note a problem.
 *  \param[in] at     where it stands among the others; the least is told
 *  \param[in] place  "run.cfg:7", "-s" or the like */
void zt_problem(zt_problems *problems, int64_t at, const char *place,
                const char *format, ...) __attribute__((format(printf, 4, 5)));
void zt_problem_v(zt_problems *problems, int64_t at, const char *place,
                  const char *format, va_list args);
/** ZT_OK if there were none, else ZT_ERR_CONFIG with the message set. */
zt_status zt_problems_end(const zt_problems *problems);

/** Text of a user's as messages can hold it: control characters become '?', a
 *  long text loses its end (its beginning if `keep_end`) for "...".
 *  \param[in] size  of the buffer, at least 8
 *  \return the buffer */
const char *zt_shorten(const char *text, bool keep_end, char *buffer,
                       size_t size);

#endif
