/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo show --sample: the first documents of a token file as text, with what
 * is learnt of them. */
#include "base/memory.h"
#include "io/tokens.h"
#include "prog/info.h"
#include "tokenizer/tokenizer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 }; /* tokens of a document that are shown */

typedef struct shown {
  const zt_tokens *tokens;
  zt_tokenizer *tokenizer; /* NULL: ids alone */
  bool json;
  zt_text *text;
  zt_text part; /* decoded */
  int32_t ids[MOST];
  uint8_t learnt[MOST];
  int64_t n, whole; /* tokens at hand, and there are */
} shown;

/* ---- Reading ---- */

static zt_status take(shown *s, int stream, int64_t document) {
  const zt_tokens_info *info = zt_tokens_about(s->tokens);
  int64_t first, n;
  ZT_TRY(zt_tokens_document(s->tokens, stream, document, &first, &n));
  s->whole += n;
  n = n < MOST - s->n ? n : MOST - s->n;
  ZT_TRY(zt_tokens_read(s->tokens, stream, first, n, s->ids + s->n));
  if (info->masked)
    ZT_TRY(zt_tokens_read_mask(s->tokens, first, n, s->learnt + s->n));
  else
    memset(s->learnt + s->n, !info->pairs || stream == ZT_STREAM_TARGET,
           (size_t) n);
  s->n += n;
  return ZT_OK;
}

static zt_status take_document(shown *s, int64_t document) {
  s->n = s->whole = 0;
  for (int i = 0; i <= zt_tokens_about(s->tokens)->pairs; i++)
    ZT_TRY(take(s, i, document));
  return ZT_OK;
}

/* ---- Text ---- */

static zt_status decode(shown *s, const int32_t *ids, size_t n, size_t *size) {
  size_t was = s->part.size;
  if (s->tokenizer)
    ZT_TRY(zt_tokenizer_decode(s->tokenizer, ids, n, &s->part));
  *size = s->part.size - was;
  return ZT_OK;
}

/* Ids that stand for no text are shown as such, the others together. */
static zt_status decode_part(shown *s, int64_t begin, int64_t end) {
  s->part.size = 0;
  for (int64_t i = begin, from = begin; i <= end; i++) {
    size_t size = 1, before = s->part.size;
    if (i < end)
      ZT_TRY(decode(s, s->ids + i, 1, &size));
    s->part.size = before; /* it was for its size */
    if (i < end && size > 0)
      continue;
    if (i > from)
      ZT_TRY(decode(s, s->ids + from, (size_t) (i - from), &size));
    if (i < end)
      zt_text_add(&s->part, "<%" PRId32 ">", s->ids[i]);
    from = i + 1;
  }
  return ZT_OK;
}

static void add_part(shown *s, int64_t begin, int64_t end) {
  const char *data = s->part.size ? s->part.data : "";
  if (!s->json) {
    zt_text_add(s->text, "  %s ", s->learnt[begin] ? "learnt" : "read  ");
    zt_text_add_json(s->text, data, s->part.size);
    zt_text_add(s->text, "\n");
    return;
  }
  zt_text_add(s->text, "%s{\"learnt\": %s, \"tokens\": [", begin ? ", " : "",
              s->learnt[begin] ? "true" : "false");
  for (int64_t i = begin; i < end; i++)
    zt_text_add(s->text, "%s%" PRId32, i > begin ? ", " : "", s->ids[i]);
  zt_text_add(s->text, "]");
  if (s->tokenizer) {
    zt_text_add(s->text, ", \"text\": ");
    zt_text_add_json(s->text, data, s->part.size);
  }
  zt_text_add(s->text, "}");
}

static zt_status show_document(shown *s, int64_t index) {
  int64_t learnt = 0;
  ZT_TRY(take_document(s, index));
  for (int64_t i = 0; i < s->n; i++)
    learnt += s->learnt[i];
  zt_text_add(s->text,
              s->json ? "{\"kind\": \"sample\", \"index\": %" PRId64
                        ", \"tokens\": %" PRId64 ", \"parts\": ["
                      : "sample %" PRId64 ": %" PRId64 " tokens",
              index, s->whole);
  if (!s->json)
    zt_text_add(s->text,
                s->n < s->whole ? ", the first %" PRId64 " of them:\n"
                                : ", %" PRId64 " learnt\n",
                s->n < s->whole ? s->n : learnt);
  for (int64_t i = 0, end; i < s->n; i = end) {
    for (end = i + 1; end < s->n && s->learnt[end] == s->learnt[i];)
      end++;
    ZT_TRY(decode_part(s, i, end));
    add_part(s, i, end);
  }
  if (s->json)
    zt_text_add(s->text, "]}\n");
  return ZT_OK;
}

static zt_status open_tokenizer(const char *name, const zt_tokens_info *info,
                                zt_tokenizer **tokenizer) {
  *tokenizer = NULL;
  if (!name && !strcmp(info->tokenizer, "bytes"))
    name = "bytes";
  if (!name)
    return ZT_OK; /* ids have to do */
  return zt_tokenizer_open(name, tokenizer);
}

zt_status zt_info_add_samples(zt_text *text, const zt_tokens *tokens,
                              int64_t samples, const char *tokenizer,
                              bool json) {
  const zt_tokens_info *info = zt_tokens_about(tokens);
  shown *s = zt_calloc(1, sizeof *s);
  if (!s)
    return ZT_ERR_MEMORY;
  s->tokens = tokens;
  s->json = json;
  s->text = text;
  zt_status status = open_tokenizer(tokenizer, info, &s->tokenizer);
  if (status == ZT_OK && !s->tokenizer && !json)
    zt_text_add(text, "samples as ids; --tokenizer NAME decodes them\n");
  if (samples > info->documents)
    samples = info->documents;
  for (int64_t i = 0; i < samples && status == ZT_OK; i++)
    status = show_document(s, i);
  zt_tokenizer_close(&s->tokenizer);
  zt_text_free(&s->part);
  free(s);
  return status;
}
