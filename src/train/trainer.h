/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A run from its first or next step to its last: loading, the loop, restarts,
 *  reports. */
#ifndef ZT_TRAIN_TRAINER_H
#define ZT_TRAIN_TRAINER_H

#include "base/settings.h"
#include "comm/comm.h"
#include "device/device.h"
#include "io/source.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

typedef struct zt_train_request {
  const zt_settings *settings;
  const char *restart;      /* "auto", "none", "require", or a path */
  double max_hours;         /* 0: no limit */
  const char *const *allow; /* keys that may differ from the restart's */
  int n_allow;
  const char *build;     /* what this program is, and with which libraries, */
  const char *libraries; /* for metrics and the provenance of restarts */
  /* For texts that evaluations generate: what ends them, and the tokenizer that
   * makes them readable, NULL: none is known.  Local. */
  zt_status (*take_texts)(zt_source *source, zt_model *model,
                          zt_tokenizer **tokenizer);
  const char *resume_command; /* how to continue, for the last lines */
} zt_train_request;

/** Collective.
 *  \return agreed status; ZT_OK also for a stop in good order and for a run
 *          that is finished already: STATUS.json tells them apart. */
zt_status zt_train(const zt_train_request *request, zt_device *dev,
                   zt_comm *comm);

#endif
