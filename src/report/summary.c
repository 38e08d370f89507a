/* SPDX-License-Identifier: BSD-3-Clause */
#include "report/summary.h"

#include "base/beat.h"
#include "report/progress.h"

#include <assert.h>
#include <inttypes.h>
#include <time.h>

enum { ROW_OTHER = ZT_PHASE_COUNT, ROW_TOTAL };

static const char *const row_names[ZT_SUMMARY_ROWS] = {
#define X(id, name) name,
    ZT_PHASE_LIST(X)
#undef X
        "other",
    "total",
};

void zt_phases_init(zt_phases *p) {
  *p = (zt_phases){.born = zt_clock_ns(), .running = -1};
}

void zt_phase_start(zt_phases *p, zt_phase phase) {
  assert(p->running < 0);
  zt_beat(row_names[phase]);
  p->running = (int) phase;
  p->began = zt_clock_ns();
}

void zt_phase_stop(zt_phases *p, zt_phase phase) {
  assert(p->running == (int) phase);
  p->ns[phase] += zt_clock_ns() - p->began;
  p->calls[phase]++;
  p->running = -1;
}

void zt_summary_take(const zt_phases *p, zt_summary *s) {
  int64_t total = zt_clock_ns() - p->born, inside = 0;
  int64_t *most = s->max, *least = s->max + ZT_SUMMARY_ROWS;
  int64_t *calls = s->max + 2 * ZT_SUMMARY_ROWS;
  for (int i = 0; i < ZT_PHASE_COUNT; i++) {
    s->sum[i] = p->ns[i];
    calls[i] = p->calls[i];
    inside += p->ns[i];
  }
  s->sum[ROW_OTHER] = total - inside;
  s->sum[ROW_TOTAL] = total;
  calls[ROW_OTHER] = calls[ROW_TOTAL] = 0;
  for (int i = 0; i < ZT_SUMMARY_ROWS; i++) {
    most[i] = s->sum[i];
    least[i] = -s->sum[i];
  }
}

static void add_table(const zt_summary *s, zt_text *text) {
  const int64_t *most = s->max, *least = s->max + ZT_SUMMARY_ROWS;
  const int64_t *calls = s->max + 2 * ZT_SUMMARY_ROWS;
  double total = s->sum[ROW_TOTAL] > 0 ? (double) s->sum[ROW_TOTAL] : 1;
  zt_text_add(text, "%-10s %9s %10s %10s %10s %7s", "phase", "calls", "min s",
              "avg s", "max s", "share");
  for (int i = 0; i < ZT_SUMMARY_ROWS; i++) {
    if (i < ROW_OTHER && calls[i] == 0)
      continue;
    zt_text_add(text, "\n%-10s ", row_names[i]);
    if (i < ROW_OTHER)
      zt_text_add(text, "%9" PRId64, calls[i]);
    else
      zt_text_add(text, "%9s", "");
    zt_text_add(text, " %10.2f %10.2f %10.2f %6.1f%%",
                (double) -least[i] * 1e-9, (double) s->sum[i] / s->ranks * 1e-9,
                (double) most[i] * 1e-9, 100 * (double) s->sum[i] / total);
  }
}

void zt_summary_format(const zt_summary *s, zt_text *text) {
  char a[32], b[32];
  add_table(s, text);
  zt_text_add(text,
              "\nsteps      %" PRId64 " of %" PRId64 ", %" PRId64
              " of them in this part",
              s->step, s->steps, s->steps_here);
  if (s->steps_here > 0 && s->train_seconds > 0) {
    zt_text_add(text, ", %.4g s each",
                s->train_seconds / (double) s->steps_here);
    zt_text_add(text, "\ntokens     %s, %s a second",
                zt_short_count((double) s->tokens, a),
                zt_short_count((double) s->tokens / s->train_seconds, b));
  }
  if (s->restarts > 0) {
    zt_text_add(text, "\nrestarts   %" PRId64 ", %s in %s", s->restarts,
                zt_human_bytes((double) s->restart_bytes, a),
                zt_human_time(s->restart_seconds, b));
    if (s->restart_seconds > 0)
      zt_text_add(text, ", %.2f GB/s",
                  (double) s->restart_bytes / s->restart_seconds * 1e-9);
  }
  if (s->restart)
    zt_text_add(text, "\nnewest     %s", s->restart);
  if (s->resume)
    zt_text_add(text, "\nto continue: %s", s->resume);
  else
    zt_text_add(text, "\ndone");
}
