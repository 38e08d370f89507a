/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_check.h"

#include "base/settings_origins.h"
#include "base/settings_value.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct checker {
  const zt_settings *settings;
  zt_problems problems;
} checker;

/* Note a problem of a key at the place it was set. */
#define COMPLAIN(c, key, ...)                                                  \
  do {                                                                         \
    char place_[ZT_PLACE];                                                     \
    const zt_setting *setting_ = zt_setting_find(key);                         \
    zt_problem(&(c)->problems, zt_setting_index(setting_),                     \
               place_of((c)->settings, setting_, place_), __VA_ARGS__);        \
  } while (0)

static const char *place_of(const zt_settings *settings,
                            const zt_setting *setting, char place[ZT_PLACE]) {
  const zt_settings_origins *origins = settings->origins;
  int from = origins->of[zt_setting_index(setting)].file;
  if (from >= 0)
    return zt_settings_origin(settings, setting, place);
  if (from == ZT_FROM_OPTION)
    return "-s";
  if (origins->n_files == 0)
    return "configuration";
  return zt_shorten(origins->files[0], true, place, ZT_FILE_SHOWN);
}

static void check_needs(checker *c, unsigned needs) {
  const zt_settings *s = c->settings;
  for (int i = 0; i < zt_setting_count; i++) {
    const zt_setting *setting = &zt_setting_table[i];
    if ((setting->need & needs) && !zt_setting_is_given(s, setting))
      COMPLAIN(c, setting->key, "%s is missing (see 'ztrain --explain %s')%s",
               setting->key, setting->key,
               setting->need == ZT_NEED_WEIGHTS && *s->model.config
                   ? "; model.config is for planning alone"
                   : "");
  }
  if ((needs & ZT_NEED_VALID) && !*s->data.valid &&
      (s->data.valid_fraction == 0 || s->data.train.n == 0))
    COMPLAIN(c, "data.valid",
             "data.valid is missing: a token file to evaluate on, or "
             "data.valid_fraction of data.train");
  if ((needs & ZT_NEED_MODEL) && !*s->model.weights && !*s->model.config)
    COMPLAIN(c, "model.weights", "model.weights or model.config is missing");
  if (*s->model.weights && *s->model.config)
    COMPLAIN(c, "model.config",
             "model.weights and model.config exclude each other: drop one, "
             "or give -s model.config=");
}

static void check_batch(checker *c) {
  int64_t batch = c->settings->train.batch;
  int64_t micro = c->settings->train.microbatch;
  int64_t steps = c->settings->train.steps, samples;
  if (batch == 0 || micro == 0)
    return;
  int64_t below = batch - batch % micro, above = below + micro;
  if (batch % micro != 0 && below > 0)
    COMPLAIN(c, "train.batch",
             "train.batch = %" PRId64
             " is not a multiple of train.microbatch = %" PRId64
             ": take %" PRId64 " or %" PRId64,
             batch, micro, below, above);
  else if (batch % micro != 0)
    COMPLAIN(c, "train.batch",
             "train.batch = %" PRId64
             " is less than train.microbatch = %" PRId64
             ": take a batch of %" PRId64 " or a micro-batch of %" PRId64,
             batch, micro, above, batch);
  if (__builtin_mul_overflow(steps, batch, &samples) ||
      samples > ZT_SETTING_MOST)
    COMPLAIN(c, "train.steps",
             "train.steps x train.batch is more than 2^62 samples: take fewer "
             "steps");
}

static void check_files(checker *c) {
  const zt_settings *s = c->settings;
  if (s->data.weights.n > 0 && s->data.weights.n != s->data.train.n)
    COMPLAIN(c, "data.weights",
             "data.weights has %d numbers for the %d files of data.train: one "
             "for each, or []",
             s->data.weights.n, s->data.train.n);
  if (s->data.weights.n > 0 && s->data.order == ZT_ORDER_SEQUENTIAL)
    COMPLAIN(c, "data.weights",
             "data.weights is for data.order \"shuffled\" alone");
  if (s->data.valid_fraction > 0 && *s->data.valid)
    COMPLAIN(c, "data.valid_fraction",
             "data.valid_fraction and data.valid exclude each other: drop "
             "one");
}

