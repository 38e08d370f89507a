/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Greedy generation under ZeRO-3, all ranks in step.
 *
 *  Prompts go to fixed places: prompt i to row i mod batch of a rank's batch.
 *  All ranks run the same stages for the same number of tokens, also those that
 *  have nothing left to generate, so none waits for another; whether all are
 *  done is agreed after every token. */
#ifndef ZT_TRAIN_GENERATE_H
#define ZT_TRAIN_GENERATE_H

#include "comm/comm.h"
#include "device/device.h"
#include "io/source.h"
#include "model/model.h"

/** Token sequences one after the other. */
typedef struct zt_sequences {
  int64_t count;
  int64_t *start; /* [count + 1] first id of each, and the end */
  int32_t *ids;
} zt_sequences;

typedef struct zt_generate_spec {
  int64_t batch; /* sequences a rank works on at once */
  int64_t max_new_tokens;
  int prefetch;
} zt_generate_spec;

/** Generate for every prompt.
 *  Collective.  A failure while computing ends all ranks (zt_fatal).
 *  \param[in]  source   of the parameters
 *  \param[in]  prompts  the same on every rank, ids with the end id
 *  \param[out] results  new ids of each prompt: without the start id, with the
 *                       end id if it came; the same on every rank; free with
 *                       zt_sequences_free()
 *  \return agreed status: ZT_ERR_DATA for an id beyond the vocabulary or an
 *          empty prompt, ZT_ERR_MEMORY, failures of the source. */
zt_status zt_generate(const zt_model *model, zt_device *dev, zt_comm *comm,
                      zt_source *source, const zt_sequences *prompts,
                      const zt_generate_spec *spec, zt_sequences *results);

void zt_sequences_free(zt_sequences *sequences);

#endif
