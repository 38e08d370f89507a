/* SPDX-License-Identifier: BSD-3-Clause */
#include "report/progress.h"

#include "base/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* snprintf() to the end of what is in the buffer; too much is cut off. */
static void add(char buffer[ZT_PROGRESS_SIZE], size_t *used, const char *format,
                ...) __attribute__((format(printf, 3, 4)));

static void add(char buffer[ZT_PROGRESS_SIZE], size_t *used, const char *format,
                ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(buffer + *used, ZT_PROGRESS_SIZE - *used, format, args);
  va_end(args);
  if (n > 0)
    *used += (size_t) n;
  if (*used >= ZT_PROGRESS_SIZE)
    *used = ZT_PROGRESS_SIZE - 1;
}

/* Seven characters: with decimals while they show it well, else 1.2e-03. */
static const char *figure(double x, int decimals, char buffer[32]) {
  double least = pow(10, 1 - decimals), most = pow(10, 6 - decimals) * 0.999999;
  if (!isfinite(x))
    snprintf(buffer, 32, "%7s", isnan(x) ? "nan" : x > 0 ? "inf" : "-inf");
  else if (x == 0 || (fabs(x) >= least && fabs(x) < most))
    snprintf(buffer, 32, "%7.*f", decimals, x);
  else
    snprintf(buffer, 32, "%7.1e", x);
  return buffer;
}

const char *zt_short_count(double x, char buffer[32]) {
  static const char unit[] = "kMGTP";
  int u = -1;
  while (x >= 999.95 && u < 4) {
    x /= 1000;
    u++;
  }
  if (u < 0)
    snprintf(buffer, 32, "%.1f", x);
  else
    snprintf(buffer, 32, "%.1f%c", x, unit[u]);
  return buffer;
}

/* "3h12m", "12m05s", "2d03h". */
static const char *short_time(double seconds, char buffer[32]) {
  if (!(seconds >= 0 && seconds < 8.64e8)) {
    snprintf(buffer, 32, "?");
    return buffer;
  }
  int64_t s = (int64_t) (seconds + 0.5);
  if (s < 60)
    snprintf(buffer, 32, "%" PRId64 "s", s);
  else if (s < 3600)
    snprintf(buffer, 32, "%" PRId64 "m%02" PRId64 "s", s / 60, s % 60);
  else if (s < 86400)
    snprintf(buffer, 32, "%" PRId64 "h%02" PRId64 "m", s / 3600, s / 60 % 60);
  else
    snprintf(buffer, 32, "%" PRId64 "d%02" PRId64 "h", s / 86400,
             s / 3600 % 24);
  return buffer;
}

const char *zt_progress_format(const zt_progress_line *line,
                               char buffer[ZT_PROGRESS_SIZE]) {
  char a[32], b[32];
  size_t used = 0;
  int digits = snprintf(NULL, 0, "%" PRId64, line->steps);
  add(buffer, &used, "step %*" PRId64 "/%" PRId64, digits > 6 ? digits : 6,
      line->step, line->steps);
  add(buffer, &used, "  loss %s  norm %s  lr %.2e", figure(line->loss, 4, a),
      figure(line->grad_norm, 3, b), line->lr);
  add(buffer, &used, "  %6s tok/s", zt_short_count(line->token_rate, a));
  if (line->peak_share >= 0)
    add(buffer, &used, "  %4.1f%% peak", 100 * line->peak_share);
  if (line->wait_share > 0)
    add(buffer, &used, "  wait %4.1f%%", 100 * line->wait_share);
  if (line->memory > 0)
    add(buffer, &used, "  mem %10s", zt_human_bytes((double) line->memory, a));
  add(buffer, &used, "  left %6s", short_time(line->seconds_left, a));
  if (line->bad)
    add(buffer, &used, "  SKIPPED for %s", line->bad);
  if (line->failed_saves > 0)
    add(buffer, &used, "  SAVES FAILED %" PRId64, line->failed_saves);
  return buffer;
}

void zt_progress_start(zt_progress *p, int64_t now, double peak) {
  *p = (zt_progress){.since = now, .peak = peak, .seconds_per_step = -1};
}

void zt_progress_step(zt_progress *p, int64_t tokens, double flops) {
  p->steps++;
  p->tokens += tokens;
  p->flops += flops;
}

void zt_progress_pause(zt_progress *p, int64_t took) {
  p->since += took;
}

void zt_progress_take(zt_progress *p, int64_t now, zt_progress_line *line) {
  double seconds = (double) (now - p->since) * 1e-9;
  if (seconds < 1e-9)
    seconds = 1e-9;
  line->token_rate = (double) p->tokens / seconds;
  line->peak_share = p->peak > 0 ? p->flops / seconds / p->peak : -1;
  if (p->steps > 0) {
    /* A restart makes one interval long: the time left leans on a few of them.
     */
    double now_takes = seconds / (double) p->steps;
    p->seconds_per_step = p->seconds_per_step < 0
                              ? now_takes
                              : 0.7 * p->seconds_per_step + 0.3 * now_takes;
  }
  line->seconds_left =
      p->seconds_per_step < 0
          ? -1
          : p->seconds_per_step * (double) (line->steps - line->step);
  p->since = now;
  p->steps = p->tokens = 0;
  p->flops = 0;
}
