/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_scan.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/settings_lex.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void zt_scan_find(const zt_scan *scan, int flat, int *file, int *line) {
  int low = 0, high = scan->n_runs - 1;
  while (low < high) {
    int mid = (low + high + 1) / 2;
    if (scan->runs[mid].flat <= flat)
      low = mid;
    else
      high = mid - 1;
  }
  *file = scan->runs[low].file;
  *line = scan->runs[low].line + flat - scan->runs[low].flat;
}

const char *zt_scan_place(const zt_scan *scan, int flat, char place[ZT_PLACE]) {
  char name[ZT_FILE_SHOWN];
  int file, line;
  zt_scan_find(scan, flat, &file, &line);
  snprintf(place, ZT_PLACE, "%s:%d",
           zt_shorten(scan->files[file], true, name, sizeof name), line);
  return place;
}

void zt_scan_free(zt_scan *scan) {
  for (int i = 0; i < scan->n_files; i++)
    free(scan->files[i]);
  zt_text_free(&scan->text);
  free(scan->runs);
  *scan = (zt_scan){0};
}

static bool out_of_memory(zt_lexer *lx) {
  lx->status = ZT_ERR_MEMORY;
  return false;
}

/* The next lines of the flat text are those of src. */
static bool begin_run(zt_lexer *lx, const zt_source *src) {
  zt_scan *scan = lx->scan;
  if (!zt_grow(&scan->runs, &scan->runs_capacity, (size_t) scan->n_runs,
               sizeof *scan->runs))
    return out_of_memory(lx);
  scan->runs[scan->n_runs++] = (zt_scan_run){lx->flat, src->file, src->line};
  return true;
}

/* The text of a file, with one newline more at its end: libconfig wants one
 * after a comment. */
static zt_status load(const char *path, size_t limit, struct stat *st,
                      char **bytes, size_t *size) {
  char name[ZT_FILE_SHOWN], *read;
  zt_shorten(path, true, name, sizeof name);
  if (stat(path, st) != 0)
    return zt_fail_errno(ZT_ERR_NOINPUT, "%s: cannot read", name);
  if (S_ISDIR(st->st_mode))
    return zt_fail(ZT_ERR_NOINPUT, "%s: a directory, not a configuration file",
                   name);
  if (S_ISREG(st->st_mode) && (uint64_t) st->st_size > limit)
    return zt_fail(ZT_ERR_CONFIG,
                   "%s: too large, a configuration has at most "
                   "%d bytes",
                   name, (int) ZT_SCAN_BYTES);
  zt_status status = zt_read_file(path, limit, &read, size);
  if (status != ZT_OK) {
    char why[ZT_REASON];
    zt_shorten(zt_last_error(), true, why, sizeof why);
    return zt_fail(status, "%s", why);
  }
  const char *zero = memchr(read, '\0', *size);
  *bytes = zt_calloc(*size + 2, 1);
  if (zero)
    status = zt_fail(ZT_ERR_CONFIG, "%s: not a text file (a zero byte at %td)",
                     name, zero - read);
  else if (!*bytes)
    status = ZT_ERR_MEMORY;
  if (status == ZT_OK) {
    size_t mark = *size >= 3 && !memcmp(read, "\xEF\xBB\xBF", 3) ? 3 : 0;
    *size -= mark;
    memcpy(*bytes, read + mark, *size);
    (*bytes)[(*size)++] = '\n';
  } else {
    free(*bytes);
  }
  free(read);
  return status;
}

/* Lex one file.  `including` is NULL for the first. */
static zt_status lex_file(zt_lexer *lx, const char *path,
                          const zt_source *including) {
  struct stat st;
  char *bytes = NULL;
  size_t size = 0;
  ZT_TRY(load(path, ZT_SCAN_BYTES - lx->bytes, &st, &bytes, &size));
  lx->bytes += size - 1;
  zt_source src = {.at = bytes,
                   .end = bytes + size,
                   .file = lx->scan->n_files,
                   .line = 1,
                   .device = st.st_dev,
                   .inode = st.st_ino,
                   .parent = including,
                   .depth = including ? including->depth + 1 : 1};
  zt_status status = ZT_OK;
  for (const zt_source *s = including; s; s = s->parent)
    if (s->device == st.st_dev && s->inode == st.st_ino)
      status = zt_fail(ZT_ERR_CONFIG, "the file includes itself");
  if (status == ZT_OK &&
      (src.file == ZT_SCAN_FILES || src.depth > ZT_SCAN_DEPTH))
    status = zt_fail(ZT_ERR_CONFIG, "more than %d files, or %d in each other",
                     (int) ZT_SCAN_FILES, (int) ZT_SCAN_DEPTH);
  if (status == ZT_OK &&
      !(lx->scan->files[lx->scan->n_files] = zt_strdup(path)))
    status = ZT_ERR_MEMORY;
  if (status == ZT_OK) {
    lx->scan->n_files++;
    if (!begin_run(lx, &src) || !zt_lex(lx, &src))
      status = lx->status; /* ZT_OK: the problem is noted */
  }
  free(bytes);
  return status;
}

static bool lex_include(zt_lexer *lx, zt_source *src, const char *name) {
  zt_text path = {0};
  const char *including = lx->scan->files[src->file];
  const char *slash = strrchr(including, '/');
  int at = lx->flat;
  if (*name != '/' && slash)
    zt_text_append(&path, including, (size_t) (slash + 1 - including));
  for (; *name != '"' && *name != '\n'; name++) {
    if (*name == '\\' && (name[1] == '\\' || name[1] == '"'))
      name++;
    zt_text_append(&path, name, 1);
  }
  if (path.failed)
    return out_of_memory(lx);
  if (*name != '"' || !path.data) {
    zt_text_free(&path);
    zt_lex_problem(lx, at, "@include needs the name of a file in quotes");
    return false;
  }
  src->at = name + 1;
  zt_status status = lex_file(lx, path.data, src);
  zt_text_free(&path);
  if (status == ZT_ERR_MEMORY)
    return out_of_memory(lx);
  if (status != ZT_OK) {
    char why[ZT_REASON - 16];
    zt_shorten(zt_last_error(), false, why, sizeof why);
    zt_lex_problem(lx, at, "@include: %s", why);
    return false;
  }
  return !lx->stopped && begin_run(lx, src);
}

zt_status zt_scan_file(const char *path, zt_scan *scan, zt_problems *problems) {
  zt_lexer lx = {
      .scan = scan, .problems = problems, .flat = 1, .include = lex_include};
  *scan = (zt_scan){0};
  zt_status status = lex_file(&lx, path, NULL);
  if (status == ZT_OK && !lx.stopped && lx.n_open > 0) {
    zt_bracket *top = &lx.open[lx.n_open - 1];
    zt_lex_problem(&lx, top->flat, "this '%c' is never closed", top->sign);
  }
  free(lx.keys);
  if (status == ZT_OK && scan->text.failed)
    return zt_fail(ZT_ERR_MEMORY, "out of memory");
  return status;
}
