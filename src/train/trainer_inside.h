/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Inside of the trainer, for its own files. */
#ifndef ZT_TRAIN_TRAINER_INSIDE_H
#define ZT_TRAIN_TRAINER_INSIDE_H

#include "io/restart.h"
#include "report/metrics.h"
#include "report/progress.h"
#include "report/tensorboard.h"
#include "train/data.h"
#include "train/evaluate.h"
#include "train/placement.h"
#include "train/plan.h"
#include "train/step.h"
#include "train/trainer.h"
#include "train/watch_dog.h"
#include "train/watch_lock.h"

#include <limits.h>

/** An evaluation. */
typedef struct zt_best {
  int64_t step; /* -1: none */
  double loss;
} zt_best;

typedef struct zt_trainer {
  const zt_train_request *request;
  const zt_settings *settings;
  zt_device *dev;
  zt_comm *comm;
  bool root; /* rank 0 */
  char restart_dir[PATH_MAX];
  zt_run_lock *lock; /* rank 0 alone */
  bool ours;         /* the lock is held: the run's files may be written */
  zt_watchdog *watchdog;
  zt_placement placement;

  zt_restart_list list; /* restarts that stand there, newest first */
  int candidate;        /* the one in use, -1: none */
  zt_source *source;    /* restart or weights file; closed after loading */
  zt_model *model;
  zt_data data;
  zt_data valid;           /* empty: no evaluations */
  zt_answers *answers;     /* NULL: none */
  zt_tokenizer *tokenizer; /* of their texts; NULL: ids are shown */
  zt_plan plan;
  zt_step *step;
  zt_phases phases;
  zt_params stored; /* what restarts hold, if that is more than the model */
  zt_restart_writer *writer;
  json_t *configuration, *provenance;
  zt_metrics *metrics; /* rank 0 alone */
  zt_tensorboard *tensorboard;
  zt_progress progress;

  int64_t first;    /* steps done when this process began */
  int64_t done;     /* steps done */
  int64_t updates;  /* of AdamW done */
  int64_t skips;    /* steps in a row without an update */
  int64_t saved_at; /* ns: begin of the last save, or of the first step */
  int64_t train_ns; /* in steps */
  int64_t longest_step, longest_save; /* ns; at first what loading says */
  int64_t inside_ns; /* of the communicator, at the last line */
  int64_t line_at;   /* ns: the last progress line */
  int64_t tokens_done;
  int64_t saves, saved_bytes, save_ns;
  int64_t saving;                /* step of the last save begun */
  int64_t failures;              /* saves in a row */
  char failure[ZT_MESSAGE_SIZE]; /* the last one */
  char newest[32];               /* restart, "" : none */
  char told[32];                 /* the one that STATUS.json names */
  int64_t evaluated;             /* step of the last evaluation, -1: none */
  int64_t evaluations, eval_ns;
  double last_eval; /* its loss */
  zt_best best;     /* that has a restart */
  zt_best fresh;    /* the last one that was better; its restart may come */
  int64_t stopped;  /* why it ended before the last step (train/watch.h) */
} zt_trainer;

/* trainer_resume.c */

/** Choose what to begin from: a restart by the request, or the weights file.
 *  Sets source and candidate.  Collective, agreed. */
zt_status zt_trainer_choose(zt_trainer *t);
/** Fill the slices from the source; a restart that proves damaged is set aside
 *  and the next older one taken.  Collective, agreed. */
zt_status zt_trainer_load(zt_trainer *t);
/** After a start from a restart asked for by name: what stands in the run's
 *  directory and does not lead to it is moved away, so that the next start goes
 *  on with this branch.  Local, rank 0. */
zt_status zt_trainer_leave_branch(const zt_trainer *t);
/** Compare the configuration with the restart's: what must be as stored, and
 *  what changed.  Collective, agreed. */
zt_status zt_trainer_compare(zt_trainer *t);

/* trainer_start.c */

/** Everything before the first step.  Collective, agreed.
 *  \param[out] finished  the run has all its steps already */
zt_status zt_trainer_start(zt_trainer *t, bool *finished);
/** What STATUS.json is to say after a hang; on the watchdog's thread. */
void zt_trainer_say_hang(void *trainer, int rank, const char *message);
void zt_trainer_free(zt_trainer *t);

/* trainer_eval.c */

/** Whether the steps done are to be evaluated now.  Local. */
bool zt_trainer_eval_is_due(const zt_trainer *t);
/** Evaluate and say so.  A wish to stop leaves it undone and is noted.
 *  Collective, agreed.
 *  \param[in]  needed  ns to keep for what comes after it
 *  \param[out] better  than all before that have a restart */
zt_status zt_trainer_evaluate(zt_trainer *t, int64_t needed, bool *better);

/** Name of the best restart, NULL: none is kept.  Local.
 *  \param[out] name  where it goes */
const char *zt_trainer_best(const zt_trainer *t, char name[32]);
/** What the restart that the run begins with knows of evaluations.
 *  Collective, agreed. */
zt_status zt_trainer_recall(zt_trainer *t);

/* trainer_save.c */

/** Write a restart of the steps done.  Failures for want of space and the like
 *  are counted and reported; only too many are returned.
 *  Collective, agreed.
 *  \param[in] wait  until it is committed; else it goes on beside the run */
zt_status zt_trainer_save(zt_trainer *t, bool wait);
/** Look after a save under way.  Collective, agreed.
 *  \param[in] any_busy  zt_restart_busy() of any rank */
zt_status zt_trainer_advance_save(zt_trainer *t, bool any_busy);
/** Wait for the end of a save under way.  Collective, agreed. */
zt_status zt_trainer_finish_save(zt_trainer *t);
/** zt_before_change for the optimizer, with the trainer as context. */
zt_status zt_trainer_guard(void *trainer, int64_t at, int64_t n);

#endif