static zt_status check_data(checker *c) {
  const zt_settings *s = c->settings;
  bool causal = s->data.task == ZT_TASK_CAUSAL;
  zt_settings defaults;
  ZT_TRY(zt_settings_init(&defaults));
  if (causal && s->data.source_length != defaults.data.source_length)
    COMPLAIN(c, "data.source_length",
             "data.source_length is not for task \"causal\": set data.length");
  if (causal && s->data.target_length != defaults.data.target_length)
    COMPLAIN(c, "data.target_length",
             "data.target_length is not for task \"causal\": set data.length");
  if (!causal && s->data.length != defaults.data.length)
    COMPLAIN(c, "data.length",
             "data.length is for task \"causal\" alone: set "
             "data.source_length and data.target_length");
  if (!causal && s->data.document_attention)
    COMPLAIN(c, "data.document_attention",
             "data.document_attention is for task \"causal\" alone");
  if (!causal && s->data.too_long != defaults.data.too_long)
    COMPLAIN(c, "data.too_long",
             "data.too_long is for task \"causal\" alone: others cut");
  if (s->data.packing != defaults.data.packing &&
      s->data.task == ZT_TASK_SEQ2SEQ)
    COMPLAIN(c, "data.packing", "data.packing is not for task \"seq2seq\"");
  zt_settings_free(&defaults);
  return ZT_OK;
}

static void check_schedule(checker *c) {
  const zt_settings *s = c->settings;
  zt_schedule_kind kind = s->train.schedule.name;
  int64_t decay = s->train.schedule.decay;
  if (kind == ZT_SCHEDULE_WSD &&
      (decay == 0 || decay > s->train.steps - s->train.schedule.warmup))
    COMPLAIN(c, "train.schedule.decay",
             "train.schedule.decay = %" PRId64
             ": schedule \"wsd\" takes 1 to train.steps - warmup = %" PRId64,
             decay, s->train.steps - s->train.schedule.warmup);
  if (kind != ZT_SCHEDULE_WSD && decay != 0)
    COMPLAIN(c, "train.schedule.decay",
             "train.schedule.decay is for schedule \"wsd\" alone");
  if (kind != ZT_SCHEDULE_CONSTANT && kind != ZT_SCHEDULE_INVERSE_SQRT &&
      s->train.schedule.min_lr > s->train.optimizer.lr)
    COMPLAIN(c, "train.schedule.min_lr",
             "train.schedule.min_lr is above train.optimizer.lr = %g",
             s->train.optimizer.lr);
}

static void check_optimizer(checker *c) {
  const zt_settings *s = c->settings;
  if (s->train.optimizer.relative_step &&
      s->train.optimizer.name != ZT_ADAFACTOR)
    COMPLAIN(c, "train.optimizer.relative_step",
             "train.optimizer.relative_step is for optimizer \"adafactor\" "
             "alone");
  if (s->train.optimizer.warmup_init && !s->train.optimizer.relative_step)
    COMPLAIN(c, "train.optimizer.warmup_init",
             "train.optimizer.warmup_init needs train.optimizer.relative_step "
             "= true");
}

static void check_train(checker *c) {
  const zt_settings *s = c->settings;
  if (s->train.eval_every > 0 && !*s->data.valid && s->data.valid_fraction == 0)
    COMPLAIN(c, "train.eval_every",
             "train.eval_every takes a token file to evaluate on: set "
             "data.valid or data.valid_fraction, or leave it at 0");
  if (s->log.samples > s->train.eval_generate)
    COMPLAIN(c, "log.samples",
             "log.samples = %" PRId64 " is more than the train.eval_generate = "
             "%" PRId64 " questions that are answered",
             s->log.samples, s->train.eval_generate);
  if (*s->runtime.tuning)
    COMPLAIN(c, "runtime.tuning",
             "runtime.tuning is not yet supported in this version: leave it "
             "empty");
  check_optimizer(c);
  check_schedule(c);
}

zt_status zt_settings_check(const zt_settings *settings, unsigned needs) {
  checker c = {.settings = settings};
  check_needs(&c, needs);
  check_batch(&c);
  check_files(&c);
  ZT_TRY(check_data(&c));
  check_train(&c);
  return zt_problems_end(&c.problems);
}
