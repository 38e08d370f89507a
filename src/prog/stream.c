/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/stream.h"

#include <string.h>

size_t zt_stream_whole(const char *text, size_t size) {
  /* What a decoder puts for bytes that are no character yet. */
  static const char replacement[] = "\xEF\xBF\xBD";
  size_t back = 0;
  while (size >= 3 && !memcmp(text + size - 3, replacement, 3))
    size -= 3;
  while (back < 3 && back < size &&
         ((unsigned char) text[size - 1 - back] & 0xC0) == 0x80)
    back++;
  if (back == size)
    return size;
  unsigned char lead = (unsigned char) text[size - 1 - back];
  size_t wanted = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : lead >= 0xC0 ? 1 : 0;
  return wanted > back ? size - 1 - back : size;
}

static bool has_stop(const zt_stream *s, const zt_text *text) {
  for (int i = 0; i < s->n_stops; i++)
    if (text->size > 0 &&
        memmem(text->data, text->size, s->stops[i], strlen(s->stops[i])))
      return true;
  return false;
}

static zt_status show(zt_stream *s, const zt_text *text, bool all) {
  size_t size = text->size;
  if (size > 0 && !all)
    size = zt_stream_whole(text->data, size);
  if (size <= s->printed)
    return ZT_OK;
  size_t n = size - s->printed;
  if (fwrite(text->data + s->printed, 1, n, s->to) != n || fflush(s->to) != 0)
    return zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
  s->printed = size;
  return ZT_OK;
}

zt_status zt_stream_token(void *stream, int64_t prompt, const int32_t *ids,
                          int64_t n, bool *end) {
  zt_stream *s = stream;
  zt_text text = {0};
  (void) prompt;
  zt_status status = zt_tokenizer_decode(s->tokenizer, ids, (size_t) n, &text);
  if (status == ZT_OK && text.failed)
    status = zt_fail(ZT_ERR_MEMORY, "out of memory");
  if (status == ZT_OK)
    *end = *end || has_stop(s, &text);
  if (status == ZT_OK && s->to)
    status = show(s, &text, *end);
  zt_text_free(&text);
  return status;
}
