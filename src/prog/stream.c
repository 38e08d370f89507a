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

static zt_status decode(const zt_stream *s, const int32_t *ids, int64_t n,
                        zt_text *text) {
  text->size = 0;
  return zt_tokenizer_decode(s->tokenizer, ids, (size_t) n, text);
}

/* Whether the last token ends a text.  It changes the end alone: as many ids
 * are decoded as give what a stop may need before it. */
static zt_status look_for_stop(const zt_stream *s, const int32_t *ids,
                               int64_t n, bool *end) {
  enum { CHARACTER = 16 }; /* more than a token completes */
  size_t longest = 0;
  zt_text text = {0};
  zt_status status = ZT_OK;
  for (int i = 0; i < s->n_stops; i++)
    if (strlen(s->stops[i]) > longest)
      longest = strlen(s->stops[i]);
  longest += CHARACTER;
  int64_t first = n - 1, back = (int64_t) longest;
  do {
    first = n > back ? n - back : 0;
    back *= 2;
    status = decode(s, ids + first, n - 1 - first, &text);
  } while (status == ZT_OK && first > 0 && text.size < longest);
  if (status == ZT_OK)
    status = decode(s, ids + first, n - first, &text);
  if (status == ZT_OK)
    *end = *end || has_stop(s, &text);
  zt_text_free(&text);
  return status;
}

/* Fewer ids to decode again, if their own text is the end of the whole: it is
 * not where the first of them continues a character. */
static zt_status move_first(zt_stream *s, const int32_t *ids, int64_t n,
                            const zt_text *text) {
  enum { MOST = 64, LEAST_BYTES = 16 };
  if (n - s->first < MOST)
    return ZT_OK;
  zt_text last = {0};
  int64_t first = n - MOST / 2;
  zt_status status = decode(s, ids + first, n - first, &last);
  size_t before = s->before + text->size - last.size;
  if (status == ZT_OK && last.size >= LEAST_BYTES && last.size <= text->size &&
      before <= s->printed &&
      !memcmp(last.data, text->data + text->size - last.size, last.size)) {
    s->before = before;
    s->first = first;
  }
  zt_text_free(&last);
  return status;
}

static zt_status show(zt_stream *s, const int32_t *ids, int64_t n, bool all) {
  zt_text text = {0};
  zt_status status = decode(s, ids + s->first, n - s->first, &text);
  size_t size = text.size, shown = s->printed - s->before;
  if (size > 0 && !all)
    size = zt_stream_whole(text.data, size);
  if (status == ZT_OK && size > shown) {
    size_t more = size - shown;
    if (fwrite(text.data + shown, 1, more, s->to) != more || fflush(s->to) != 0)
      status = zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
    s->printed += more;
  }
  if (status == ZT_OK)
    status = move_first(s, ids, n, &text);
  zt_text_free(&text);
  return status;
}

zt_status zt_stream_token(void *stream, int64_t prompt, const int32_t *ids,
                          int64_t n, bool *end) {
  zt_stream *s = stream;
  (void) prompt;
  if (s->n_stops > 0)
    ZT_TRY(look_for_stop(s, ids, n, end));
  return s->to ? show(s, ids, n, *end) : ZT_OK;
}
