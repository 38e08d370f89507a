/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the files that a model's weights keep say of its text: tokenizer, begin
 *  id, ids that end a text.  All functions are Local. */
#ifndef ZT_PROG_MODEL_FILES_H
#define ZT_PROG_MODEL_FILES_H

#include "io/source.h"
#include "model/model.h"
#include "tokenizer/tokenizer.h"

/** The tokenizer of a model: what was asked for, else what its configuration
 *  files say.
 *  \param[in]  wish       "bytes" or a file; NULL: the model's own
 *  \param[out] tokenizer  NULL if the model has none that we know
 *  \return ZT_ERR_NOINPUT, ZT_ERR_DATA, ZT_ERR_UNAVAILABLE, ZT_ERR_MEMORY. */
zt_status zt_model_tokenizer(zt_source *source, const zt_model *model,
                             const char *wish, zt_tokenizer **tokenizer);

/** Take the ids that end a text from generation_config.json, as Transformers'
 *  generate() does; without it, or without eos_token_id in it, those of
 *  config.json stay.
 *  \return ZT_ERR_DATA, ZT_ERR_IO, ZT_ERR_MEMORY. */
zt_status zt_model_stop_ids(zt_source *source, zt_model *model);

#endif
