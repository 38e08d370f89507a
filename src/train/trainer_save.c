/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"
#include "base/text.h"
#include "train/state.h"
#include "train/trainer_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static zt_status save(zt_trainer *t, int64_t *bytes) {
  int64_t samples = zt_batch_samples(t->batch);
  int64_t used = t->done * t->settings->train.batch;
  zt_restart_save what = {.step = t->done,
                          .updates = t->updates,
                          .epoch = used / samples,
                          .position = used % samples,
                          .metrics_bytes = zt_metrics_tell(t->metrics),
                          .configuration = t->configuration,
                          .provenance = t->provenance,
                          .read = zt_state_read,
                          .context = t->step->zero3};
  zt_metrics_sync(t->metrics);
  ZT_TRY(zt_state_digest(t->step->zero3, t->done, &what.digest));
  return zt_restart_write(t->writer, &what, bytes);
}

/* What is said of a save that is committed. */
static void report(zt_trainer *t, int64_t bytes, double seconds) {
  char size[32], rate[32];
  zt_info("restart %s: %s in %.2f s (%s/s)", t->newest,
          zt_human_bytes((double) bytes, size), seconds,
          zt_human_bytes((double) bytes / seconds, rate));
  zt_metrics_line(t->metrics, "restart",
                  ZT_FIELDS(zt_field_int("step", t->done),
                            zt_field_text("name", t->newest),
                            zt_field_int("bytes", bytes),
                            zt_field_real("seconds", seconds)));
}

zt_status zt_trainer_save(zt_trainer *t) {
  int64_t bytes = 0, began = zt_clock_ns();
  zt_phase_start(&t->phases, ZT_PHASE_RESTART);
  zt_status status = save(t, &bytes);
  zt_phase_stop(&t->phases, ZT_PHASE_RESTART);
  t->saved_at = zt_clock_ns();
  if (status != ZT_OK)
    return status;
  snprintf(t->newest, sizeof t->newest, "step-%09" PRId64, t->done);
  t->saves++;
  t->saved_bytes += bytes;
  t->save_ns += t->saved_at - began;
  if (t->root) {
    report(t, bytes, 1e-9 * (double) (t->saved_at - began));
    zt_restart_clean(t->restart_dir, t->settings->restart.keep,
                     t->settings->restart.keep_every);
  }
  return ZT_OK;
}
