/* SPDX-License-Identifier: BSD-3-Clause */
#include "report/summary.h"

#include "base/beat.h"
#include "base/memory.h"
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

/* The system takes some 30 us to tell: short phases are not asked each time. */
static void look_at_memory(zt_phases *p, zt_phase phase, int64_t now) {
  enum { BETWEEN_NS = 20 * 1000 * 1000 };
  if (p->bytes[phase] > 0 && now - p->looked < BETWEEN_NS)
    return;
  int64_t bytes = (int64_t) zt_private_bytes();
  if (bytes > p->bytes[phase])
    p->bytes[phase] = bytes;
  p->looked = now;
}

void zt_phase_stop(zt_phases *p, zt_phase phase) {
  assert(p->running == (int) phase);
  int64_t now = zt_clock_ns();
  look_at_memory(p, phase, now);
  p->ns[phase] += now - p->began;
  p->calls[phase]++;
  p->running = -1;
}

void zt_summary_take(const zt_phases *p, zt_summary *s) {
  int64_t total = zt_clock_ns() - p->born, inside = 0;
  int64_t *most = s->max, *least = s->max + ZT_SUMMARY_ROWS;
  int64_t *calls = s->max + 2 * ZT_SUMMARY_ROWS;
  int64_t *bytes = s->max + 3 * ZT_SUMMARY_ROWS;
  bytes[ROW_OTHER] = bytes[ROW_TOTAL] = (int64_t) zt_private_bytes();
  for (int i = 0; i < ZT_PHASE_COUNT; i++) {
    s->sum[i] = p->ns[i];
    calls[i] = p->calls[i];
    bytes[i] = p->bytes[i];
    inside += p->ns[i];
    if (bytes[i] > bytes[ROW_TOTAL])
      bytes[ROW_TOTAL] = bytes[i];
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
  const int64_t *bytes = s->max + 3 * ZT_SUMMARY_ROWS;
  char memory[32];
  double total = s->sum[ROW_TOTAL] > 0 ? (double) s->sum[ROW_TOTAL] : 1;
  zt_text_add(text, "%-10s %9s %10s %10s %10s %7s %11s", "phase", "calls",
              "min s", "avg s", "max s", "share", "memory");
  for (int i = 0; i < ZT_SUMMARY_ROWS; i++) {
    if (i < ROW_OTHER && calls[i] == 0)
      continue;
    zt_text_add(text, "\n%-10s ", row_names[i]);
    if (i < ROW_OTHER)
      zt_text_add(text, "%9" PRId64, calls[i]);
    else
      zt_text_add(text, "%9s", "");
    zt_text_add(text, " %10.2f %10.2f %10.2f %6.1f%% %11s",
                (double) -least[i] * 1e-9, (double) s->sum[i] / s->ranks * 1e-9,
                (double) most[i] * 1e-9, 100 * (double) s->sum[i] / total,
                zt_human_bytes((double) bytes[i], memory));
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
  if (s->most_inside > 0 && s->sum[ROW_TOTAL] > 0)
    zt_text_add(text,
                "\nwaiting    %.1f%% of the time in collectives, %.1f%% where "
                "it is most",
                100 * (double) s->inside / (double) s->sum[ROW_TOTAL],
                100 * (double) s->most_inside / (double) s->max[ROW_TOTAL]);
  if (s->restarts > 0) {
    zt_text_add(text, "\nrestarts   %" PRId64 ", %s in %s", s->restarts,
                zt_human_bytes((double) s->restart_bytes, a),
                zt_human_time(s->restart_seconds, b));
    if (s->restart_seconds > 0)
      zt_text_add(text, ", %.2f GB/s",
                  (double) s->restart_bytes / s->restart_seconds * 1e-9);
  }
  if (s->evaluations > 0)
    zt_text_add(text,
                "\nevals      %" PRId64 " in %s, the last one's loss "
                "%.4f",
                s->evaluations, zt_human_time(s->eval_seconds, a),
                s->eval_loss);
  if (s->best)
    zt_text_add(text, "\nbest       %s, loss %.4f", s->best, s->best_loss);
  if (s->restart)
    zt_text_add(text, "\nnewest     %s", s->restart);
  if (s->resume)
    zt_text_add(text, "\nto continue: %s", s->resume);
  else
    zt_text_add(text, "\ndone");
}
