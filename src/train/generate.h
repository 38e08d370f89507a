/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Generation under ZeRO-3, all ranks in step.
 *
 *  Prompts are a queue; every rank has the same number of slots, and a slot
 *  whose text has ended takes the next prompt.  All ranks visit the same stages
 *  in every step; one that has nothing to do gathers and computes nothing.  Who
 *  takes what, and whether all is done, follows from one small all-reduce every
 *  `agree_every` tokens.  Keys and values are kept, so a step costs a row for
 *  each text; rows are computed by themselves, so a text does not depend on
 *  slots, company or ranks. */
#ifndef ZT_TRAIN_GENERATE_H
#define ZT_TRAIN_GENERATE_H

#include "comm/comm.h"
#include "device/device.h"
#include "io/source.h"
#include "model/model.h"
#include "train/sample.h"

/** Token sequences one after the other. */
typedef struct zt_sequences {
  int64_t count;
  int64_t *start; /* [count + 1] first id of each, and the end */
  int32_t *ids;
} zt_sequences;

typedef struct zt_generate_spec {
  int64_t batch; /* slots of a rank */
  int64_t max_new_tokens;
  int64_t min_new_tokens; /* before these no text ends */
  int64_t agree_every;    /* tokens; 0: 1 */
  int prefetch;
  size_t keep; /* bytes of units that stay gathered, as in zero3.h */
  zt_sampling sampling;
  /* Ids that end a text beside the model's own. */
  const int32_t *stop_ids;
  int64_t n_stop_ids;
  /* Beam search, as Hugging Face Transformers': the text with the largest sum
   * of log probabilities / length^length_penalty; 0, 1: none.  Without draws
   * and `token`. */
  int64_t beams;
  double length_penalty;
  /* Called on the rank that has the text, after each new token; NULL: none.
   * \param[in]  ids  [n] new ids so far; the last is new
   * \param[out] end  set it to end the text */
  zt_status (*token)(void *context, int64_t prompt, const int32_t *ids,
                     int64_t n, bool *end);
  void *context;
  /* Parameters that are in memory already: zt_zero3.master of this model and
   * communicator; NULL: they come from the source. */
  float *master;
  int64_t needed;         /* ns to keep where time has a limit */
  int64_t longest_prompt; /* that there is memory for; 0: of the prompts */
} zt_generate_spec;

/** What it took, the same on all ranks. */
typedef struct zt_generate_report {
  int64_t tokens; /* new ones */
  int64_t steps;
  double idle;    /* share of slots x steps without a token to choose or read */
  double seconds; /* of generation, without loading */
  int64_t stopped; /* why it was left (train/watch.h) */
} zt_generate_report;

/** Generate for every prompt.
 *  Collective.  A failure while computing ends all ranks (zt_fatal).
 *  \param[in]  source   of the parameters; NULL with spec->master
 *  \param[in]  prompts  the same on every rank, ids with the end id
 *  \param[out] results  new ids of each prompt: without the start id, with the
 *                       end id if it came; the same on every rank; free with
 *                       zt_sequences_free()
 *  \param[out] report   may be NULL
 *  \return agreed status: ZT_ERR_DATA for an id beyond the vocabulary or an
 *          empty prompt, ZT_ERR_MEMORY, failures of the source. */
zt_status zt_generate(const zt_model *model, zt_device *dev, zt_comm *comm,
                      zt_source *source, const zt_sequences *prompts,
                      const zt_generate_spec *spec, zt_sequences *results,
                      zt_generate_report *report);

/** Device and host memory of a rank that generation takes beside the parameters
 *  it is given in spec->master, bytes.
 *  Local.
 *  \param[in] like  the device planned for
 *  \param[in] spec  with longest_prompt
 *  \return ZT_ERR_MEMORY. */
zt_status zt_generate_bytes(const zt_model *model, const zt_device *like,
                            int ranks, const zt_generate_spec *spec,
                            size_t *bytes);

void zt_sequences_free(zt_sequences *sequences);

#endif
