/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  New tokens as text while they come: strings that end it, and printing.  All
 *  Local. */
#ifndef ZT_PROG_STREAM_H
#define ZT_PROG_STREAM_H

#include "tokenizer/tokenizer.h"

#include <stdio.h>

enum { ZT_MOST_STOPS = 16 };

typedef struct zt_stream {
  zt_tokenizer *tokenizer;
  const char *stops[ZT_MOST_STOPS]; /* strings that end a text */
  int n_stops;
  FILE *to;       /* print there as it comes; NULL: do not */
  size_t printed; /* bytes of the text so far */
  /* The ids that are decoded again with each new one, the text's last, and the
   * bytes of what stands before them. */
  int64_t first;
  size_t before;
} zt_stream;

/** zt_generate_spec.token with a zt_stream as context.  What a token costs does
 *  not depend on how long the text is.  Printing is for one prompt alone.
 *  \return ZT_ERR_MEMORY, ZT_ERR_IO. */
zt_status zt_stream_token(void *stream, int64_t prompt, const int32_t *ids,
                          int64_t n, bool *end);

/** Bytes of a text that can be shown: not a character that is still to be
 *  completed by tokens to come. */
size_t zt_stream_whole(const char *text, size_t size);

#endif
