/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The configuration of a run, read from a libconfig file and the command line.
 *
 *  Every key is a field of the same path: `train.optimizer.lr` in the file is
 *  settings.train.optimizer.lr here.  Type, unit, range, default and help of
 *  each stand in one table (base/settings_table.h); printing and --explain are
 *  in base/settings_print.h, what a restart keeps in base/settings_json.h, what
 *  concerns more than one key in base/settings_check.h. */
#ifndef ZT_BASE_SETTINGS_H
#define ZT_BASE_SETTINGS_H

#include "base/dtype.h"
#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Values of the keys that are a choice, in the order of the table. */
typedef enum zt_task {
  ZT_TASK_SPAN_CORRUPTION,
  ZT_TASK_SEQ2SEQ,
  ZT_TASK_CAUSAL
} zt_task;
typedef enum zt_order { ZT_ORDER_SHUFFLED, ZT_ORDER_SEQUENTIAL } zt_order;
typedef enum zt_too_long {
  ZT_TOO_LONG_TRUNCATE,
  ZT_TOO_LONG_SKIP,
  ZT_TOO_LONG_ERROR
} zt_too_long;
typedef enum zt_optimizer_kind { ZT_ADAMW, ZT_ADAFACTOR } zt_optimizer_kind;
typedef enum zt_decay_rule { ZT_DECAY_MATRICES, ZT_DECAY_ALL } zt_decay_rule;
typedef enum zt_schedule_kind {
  ZT_SCHEDULE_LINEAR,
  ZT_SCHEDULE_CONSTANT,
  ZT_SCHEDULE_COSINE,
  ZT_SCHEDULE_INVERSE_SQRT,
  ZT_SCHEDULE_WSD
} zt_schedule_kind;
typedef enum zt_busy_rule { ZT_BUSY_WAIT, ZT_BUSY_SKIP } zt_busy_rule;
typedef enum zt_carrier { ZT_CARRIER_FLAT, ZT_CARRIER_CHAIN } zt_carrier;
typedef enum zt_device_choice {
  ZT_DEVICE_AUTO,
  ZT_DEVICE_CPU,
  ZT_DEVICE_CUDA
} zt_device_choice;
typedef enum zt_comm_choice {
  ZT_COMM_AUTO,
  ZT_COMM_MPI,
  ZT_COMM_NCCL
} zt_comm_choice;

/** Values of the keys that are a list. */
enum { ZT_MOST_ITEMS = 64 };
typedef struct zt_strings {
  int n;
  char *at[ZT_MOST_ITEMS]; /* owned */
} zt_strings;
typedef struct zt_reals {
  int n;
  double at[ZT_MOST_ITEMS];
} zt_reals;

/** Where the values come from, for messages and --print-config. */
typedef struct zt_settings_origins zt_settings_origins;

/** Strings are owned and never NULL; "" is "not given".  The table has the
 *  meaning of each key. */
typedef struct zt_settings {
  struct {
    char *dir;
    int64_t seed;
    double watchdog_seconds; /* 0: no watchdog */
  } run;
  struct {
    char *weights, *config; /* one of the two */
  } model;
  struct {
    zt_strings train;
    zt_reals weights; /* of the files of train, if any */
    char *valid;
    double valid_fraction; /* of train, held out for evaluation */
    zt_task task;
    int64_t source_length, target_length; /* tokens */
    int64_t length;                       /* tokens; causal only */
    bool packing;                         /* not seq2seq */
    bool document_attention;              /* causal only */
    zt_too_long too_long;                 /* causal only */
    zt_order order;
  } data;
  struct {
    int64_t steps, batch, microbatch; /* 0: not given */
    double dropout;
    double label_smoothing, z_loss; /* 0: none */
    zt_dtype precision;             /* ZT_FP32 or ZT_BF16 */
    bool recompute;
    int64_t eval_every;          /* steps, 0: never */
    int64_t eval_generate;       /* questions, 0: none */
    int64_t eval_max_new_tokens; /* 0: by the task */
    int64_t max_skips;           /* steps in a row */
    struct {
      zt_optimizer_kind name;
      double lr, betas[2], eps, weight_decay;
      /* Adafactor. */
      bool scale_parameter, relative_step, warmup_init;
      double clip_threshold, decay_rate, adafactor_eps[2];
      zt_decay_rule decay_on;
      char *freeze, *lr_scale; /* patterns */
      double clip;             /* 0: no clipping */
    } optimizer;
    struct {
      zt_schedule_kind name;
      int64_t warmup; /* steps */
      int64_t decay;  /* steps; wsd alone */
      double min_lr;
    } schedule;
  } train;
  struct {
    int64_t unit_limit; /* elements, 0: whole units */
    int64_t prefetch;   /* units */
    zt_carrier carrier;
  } zero;
  struct {
    int64_t every_steps;  /* 0: not by steps */
    double every_minutes; /* 0: not by time */
    int64_t keep, keep_every;
    bool keep_best;
    bool async;
    zt_busy_rule busy;
    int64_t max_failures;
    int64_t ranks_per_part; /* 0: one part a node */
    size_t staging;         /* bytes */
  } restart;
  struct {
    zt_device_choice device;
    zt_comm_choice comm;
    int64_t threads; /* 0: as many as OpenMP says */
    char *tuning;
  } runtime;
  struct {
    int64_t every_steps;
    int64_t samples; /* answers shown by an evaluation */
    bool tensorboard;
  } log;
  zt_settings_origins *origins; /* owned */
} zt_settings;

/** Read a file and then the overrides, each "KEY=VALUE" as -s takes it, in
 *  order.  A value of an override is read by the type of its key; quotes are
 *  optional for strings.
 *  Local.
 *  \param[out] settings  zt_settings_free() it; empty after a failure
 *  \return ZT_ERR_NOINPUT without the file, ZT_ERR_CONFIG for anything wrong in
 *          it or in the overrides: the message has the first problem with file
 *          and line, and the number of all others.
 *
 *  The file is checked more strictly than libconfig does: integers beyond 32
 *  bits need their L (libconfig 1.5 wraps them silently), comments and strings
 *  must end, unknown keys are errors.  `@include "FILE"` at the start of a line
 *  is relative to the file it stands in. */
zt_status zt_settings_read(const char *path, const char *const *overrides,
                           int n_overrides, zt_settings *settings);

/** All defaults; what has none is "" or 0.
 *  Local.  \return ZT_ERR_MEMORY. */
zt_status zt_settings_init(zt_settings *settings);

/** Leaves it empty; an empty one is allowed. */
void zt_settings_free(zt_settings *settings);

#endif
