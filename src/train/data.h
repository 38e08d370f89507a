/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The token files of a configuration.  All functions are Local. */
#ifndef ZT_TRAIN_DATA_H
#define ZT_TRAIN_DATA_H

#include "base/settings.h"
#include "train/batch.h"

#include <jansson.h>

typedef struct zt_data {
  int n;
  zt_tokens *tokens[ZT_MOST_ITEMS];
  zt_batch *batch;
} zt_data;

/** What is trained on: data.train without what is held out.
 *  \param[in]  spec  as zt_batch_spec_of() says
 *  \param[out] data  zt_data_close() it
 *  \return as zt_tokens_open() and zt_batch_create(). */
zt_status zt_data_open_train(const zt_settings *settings,
                             const zt_batch_spec *spec, zt_data *data);
/** Whether there is something to evaluate on. */
bool zt_data_has_valid(const zt_settings *settings);
/** What is evaluated on: data.valid, or what is held out of data.train, in the
 *  order of the files; what spans are drawn by is the same in every run. */
zt_status zt_data_open_valid(const zt_settings *settings,
                             const zt_batch_spec *spec, zt_data *data);
/** Leaves it empty; an empty one is allowed. */
void zt_data_close(zt_data *data);

/** Its digests in hexadecimal, with blanks between; NULL without memory. */
json_t *zt_data_digest(const zt_data *data);

#endif
