/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Growing strings, and figures as people read them. */
#ifndef ZT_BASE_TEXT_H
#define ZT_BASE_TEXT_H

#include "base/status.h"

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

/** A growing string.  Start from {0}; free with zt_text_free().  When memory
 *  runs out `failed` is set, the content stays valid and further adds are
 *  ignored, so one check at the end is enough. */
typedef struct zt_text {
  char *data; /* NUL-terminated once something was added, else NULL */
  size_t size, capacity;
  bool failed;
} zt_text;

void zt_text_add(zt_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void zt_text_append(zt_text *text, const char *bytes, size_t size);
/** Append as a JSON string with its quotes; bytes that are not UTF-8 become
 *  U+FFFD. */
void zt_text_add_json(zt_text *text, const char *bytes, size_t size);
void zt_text_free(zt_text *text);

/** Bytes as "1.50 GiB", into a caller's buffer of 32; returns it. */
const char *zt_human_bytes(double bytes, char buffer[32]);
/** Seconds as "2h 03m" or "12.3 s". */
const char *zt_human_time(double seconds, char buffer[32]);
/** "64MiB", "5GB", "1e9", "4096": bytes.  Decimal for kB, MB, GB, TB; binary
 *  for KiB ... and the bare letters K, M, G, T.  False if it is not a size. */
bool zt_parse_bytes(const char *text, size_t *bytes);
/** Edits (insert, delete, replace, swap of neighbours) between two words;
 *  at most 99. */
int zt_edit_distance(const char *a, const char *b);
/** Whether the bytes are well-formed UTF-8. */
bool zt_is_utf8(const char *bytes, size_t size);
/** A path by format.
 *  \return ZT_ERR_USAGE if it is longer than the system takes. */
zt_status zt_path(char path[PATH_MAX], const char *format, ...)
    __attribute__((format(printf, 2, 3)));
bool zt_starts_with(const char *text, const char *prefix);
bool zt_ends_with(const char *text, const char *suffix);

#endif
