/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokenizer/bytes.h"

#include "base/memory.h"

#include <stdlib.h>

enum {
  BYTES_FIRST = 3, /* id of byte 0 */
  BYTES_SIZE = 384,
  /* ByT5 was trained with the last byte ids as sentinels: byte 255 first. */
  BYTES_SENTINEL = BYTES_FIRST + 255,
  BYTES_BLOCK = 4096 /* ids at a time: they stay in the first-level cache */
};

static zt_status bytes_encode(zt_tokenizer *tokenizer, const char *text,
                              size_t size, bool last, zt_id_sink sink,
                              void *context) {
  (void) tokenizer, (void) last;
  int32_t ids[BYTES_BLOCK];
  for (size_t at = 0; at < size; at += BYTES_BLOCK) {
    size_t n = size - at < BYTES_BLOCK ? size - at : BYTES_BLOCK;
    for (size_t i = 0; i < n; i++)
      ids[i] = (int32_t) (unsigned char) text[at + i] + BYTES_FIRST;
    ZT_TRY(sink(context, ids, n));
  }
  return ZT_OK;
}

static zt_status bytes_decode(zt_tokenizer *tokenizer, const int32_t *ids,
                              size_t n, zt_text *text) {
  (void) tokenizer;
  for (size_t i = 0; i < n; i++)
    if (ids[i] >= BYTES_FIRST && ids[i] < BYTES_FIRST + 256) {
      char byte = (char) (ids[i] - BYTES_FIRST);
      zt_text_append(text, &byte, 1);
    }
  return ZT_OK;
}

static void bytes_destroy(zt_tokenizer *tokenizer) {
  free(tokenizer);
}

static const zt_tokenizer_ops bytes_ops = {
    .encode = bytes_encode,
    .decode = bytes_decode,
    .destroy = bytes_destroy,
};

zt_status zt_bytes_create(zt_tokenizer **tokenizer) {
  zt_tokenizer *t = zt_calloc(1, sizeof *t);
  if (!t)
    return ZT_ERR_MEMORY;
  t->ops = &bytes_ops;
  t->cuts_at_lines = true;
  t->vocabulary = (zt_vocabulary){.size = BYTES_SIZE,
                                  .pad = 0,
                                  .eos = 1,
                                  .unk = 2,
                                  .sentinel = BYTES_SENTINEL,
                                  .bos = -1};
  *tokenizer = t;
  return ZT_OK;
}
