/* SPDX-License-Identifier: BSD-3-Clause */
#include "report/hang.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/memory.h"
#include "report/append.h"
#include "report/runstate.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char first_line[] = "hang report 1 of a run that stood still";

zt_status zt_hang_folder(const char *run_dir, char folder[PATH_MAX]) {
  return zt_path(folder, "%s/hang", run_dir);
}

/* ---- Writing ---- */

static void take_last(zt_hang_rank *r, const zt_beat_event *events, int n) {
  r->what[0] = '\0';
  r->calls = 0;
  r->step = r->micro_batch = r->unit = -1;
  for (int i = 0; i < n; i++)
    if (events[i].call > 0)
      r->calls = events[i].call;
  if (n == 0)
    return;
  const zt_beat_event *last = &events[n - 1];
  r->inside = last->call != 0 && !last->done;
  snprintf(r->what, sizeof r->what, "%s", last->what);
  r->step = last->step;
  r->micro_batch = last->micro_batch;
  r->unit = last->unit;
}

static void add_head(zt_text *text, const zt_hang_rank *r) {
  char host[HOST_NAME_MAX + 1] = "", now[32];
  gethostname(host, sizeof host - 1);
  zt_text_add(text, "%s\nrank %d of %d\n", first_line, r->rank, r->size);
  zt_text_add(text, "host %s\npid %ld\ntime %s\n", host, (long) getpid(),
              zt_utc_now(now));
  zt_text_add(text, "stood %.3f seconds, %s\n", r->stood,
              r->moving ? "moving" : "standing");
  zt_text_add(text,
              "step %" PRId64 ", micro-batch %" PRId64 ", unit %" PRId64 "\n",
              r->step, r->micro_batch, r->unit);
  zt_text_add(text, "calls %" PRId64 ", %s\nlast %s\n", r->calls,
              r->inside ? "inside" : "outside", r->what);
}

static void add_events(zt_text *text, const zt_beat_event *events, int n) {
  int64_t now = zt_clock_ns();
  zt_text_add(text, "\n%12s %8s %6s %6s %8s %12s  what\n", "seconds", "step",
              "micro", "unit", "call", "bytes");
  for (int i = 0; i < n; i++) {
    const zt_beat_event *e = &events[i];
    zt_text_add(text,
                "%12.6f %8" PRId64 " %6" PRId64 " %6" PRId64 " %8" PRId64
                " %12" PRId64 "  %s%s\n",
                1e-9 * (double) (e->at - now), e->step, e->micro_batch, e->unit,
                e->call, e->bytes, e->what, e->done ? ", done" : "");
  }
}

static zt_status write_text(const char *path, const zt_text *text) {
  if (text->failed)
    return zt_fail(ZT_ERR_MEMORY, "%s: out of memory", path);
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot make it", path);
  bool good = zt_write_all(fd, text->data, text->size);
  if (close(fd) != 0 || !good)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot write", path);
  return ZT_OK;
}

zt_status zt_hang_write(const char *run_dir, const zt_hang_rank *self) {
  static zt_beat_event events[ZT_BEATS]; /* one thread of a process does this */
  char folder[PATH_MAX], path[PATH_MAX], draft[PATH_MAX];
  zt_hang_rank r = *self;
  zt_text text = {0};
  ZT_TRY(zt_hang_folder(run_dir, folder));
  ZT_TRY(zt_path(path, "%s/rank-%05d.txt", folder, r.rank));
  ZT_TRY(zt_path(draft, "%s/.rank-%05d", folder, r.rank));
  if (mkdir(folder, 0777) != 0 && errno != EEXIST)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot make it", folder);
  int n = zt_beat_read(events);
  take_last(&r, events, n);
  add_head(&text, &r);
  add_events(&text, events, n);
  zt_status status = write_text(draft, &text);
  zt_text_free(&text);
  if (status == ZT_OK && rename(draft, path) != 0)
    status = zt_fail_errno(ZT_ERR_CREATE, "%s: cannot put it in place", path);
  return status;
}

/* ---- Reading ---- */

enum { LARGEST_FILE = 1 << 20, LARGEST_SIZE = 1 << 24 };

static bool take_line(zt_hang_rank *r, const char *line) {
  char word[16];
  if (sscanf(line, "rank %d of %d", &r->rank, &r->size) == 2)
    return true;
  if (sscanf(line, "stood %lf seconds, %15s", &r->stood, word) == 2)
    r->moving = !strcmp(word, "moving");
  else if (sscanf(line, "calls %" SCNd64 ", %15s", &r->calls, word) == 2)
    r->inside = !strcmp(word, "inside");
  else if (zt_starts_with(line, "last "))
    snprintf(r->what, sizeof r->what, "%s", line + 5);
  else
    sscanf(line, "step %" SCNd64 ", micro-batch %" SCNd64 ", unit %" SCNd64 "",
           &r->step, &r->micro_batch, &r->unit);
  return false;
}

/* What it did last, as a message may show it. */
static void make_plain(char *text) {
  for (char *c = text; *c; c++)
    if ((unsigned char) *c < 0x20 || *c == 0x7F)
      *c = '?';
}

