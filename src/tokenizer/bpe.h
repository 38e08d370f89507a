/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Byte-level BPE from a tokenizer.json (GPT-2, Llama 3, Qwen, SmolLM): the
 *  ids of Hugging Face's tokenizers library, without what its post-processor
 *  adds around a text. */
#ifndef ZT_TOKENIZER_BPE_H
#define ZT_TOKENIZER_BPE_H

#include "tokenizer/tokenizer.h"

/** Open a tokenizer.json, as zt_tokenizer_open_with(). Begin, end and pad id
 *  come from tokenizer_config.json and the post-processor; without them, the
 *  end id is the first there is of <|endoftext|>, <|end_of_text|>, <|im_end|>,
 *  </s>.
 *
 *  Text that is not UTF-8 gets U+FFFD where it is not, as Python reads it.
 *  Tokens that the file lists as added are found in the text.
 *  \return ZT_ERR_DATA also for what would need a part that is not known here;
 *          it is named. */
zt_status zt_bpe_open(const char *path, const char *config,
                      zt_tokenizer **tokenizer);

#endif
