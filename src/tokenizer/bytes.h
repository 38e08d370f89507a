/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  ByT5's tokenizer: id = byte + 3; pad 0, end 1, unknown 2; 384 ids. */
#ifndef ZT_TOKENIZER_BYTES_H
#define ZT_TOKENIZER_BYTES_H

#include "tokenizer/tokenizer.h"

/** \return ZT_ERR_MEMORY. */
zt_status zt_bytes_create(zt_tokenizer **tokenizer);

#endif