/* A line of the table of events, if it is the begin of a collective. */
static bool take_call(const char *line, zt_hang_call *call) {
  int n = sscanf(line, "%*f %*d %*d %*d %" SCNd64 " %" SCNd64 " %39[^\n]",
                 &call->number, &call->bytes, call->what);
  if (n < 3 || call->number <= 0 || zt_ends_with(call->what, ", done"))
    return false;
  make_plain(call->what);
  return true;
}

/* NULL: the reference does not say what it did under this number. */
static const zt_hang_call *find_call(const zt_hang *hang, int64_t number) {
  size_t low = 0, high = hang->n_calls;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    if (hang->calls[middle].number < number)
      low = middle + 1;
    else
      high = middle;
  }
  bool found = low < hang->n_calls && hang->calls[low].number == number;
  return found ? &hang->calls[low] : NULL;
}

/* The calls of the first rank are kept, those of others are compared. */
static zt_status compare_call(zt_hang *hang, zt_hang_rank *r,
                              const zt_hang_call *call) {
  if (hang->count > 0) {
    const zt_hang_call *same = find_call(hang, call->number);
    if (same && !r->other.number &&
        (strcmp(same->what, call->what) != 0 || same->bytes != call->bytes))
      r->other = *call;
    return ZT_OK;
  }
  if (!zt_grow(&hang->calls, &hang->calls_capacity, hang->n_calls,
               sizeof *hang->calls))
    return ZT_ERR_MEMORY;
  hang->reference = r->rank;
  hang->calls[hang->n_calls++] = *call;
  return ZT_OK;
}

static zt_status read_rank(const char *path, zt_hang *hang, zt_hang_rank *r) {
  char *text, *at;
  bool named = false;
  zt_hang_call call;
  zt_status status = ZT_OK;
  *r = (zt_hang_rank){.there = true, .step = -1, .micro_batch = -1, .unit = -1};
  ZT_TRY(zt_read_file(path, LARGEST_FILE, &text, NULL));
  char *line = strtok_r(text, "\n", &at);
  bool ours = line && !strcmp(line, first_line);
  /* The table of events begins with spaces. */
  while (ours && (line = strtok_r(NULL, "\n", &at)) && *line != ' ')
    named = take_line(r, line) || named;
  for (; ours && named && line && status == ZT_OK;
       line = strtok_r(NULL, "\n", &at))
    if (take_call(line, &call))
      status = compare_call(hang, r, &call);
  free(text);
  ZT_TRY(status);
  make_plain(r->what);
  if (!ours || !named || r->size < 1 || r->size > LARGEST_SIZE || r->rank < 0 ||
      r->rank >= r->size)
    return zt_fail(ZT_ERR_DATA, "%s: not a report of a rank", path);
  return ZT_OK;
}

static zt_status add_rank(zt_hang *hang, const char *path) {
  zt_hang_rank r;
  ZT_TRY(read_rank(path, hang, &r));
  if (!hang->ranks) {
    hang->ranks = zt_calloc((size_t) r.size, sizeof *hang->ranks);
    if (!hang->ranks)
      return ZT_ERR_MEMORY;
    hang->size = r.size;
    for (int i = 0; i < r.size; i++)
      hang->ranks[i].rank = i;
  }
  if (r.size != hang->size)
    return zt_fail(ZT_ERR_DATA, "%s: says %d ranks, others say %d", path,
                   r.size, hang->size);
  hang->count += !hang->ranks[r.rank].there;
  hang->ranks[r.rank] = r;
  return ZT_OK;
}

zt_status zt_hang_read(const char *run_dir, zt_hang *hang) {
  char folder[PATH_MAX], path[PATH_MAX];
  zt_status status = ZT_OK;
  *hang = (zt_hang){0};
  ZT_TRY(zt_hang_folder(run_dir, folder));
  DIR *d = opendir(folder);
  if (!d && errno == ENOENT)
    return zt_fail(ZT_ERR_NOINPUT, "%s: no reports; this run did not hang",
                   folder);
  if (!d)
    return zt_fail_open(folder);
  for (struct dirent *e; status == ZT_OK && (e = readdir(d));)
    if (zt_starts_with(e->d_name, "rank-") && zt_ends_with(e->d_name, ".txt")) {
      status = zt_path(path, "%s/%s", folder, e->d_name);
      if (status == ZT_OK)
        status = add_rank(hang, path);
    }
  closedir(d);
  if (status == ZT_OK && hang->count == 0)
    status = zt_fail(ZT_ERR_NOINPUT, "%s: no reports in it", folder);
  if (status != ZT_OK)
    zt_hang_free(hang);
  return status;
}

void zt_hang_free(zt_hang *hang) {
  free(hang->ranks);
  free(hang->calls);
  *hang = (zt_hang){0};
}

/* ---- What they say ---- */

