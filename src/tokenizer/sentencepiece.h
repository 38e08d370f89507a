/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  SentencePiece models (T5, mT5, Llama 2), by the library of that name. */
#ifndef ZT_TOKENIZER_SENTENCEPIECE_H
#define ZT_TOKENIZER_SENTENCEPIECE_H

#include "tokenizer/tokenizer.h"

/** Open a model file, as zt_tokenizer_open_with().
 *
 *  Sentinels: the piece "<extra_id_0>" if the model has it (mT5).  Otherwise
 *  T5's rule for models with a pad piece: 100 ids are added after the pieces
 *  and the first sentinel is the last of them (32,000 pieces: 32099).  Models
 *  without a pad piece (Llama) have none. */
zt_status zt_sentencepiece_open(const char *path, const char *config,
                                zt_tokenizer **tokenizer);

#endif
