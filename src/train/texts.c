/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/texts.h"

#include "base/log.h"
#include "base/memory.h"
#include "train/batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 13 }; /* documents looked at in one go */

struct zt_texts {
  zt_texts_spec spec;
  const zt_tokens *tokens;
  int64_t samples;
  bool whole;       /* a sample holds whole documents */
  bool learns_part; /* pairs or a mask say what is learnt */
  /* The document that a sample begins with, [samples + 1]; the last entry is
   * the number of documents.  NULL: sample i is document i. */
  int64_t *begins;
  size_t capacity;
  int64_t too_long; /* documents */
  uint8_t *mask;    /* [length] */
};

/* ---- Which documents make a sample ---- */

/* Documents in a row and their lengths, read in blocks. */
typedef struct walk {
  int64_t bounds[2][BLOCK + 1];
  int64_t first, n; /* documents in the block */
} walk;

static zt_status length_of(const zt_texts *t, walk *w, int64_t document,
                           int64_t *length) {
  const zt_tokens_info *info = zt_tokens_about(t->tokens);
  if (document >= w->first + w->n) {
    w->first = document;
    w->n =
        info->documents - document < BLOCK ? info->documents - document : BLOCK;
    for (int s = 0; s <= info->pairs; s++)
      ZT_TRY(zt_tokens_bounds(t->tokens, s, w->first, w->n, w->bounds[s]));
  }
  int64_t at = document - w->first;
  *length = w->bounds[0][at + 1] - w->bounds[0][at];
  if (info->pairs)
    *length += w->bounds[1][at + 1] - w->bounds[1][at];
  return ZT_OK;
}

static zt_status add_begin(zt_texts *t, int64_t document) {
  if (!zt_grow(&t->begins, &t->capacity, (size_t) t->samples + 1,
               sizeof *t->begins))
    return ZT_ERR_MEMORY;
  t->begins[t->samples++] = document;
  return ZT_OK;
}

/* Count what is too long, and begin a sample wherever one has to. */
static zt_status walk_documents(zt_texts *t, walk *w) {
  const zt_texts_spec *spec = &t->spec;
  int64_t documents = zt_tokens_about(t->tokens)->documents;
  int64_t used = spec->length, length; /* of the sample: full at first */
  bool skips = spec->too_long == ZT_TOO_LONG_SKIP;
  for (int64_t d = 0; d < documents; d++) {
    ZT_TRY(length_of(t, w, d, &length));
    if (length > spec->length) {
      if (spec->too_long == ZT_TOO_LONG_ERROR)
        return zt_fail(ZT_ERR_DATA,
                       "%s: document %" PRId64 " (from 0) has %" PRId64
                       " tokens, data.length is %" PRId64 "; see data.too_long",
                       zt_tokens_path(t->tokens), d, length, spec->length);
      t->too_long++;
      if (skips)
        continue;
      length = spec->length;
    }
    if (!spec->packing || used + length > spec->length) {
      ZT_TRY(add_begin(t, d));
      used = 0;
    }
    used += length;
  }
  if (t->samples == 0)
    return ZT_OK;
  ZT_TRY(add_begin(t, documents));
  t->samples--;
  return ZT_OK;
}

static zt_status find_documents(zt_texts *t) {
  walk *w = zt_calloc(1, sizeof *w);
  zt_status status = w ? walk_documents(t, w) : ZT_ERR_MEMORY;
  free(w);
  if (status == ZT_OK && t->too_long > 0)
    zt_info("note: %s: %" PRId64 " of %" PRId64
            " documents have more than %" PRId64 " tokens and are %s",
            zt_tokens_path(t->tokens), t->too_long,
            zt_tokens_about(t->tokens)->documents, t->spec.length,
            t->spec.too_long == ZT_TOO_LONG_SKIP ? "left out" : "cut");
  return status;
}

/* ---- Creation ---- */

static zt_status create(zt_texts *t) {
  const zt_tokens_info *info = zt_tokens_about(t->tokens);
  t->learns_part = info->pairs || info->masked;
  t->whole = t->learns_part || !t->spec.packing;
  t->mask = zt_calloc((size_t) t->spec.length, sizeof *t->mask);
  if (!t->mask)
    return ZT_ERR_MEMORY;
  if (!t->whole)
    t->samples = info->tokens[0] / t->spec.length;
  else if (t->learns_part || t->spec.too_long != ZT_TOO_LONG_TRUNCATE)
    ZT_TRY(find_documents(t));
  else
    t->samples = info->documents;
  if (t->samples > 0)
    return ZT_OK;
  if (t->whole)
    return zt_fail(ZT_ERR_DATA,
                   "%s: all documents have more than %" PRId64
                   " tokens and are left out; a longer data.length or "
                   "data.too_long = \"truncate\"",
                   zt_tokens_path(t->tokens), t->spec.length);
  return zt_fail(ZT_ERR_DATA,
                 "%s: %" PRId64 " tokens, one sample takes %" PRId64
                 "; more text, a shorter data.length or packing = false",
                 zt_tokens_path(t->tokens), info->tokens[0], t->spec.length);
}