void zt_hang_describe(const zt_hang_rank *r, zt_text *text) {
  if (r->inside)
    zt_text_add(text, "in %s %" PRId64, r->what, r->calls);
  else if (r->what[0])
    zt_text_add(text, "at '%s' after collective %" PRId64, r->what, r->calls);
  else
    zt_text_add(text, "before anything");
  if (r->step < 0)
    return;
  zt_text_add(text, " (step %" PRId64, r->step);
  if (r->micro_batch >= 0)
    zt_text_add(text, ", micro-batch %" PRId64, r->micro_batch);
  if (r->unit >= 0)
    zt_text_add(text, ", unit %" PRId64, r->unit);
  zt_text_add(text, ")");
}

/* "rank 1", "ranks 1, 3, 4 and 12 more". */
static void add_missing(const zt_hang *hang, zt_text *text) {
  enum { SHOWN = 8 };
  int missing = hang->size - hang->count, shown = 0;
  zt_text_add(text, missing == 1 ? "rank" : "ranks");
  for (int i = 0; i < hang->size && shown < SHOWN; i++)
    if (!hang->ranks[i].there)
      zt_text_add(text, "%s %d", shown++ ? "," : "", i);
  if (shown < missing)
    zt_text_add(text, " and %d more", missing - shown);
}

/* The one that has begun the fewest collectives, of those inside or outside. */
static const zt_hang_rank *find_late(const zt_hang *hang, bool inside) {
  const zt_hang_rank *late = NULL;
  for (int i = 0; i < hang->size; i++) {
    const zt_hang_rank *r = &hang->ranks[i];
    if (r->there && r->inside == inside && (!late || r->calls < late->calls))
      late = r;
  }
  return late;
}

/* Who is inside waits for somebody.  Who is outside, and not ahead or not
 * moving, is the one. */
static const zt_hang_rank *find_last(const zt_hang *hang) {
  const zt_hang_rank *in = find_late(hang, true);
  const zt_hang_rank *out = find_late(hang, false);
  return !in || (out && (out->calls <= in->calls || !out->moving)) ? out : in;
}

/* A rank whose state stands for "the others". */
static const zt_hang_rank *find_other(const zt_hang *hang,
                                      const zt_hang_rank *last) {
  const zt_hang_rank *other = NULL;
  for (int i = 0; i < hang->size; i++) {
    const zt_hang_rank *r = &hang->ranks[i];
    if (r->there && r != last && (!other || (r->inside && !other->inside)))
      other = r;
  }
  return other;
}

static int explain_missing(const zt_hang *hang, zt_text *text) {
  const zt_hang_rank *other = find_other(hang, NULL);
  int missing = 0;
  while (hang->ranks[missing].there)
    missing++;
  add_missing(hang, text);
  zt_text_add(text, " of %d wrote nothing: %s stopped, dead or cut off; ",
              hang->size, hang->size - hang->count == 1 ? "it is" : "they are");
  if (hang->count == 1)
    zt_text_add(text, "rank %d is ", other->rank);
  else
    zt_text_add(text, "the others are ");
  zt_hang_describe(other, text);
  return missing;
}

static void describe_call(const zt_hang_call *call, zt_text *text) {
  zt_text_add(text, "'%s'", call->what);
  if (call->bytes > 0)
    zt_text_add(text, " of %" PRId64 " bytes", call->bytes);
}

/* A rank that does something else under the same number: if most ranks do, it
 * is the reference that does; of two, the second is named.
 * \return the rank, -1: none */
static int explain_order(const zt_hang *hang, zt_text *text) {
  const zt_hang_rank *first = NULL;
  int differ = 0;
  for (int i = 0; i < hang->size; i++)
    if (hang->ranks[i].other.number) {
      differ++;
      if (!first || hang->ranks[i].other.number < first->other.number)
        first = &hang->ranks[i];
    }
  if (!first)
    return -1;
  const zt_hang_call *call = find_call(hang, first->other.number);
  bool most = 2 * differ > hang->size ||
              (2 * differ == hang->size && hang->reference > first->rank);
  zt_text_add(text,
              "rank %d of %d does not do what the others do: collective "
              "%" PRId64 " is ",
              most ? hang->reference : first->rank, hang->size, call->number);
  describe_call(most ? call : &first->other, text);
  zt_text_add(text, " there and ");
  describe_call(most ? &first->other : call, text);
  zt_text_add(text, " on rank %d", most ? first->rank : hang->reference);
  return most ? hang->reference : first->rank;
}

int zt_hang_explain(const zt_hang *hang, zt_text *text) {
  int other_way = explain_order(hang, text);
  if (other_way >= 0)
    return other_way;
  if (hang->count < hang->size)
    return explain_missing(hang, text);
  const zt_hang_rank *last = find_last(hang), *other = find_other(hang, last);
  if (other && last->inside && last->calls == other->calls) {
    zt_text_add(text, "all %d ranks are ", hang->size);
    zt_hang_describe(last, text);
    zt_text_add(text, ": the network or MPI stands still");
    return -1;
  }
  zt_text_add(text, "rank %d of %d is out of step: ", last->rank, hang->size);
  zt_hang_describe(last, text);
  if (last->moving)
    zt_text_add(text, ", still moving");
  else
    zt_text_add(text, " for %.1f s", last->stood);
  if (other) {
    zt_text_add(text, "; the others are ");
    zt_hang_describe(other, text);
  }
  return last->rank;
}
