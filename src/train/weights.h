/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The model that a source of tensors holds. */
#ifndef ZT_TRAIN_WEIGHTS_H
#define ZT_TRAIN_WEIGHTS_H

#include "io/source.h"
#include "model/model.h"

enum { ZT_WEIGHTS_ALIASES = 8 }; /* no family has as many */

/** The tensors that may share one matrix, by their index in a source. */
typedef struct zt_weights_ties {
  const zt_family *family;
  int embedding; /* the input embedding: the first one present of the family's
                    names, else the head; -1 if there is none */
  int head;      /* -1: no tensor of that name */
  int aliases[ZT_WEIGHTS_ALIASES]; /* others that stand for the embedding,
                                      without the head */
  int n_aliases;
} zt_weights_ties;

/** Find those tensors.
 *  Local.  \return ZT_ERR_DATA for a configuration that is not understood. */
zt_status zt_weights_find_ties(const zt_source *source, zt_weights_ties *ties);

/** Whether the tensors are tied: no head, or one with the embedding's data. */
bool zt_weights_are_tied(const zt_source *source, const zt_weights_ties *ties);

/** Create the model of a source, tied or not as its tensors are, and check that
 *  every parameter is there in its shape and nothing else.
 *  Local, with the same result on every rank.
 *  \param[in]  unit_limit  as zt_model_create() takes it
 *  \param[out] model       zt_model_destroy() it
 *  \param[out] tensor_of   the tensor of each parameter; free() it; may be NULL
 *  \return ZT_ERR_DATA naming file, tensor and what is wrong, ZT_ERR_CONFIG,
 *          ZT_ERR_MEMORY. */
zt_status zt_weights_model(const zt_source *source, int64_t unit_limit,
                           zt_model **model, int **tensor_of);

/** The parameter that each tensor of a source holds, by any of its names.
 *  Local.  \param[out] param_of  [source->n_tensors] */
void zt_weights_params(const zt_source *source, const zt_params *params,
                       const int *tensor_of, int *param_of);

#endif