zt_status zt_texts_create(const zt_texts_spec *spec, const zt_tokens *tokens,
                          zt_texts **texts) {
  *texts = NULL;
  zt_texts *t = zt_calloc(1, sizeof *t);
  if (!t)
    return ZT_ERR_MEMORY;
  t->spec = *spec;
  t->tokens = tokens;
  zt_status status = create(t);
  if (status != ZT_OK)
    zt_texts_destroy(&t);
  *texts = t;
  return status;
}

void zt_texts_destroy(zt_texts **texts) {
  zt_texts *t = *texts;
  *texts = NULL;
  if (!t)
    return;
  free(t->begins);
  free(t->mask);
  free(t);
}

int64_t zt_texts_samples(const zt_texts *texts) {
  return texts->samples;
}

/* ---- Reading ---- */

/* Tokens [first, first + n) of a stream to the end of the row. */
static zt_status append(zt_texts *t, int stream, int64_t first, int64_t n,
                        zt_text_row *row) {
  const zt_tokens_info *info = zt_tokens_about(t->tokens);
  int64_t room = t->spec.length - row->tokens, at = row->tokens;
  n = n < room ? n : room;
  ZT_TRY(zt_tokens_read(t->tokens, stream, first, n, row->ids + at));
  if (info->masked)
    ZT_TRY(zt_tokens_read_mask(t->tokens, first, n, t->mask + at));
  else
    memset(t->mask + at, !info->pairs || stream == ZT_STREAM_TARGET,
           (size_t) n);
  row->tokens += n;
  return ZT_OK;
}

/* From a token on to the end of the row, all is one document. */
static void begin_document(const zt_texts *t, int64_t at, zt_text_row *row) {
  if (at < t->spec.length)
    t->mask[at] = 0; /* nothing stands before it */
  for (int64_t i = at; row->first && i < t->spec.length; i++)
    row->first[i] = (int32_t) at;
}

static zt_status append_document(zt_texts *t, int64_t document,
                                 zt_text_row *row) {
  int64_t at = row->tokens, first[2], n[2] = {0, 0}, length = 0;
  int streams = zt_tokens_about(t->tokens)->pairs ? 2 : 1;
  for (int s = 0; s < streams; s++) {
    ZT_TRY(zt_tokens_document(t->tokens, s, document, &first[s], &n[s]));
    length += n[s];
  }
  if (length > t->spec.length && t->spec.too_long == ZT_TOO_LONG_SKIP)
    return ZT_OK;
  for (int s = 0; s < streams; s++)
    ZT_TRY(append(t, s, first[s], n[s], row));
  begin_document(t, at, row);
  return ZT_OK;
}

static zt_status read_documents(zt_texts *t, int64_t sample, zt_text_row *row) {
  int64_t begin = t->begins ? t->begins[sample] : sample;
  int64_t end = t->begins ? t->begins[sample + 1] : sample + 1;
  for (int64_t d = begin; d < end; d++)
    ZT_TRY(append_document(t, d, row));
  begin_document(t, row->tokens, row); /* the padding is for itself */
  return ZT_OK;
}

static zt_status read_window(zt_texts *t, int64_t sample, zt_text_row *row) {
  int64_t length = t->spec.length, window = sample * length, at = 0;
  ZT_TRY(append(t, ZT_STREAM_TEXT, window, length, row));
  begin_document(t, 0, row);
  while (t->spec.documents) {
    int64_t document, first, n;
    ZT_TRY(zt_tokens_find(t->tokens, ZT_STREAM_TEXT, window + at, &document));
    ZT_TRY(zt_tokens_document(t->tokens, ZT_STREAM_TEXT, document, &first, &n));
    if (first + n >= window + length)
      break;
    at = first + n - window;
    begin_document(t, at, row);
  }
  return ZT_OK;
}

zt_status zt_texts_read(zt_texts *t, int64_t sample, zt_text_row *row) {
  row->tokens = row->targets = 0;
  ZT_TRY(t->whole ? read_documents(t, sample, row)
                  : read_window(t, sample, row));
  for (int64_t i = row->tokens; i < t->spec.length; i++)
    row->ids[i] = (int32_t) t->spec.pad_id;
  for (int64_t i = 0; i < t->spec.length; i++) {
    bool learnt = i + 1 < row->tokens && t->mask[i + 1];
    row->labels[i] = learnt ? row->ids[i + 1] : ZT_NO_LABEL;
    row->targets += learnt;
  }
  return ZT_OK;
}
