/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Making text well-formed before it is cut into words.  All functions are
 *  Local. */
#ifndef ZT_TOKENIZER_UTF8_H
#define ZT_TOKENIZER_UTF8_H

#include "base/status.h"
#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>

/** Append text with each ill-formed sequence replaced by U+FFFD, one for each
 *  longest beginning of a character (Unicode 15, 3.9, as Python decodes).
 *  \param[in]  last  no more follows; else a beginning at the end is left
 *  \return bytes used, at most 3 less than size. */
size_t zt_utf8_clean(const char *bytes, size_t size, bool last, zt_text *out);
/** Append text in normalization form C.
 *  \param[in] bytes  [size] UTF-8
 *  \return ZT_ERR_UNAVAILABLE if this build has no utf8proc, ZT_ERR_MEMORY. */
zt_status zt_utf8_compose(const char *bytes, size_t size, zt_text *out);
/** Whether zt_utf8_compose() is available. */
bool zt_utf8_can_compose(void);

#endif
