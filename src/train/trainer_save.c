/* SPDX-License-Identifier: BSD-3-Clause */
/* Saves beside the run: start, look after, and what is said of them. */
#include "base/log.h"
#include "base/text.h"
#include "train/state.h"
#include "train/trainer_inside.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static void sync_metrics(void *metrics) {
  zt_metrics_sync(metrics);
}

zt_status zt_trainer_guard(void *trainer, int64_t at, int64_t n) {
  zt_trainer *t = trainer;
  return zt_restart_protect(t->writer, at, n);
}

/* A save that fails for want of space or memory or by a bad disk costs the
 * restart, not the run; too many in a row end it, in good order. */
static zt_status count_failure(zt_trainer *t, zt_status status) {
  if (status != ZT_ERR_IO && status != ZT_ERR_CREATE && status != ZT_ERR_MEMORY)
    return status;
  char *message = t->failure;
  snprintf(message, sizeof t->failure, "%s", zt_last_error());
  t->failures++;
  if (t->root) {
    zt_warn("no restart of step %" PRId64 ": %s", t->saving, message);
    zt_metrics_line(t->metrics, "event",
                    ZT_FIELDS(zt_field_text("event", "save failed"),
                              zt_field_int("step", t->saving),
                              zt_field_text("message", message)));
  }
  if (t->failures <= t->settings->restart.max_failures)
    return ZT_OK;
  return zt_fail(ZT_ERR_IO, "%.150s (saves that failed in a row: %" PRId64 ")",
                 message, t->failures);
}

/* What is said and done when a save is committed. */
static void count_success(zt_trainer *t, const zt_restart_end *end) {
  char size[32], of_raw[32];
  snprintf(t->newest, sizeof t->newest, "step-%09" PRId64, end->step);
  if (end->step == t->fresh.step)
    t->best = t->fresh;
  t->failures = 0;
  t->saves++;
  t->saved_bytes += end->bytes;
  int64_t took = (int64_t) (1e9 * end->seconds);
  t->save_ns += took;
  t->longest_save =
      t->saves > 1 && took < t->longest_save ? t->longest_save : took;
  if (!t->root)
    return;
  double gb = 1e-9 * (double) end->bytes / end->writing;
  double share = end->raw_rate > 0 ? 1e9 * gb / end->raw_rate : NAN;
  if (isnan(share))
    snprintf(of_raw, sizeof of_raw, "raw rate unknown");
  else
    snprintf(of_raw, sizeof of_raw, "%.0f %% of the raw rate", 100 * share);
  zt_info("restart %s: %s in %.2f s, %.2f GB/s, %s; training held up %.3f s",
          t->newest, zt_human_bytes((double) end->bytes, size), end->writing,
          gb, of_raw, end->stall);
  zt_metrics_line(t->metrics, "restart",
                  ZT_FIELDS(zt_field_int("step", end->step),
                            zt_field_text("name", t->newest),
                            zt_field_int("bytes", end->bytes),
                            zt_field_real("seconds", end->writing),
                            zt_field_real("gb_per_second", gb),
                            zt_field_real("raw_share", share),
                            zt_field_real("stall", end->stall)));
}

static zt_status end_save(zt_trainer *t, zt_status status,
                          const zt_restart_end *end) {
  if (status != ZT_OK)
    return count_failure(t, status);
  if (end->committed)
    count_success(t, end);
  return ZT_OK;
}

zt_status zt_trainer_advance_save(zt_trainer *t, bool any_busy) {
  zt_restart_end end;
  zt_status status = zt_restart_advance(t->writer, any_busy, &end);
  return end_save(t, status, &end);
}

zt_status zt_trainer_finish_save(zt_trainer *t) {
  zt_restart_end end = {0};
  zt_phase_start(&t->phases, ZT_PHASE_RESTART);
  zt_status status = zt_restart_finish(t->writer, &end);
  zt_phase_stop(&t->phases, ZT_PHASE_RESTART);
  return end_save(t, status, &end);
}

static zt_status start_save(zt_trainer *t) {
  int64_t samples = zt_batch_samples(t->data.batch);
  int64_t used = t->done * t->settings->train.batch;
  const zt_best *best = t->fresh.step == t->done ? &t->fresh : &t->best;
  zt_restart_save what = {
      .step = t->done,
      .updates = t->updates,
      .epoch = used / samples,
      .position = used % samples,
      .metrics_bytes = zt_metrics_tell(t->metrics),
      .configuration = t->configuration,
      .provenance = t->provenance,
      .evaluated = t->evaluated,
      .best_step = best->step,
      .best_loss = best->loss,
      .retention = {.keep = t->settings->restart.keep,
                    .keep_every = t->settings->restart.keep_every,
                    .best = t->settings->restart.keep_best ? best->step : -1},
      .read = zt_state_read,
      .context = t->step->zero3,
      .sync = t->metrics ? sync_metrics : NULL,
      .sync_context = t->metrics};
  t->saving = t->done;
  t->saved_at = zt_clock_ns();
  zt_phase_start(&t->phases, ZT_PHASE_RESTART);
  zt_status status = zt_restart_start(t->writer, &what);
  zt_phase_stop(&t->phases, ZT_PHASE_RESTART);
  return status == ZT_OK ? ZT_OK : count_failure(t, status);
}

zt_status zt_trainer_save(zt_trainer *t, bool wait) {
  bool running = zt_restart_running(t->writer);
  if (running && !wait && t->settings->restart.busy == ZT_BUSY_SKIP) {
    zt_info("no restart of step %" PRId64 ": that of step %" PRId64
            " is still being written",
            t->done, t->saving);
    return ZT_OK;
  }
  if (running)
    ZT_TRY(zt_trainer_finish_save(t));
  ZT_TRY(start_save(t));
  if (wait || !t->settings->restart.async)
    return zt_trainer_finish_save(t);
  return ZT_OK;
}
