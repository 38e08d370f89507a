/* SPDX-License-Identifier: BSD-3-Clause */
#include "report/metrics.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "report/append.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct zt_metrics {
  zt_append file;
  zt_text line; /* kept, so that a step allocates nothing */
};

/* Old metrics without a restart that names them: somebody may want them. */
static zt_status put_aside(const char *path) {
  struct stat st;
  if (lstat(path, &st) != 0 || (S_ISREG(st.st_mode) && st.st_size == 0))
    return ZT_OK;
  if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
    return ZT_OK; /* opening it will refuse */
  zt_text aside = {0};
  int n = 0;
  do {
    aside.size = 0;
    zt_text_add(&aside, "%s.old-%d", path, ++n);
  } while (!aside.failed && lstat(aside.data, &st) == 0);
  zt_status status = ZT_OK;
  if (aside.failed)
    status = zt_fail(ZT_ERR_MEMORY, "%s: out of memory", path);
  else if (rename(path, aside.data) != 0)
    status = zt_fail_errno(ZT_ERR_CREATE, "%s: cannot put it aside", path);
  else
    zt_info("old metrics are kept as %s", aside.data);
  zt_text_free(&aside);
  return status;
}

/* Where the last whole line within the first `limit` bytes ends. */
static zt_status find_line_end(const zt_append *file, int64_t limit,
                               int64_t *end) {
  char block[4096];
  while (limit > 0) {
    size_t want =
        limit < (int64_t) sizeof block ? (size_t) limit : sizeof block;
    int64_t at = limit - (int64_t) want;
    ssize_t n = pread(file->fd, block, want, (off_t) at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n != (ssize_t) want)
      return zt_fail_errno(ZT_ERR_IO, "%s: cannot read", file->path);
    for (size_t i = want; i > 0; i--)
      if (block[i - 1] == '\n') {
        *end = at + (int64_t) i;
        return ZT_OK;
      }
    limit = at;
  }
  *end = 0;
  return ZT_OK;
}

static zt_status cut_back(zt_append *file, int64_t keep) {
  int64_t size = file->size, end;
  ZT_TRY(find_line_end(file, keep < size ? keep : size, &end));
  if (size < keep)
    zt_warn("%s has %" PRId64 " of the %" PRId64
            " bytes that the restart knows; steps are missing in it",
            file->path, size, keep);
  else if (end != keep)
    zt_warn("%s was changed: no line ends at byte %" PRId64
            "; going on from %" PRId64,
            file->path, keep, end);
  return end == size ? ZT_OK : zt_append_cut(file, end);
}

zt_status zt_metrics_open(const char *path, int64_t keep_bytes,
                          zt_metrics **metrics) {
  if (keep_bytes < 0)
    ZT_TRY(put_aside(path));
  zt_metrics *m = zt_calloc(1, sizeof *m);
  if (!m)
    return ZT_ERR_MEMORY;
  zt_status status = zt_append_open(&m->file, path, O_CREAT);
  if (status == ZT_OK && keep_bytes >= 0)
    status = cut_back(&m->file, keep_bytes);
  if (status != ZT_OK) {
    zt_metrics_close(&m);
    return status;
  }
  *metrics = m;
  return ZT_OK;
}

/* 17 digits keep every bit; a point or an exponent keeps the type and the sign
 * of zero for readers that tell integers from reals. */
static void add_real(zt_text *line, double value) {
  char digits[32];
  if (!isfinite(value)) {
    zt_text_add(line, "null");
    return;
  }
  snprintf(digits, sizeof digits, "%.17g", value);
  zt_text_add(line, strpbrk(digits, ".e") ? "%s" : "%s.0", digits);
}

static void add_field(zt_text *line, const zt_field *f) {
  zt_text_add(line, "%s\"%s\": ", line->data[line->size - 1] == '{' ? "" : ", ",
              f->key);
  switch (f->type) {
  case ZT_FIELD_INT:
    zt_text_add(line, "%" PRId64, f->value.integer);
    break;
  case ZT_FIELD_REAL:
    add_real(line, f->value.real);
    break;
  case ZT_FIELD_TEXT:
    if (f->value.text)
      zt_text_add_json(line, f->value.text, strlen(f->value.text));
    else
      zt_text_add(line, "null");
    break;
  case ZT_FIELD_FLAG:
    zt_text_add(line, f->value.flag ? "true" : "false");
    break;
  }
}

void zt_metrics_format(zt_text *line, const char *kind, const zt_field *fields,
                       int n) {
  zt_field t = zt_field_text("t", kind);
  zt_text_append(line, "{", 1);
  if (line->failed)
    return;
  add_field(line, &t);
  for (int i = 0; i < n; i++)
    add_field(line, &fields[i]);
  zt_text_append(line, "}\n", 2);
}

zt_status zt_metrics_line(zt_metrics *m, const char *kind,
                          const zt_field *fields, int n) {
  ZT_TRY(zt_fault_check(ZT_FAULT_METRICS));
  if (!m)
    return ZT_OK;
  int64_t gap = m->file.gap;
  m->line.size = 0;
  if (gap > 0)
    zt_metrics_format(&m->line, "event",
                      ZT_FIELDS(zt_field_text("event", "lines lost"),
                                zt_field_int("lines", gap)));
  zt_metrics_format(&m->line, kind, fields, n);
  if (m->line.failed)
    return zt_fail(ZT_ERR_MEMORY, "%s: out of memory", m->file.path);
  if (zt_append_record(&m->file, m->line.data, m->line.size) && gap > 0 &&
      gap == m->file.lost) /* said once, as the first failure was */
    zt_warn("%s can be written again; %" PRId64 " lines are lost", m->file.path,
            gap);
  return ZT_OK;
}

zt_status zt_metrics_train(zt_metrics *m, const zt_train_line *line) {
  const char *bad = line->bad                    ? line->bad
                    : !isfinite(line->loss)      ? "loss"
                    : !isfinite(line->grad_norm) ? "grad_norm"
                                                 : NULL;
  zt_field fields[9] = {
      zt_field_int("step", line->step),
      zt_field_real("loss", line->loss),
  };
  int n = 2;
  if (line->has_terms)
    fields[n++] = zt_field_real("objective", line->objective);
  fields[n++] = zt_field_real("grad_norm", line->grad_norm);
  fields[n++] = zt_field_real("lr", line->lr);
  fields[n++] = zt_field_int("tokens", line->tokens);
  fields[n++] = zt_field_int("targets", line->targets);
  if (bad)
    fields[n++] = zt_field_text("bad", bad);
  fields[n++] = zt_field_real("seconds", line->seconds);
  return zt_metrics_line(m, "train", fields, n);
}

int64_t zt_metrics_tell(const zt_metrics *m) {
  return m ? m->file.size : 0;
}

int64_t zt_metrics_lost(const zt_metrics *m) {
  return m ? m->file.lost : 0;
}

void zt_metrics_sync(zt_metrics *m) {
  if (m)
    zt_append_sync(&m->file);
}

void zt_metrics_close(zt_metrics **metrics) {
  zt_metrics *m = *metrics;
  if (!m)
    return;
  zt_append_close(&m->file);
  zt_text_free(&m->line);
  free(m);
  *metrics = NULL;
}
