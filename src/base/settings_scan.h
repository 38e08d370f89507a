/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Reading the text of a configuration before libconfig sees it.
 *
 *  libconfig 1.5 lets through what must not pass in silence: integers beyond 32
 *  bits are wrapped, a comment that is never closed swallows the rest of the
 *  file, `.` counts as the number 0.  Its `@include` knows one folder only, and
 *  a missing file has no name in the error.  So a small lexer of our own goes
 *  first: it finds these, resolves the includes, and hands libconfig one flat
 *  text. */
#ifndef ZT_BASE_SETTINGS_SCAN_H
#define ZT_BASE_SETTINGS_SCAN_H

#include "base/settings_problems.h"
#include "base/text.h"

enum {
  ZT_SCAN_BYTES = 1 << 20, /* most of all files together */
  ZT_SCAN_FILES = 64,      /* most inclusions */
  ZT_SCAN_KEYS = 4096,     /* most "KEY =" */
  ZT_SCAN_DEPTH = 16       /* most open brackets, most open files */
};

/** From this line of the flat text on, lines are those of a file. */
typedef struct zt_scan_run {
  int flat, file, line; /* lines count from 1 */
} zt_scan_run;

typedef struct zt_scan {
  zt_text text;               /* the flat text */
  char *files[ZT_SCAN_FILES]; /* names as messages give them; owned */
  int n_files;
  zt_scan_run *runs; /* ascending */
  int n_runs;
  size_t runs_capacity;
  bool broken; /* libconfig would stumble over it: do not try */
} zt_scan;

/** Read a file with all that it includes.
 *  Local.
 *  \param[out] scan      zt_scan_free() it, also after a failure
 *  \param[out] problems  gets what is wrong in the text, by flat line
 *  \return ZT_ERR_NOINPUT without the file, ZT_ERR_CONFIG if it is too large or
 *          not text, ZT_ERR_MEMORY. */
zt_status zt_scan_file(const char *path, zt_scan *scan, zt_problems *problems);
void zt_scan_free(zt_scan *scan);

/** File (index in `files`) and line of a line of the flat text. */
void zt_scan_find(const zt_scan *scan, int flat, int *file, int *line);
/** "FILE:LINE" of a line of the flat text, into a caller's buffer; returns
 *  it. */
const char *zt_scan_place(const zt_scan *scan, int flat, char place[ZT_PLACE]);

#endif
