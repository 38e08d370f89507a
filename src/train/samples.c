/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/samples.h"

#include "base/log.h"
#include "base/memory.h"
#include "train/span.h"
#include "train/texts.h"

#include <inttypes.h>
#include <stdlib.h>

enum {
  FIRST_ORDINARY = 3, /* pad, end and unknown come first in T5 and ByT5 */
  T5_SENTINELS = 100,
  MOST_LENGTH = 1 << 24
};

struct zt_samples {
  zt_batch_spec spec;
  const zt_tokens *tokens;
  int64_t count;
  int32_t eos;
  /* Span corruption. */
  int64_t raw;      /* tokens of a window, or at most of a document */
  int32_t *text;    /* [raw + 1] */
  int32_t *lengths; /* [2 * spans] */
  zt_texts *texts;  /* causal */
};

/* ---- Checks ---- */

static zt_status check_ids(const zt_batch_spec *spec, const zt_tokens *tokens) {
  const zt_tokens_info *info = zt_tokens_about(tokens);
  const char *path = zt_tokens_path(tokens);
  if (info->vocabulary > spec->vocabulary)
    return zt_fail(ZT_ERR_DATA,
                   "%s: its vocabulary of %" PRId64
                   " ids is larger than the model's %" PRId64
                   "; use the model's tokenizer",
                   path, info->vocabulary, spec->vocabulary);
  if (spec->task == ZT_TASK_CAUSAL)
    return ZT_OK; /* any id may end a document in the middle of a text */
  if (info->eos >= 0 && spec->eos_id >= 0 && info->eos != spec->eos_id)
    return zt_fail(ZT_ERR_DATA,
                   "%s: ends documents with id %" PRId64 ", the model with "
                   "%" PRId64 " (eos_token_id); write it with --eos",
                   path, info->eos, spec->eos_id);
  if (spec->start_id < 0)
    return zt_fail(ZT_ERR_DATA, "the model has no decoder_start_token_id; add "
                                "it to its config.json");
  return ZT_OK;
}

static zt_status check_lengths(const zt_batch_spec *spec) {
  if (spec->task == ZT_TASK_CAUSAL) {
    if (spec->target_length < 2 || spec->target_length > MOST_LENGTH)
      return zt_fail(ZT_ERR_CONFIG,
                     "data.length is %" PRId64 ", outside 2 .. %d",
                     spec->target_length, MOST_LENGTH);
    return ZT_OK;
  }
  int64_t least =
      spec->task == ZT_TASK_SPAN_CORRUPTION ? ZT_SPAN_LEAST_SOURCE : 1;
  if (spec->source_length < least || spec->source_length > MOST_LENGTH)
    return zt_fail(ZT_ERR_CONFIG,
                   "data.source_length is %" PRId64 ", outside %" PRId64
                   " .. %d",
                   spec->source_length, least, MOST_LENGTH);
  if (spec->target_length < 1 || spec->target_length > MOST_LENGTH)
    return zt_fail(ZT_ERR_CONFIG,
                   "data.target_length is %" PRId64 ", outside 1 .. %d",
                   spec->target_length, MOST_LENGTH);
  return ZT_OK;
}

/* ---- Creation ---- */

static zt_status create_spans(zt_samples *b) {
  const zt_batch_spec *spec = &b->spec;
  const zt_tokens_info *info = zt_tokens_about(b->tokens);
  const char *path = zt_tokens_path(b->tokens);
  b->raw = zt_span_raw_length(spec->source_length);
  zt_span_lengths l = zt_span_measure(b->raw);
  if (info->pairs)
    return zt_fail(ZT_ERR_DATA,
                   "%s: holds pairs, and data.task is \"span-corruption\"; "
                   "pairs are for \"seq2seq\"",
                   path);
  if (spec->target_length < l.target)
    return zt_fail(ZT_ERR_CONFIG,
                   "data.target_length is %" PRId64 ", too small for "
                   "data.source_length %" PRId64 ": it takes %" PRId64,
                   spec->target_length, spec->source_length, l.target);
  if (info->sentinel < 0 || b->eos < 0)
    return zt_fail(ZT_ERR_DATA,
                   "%s: has no %s; write it with ztconv tokens --%s ID", path,
                   info->sentinel < 0 ? "sentinels" : "end id",
                   info->sentinel < 0 ? "sentinel" : "eos");
  if (info->sentinel - (l.spans - 1) < FIRST_ORDINARY)
    return zt_fail(ZT_ERR_DATA,
                   "%s: data.source_length %" PRId64 " takes %" PRId64
                   " sentinels, but the first is %" PRId64
                   "; use a shorter one",
                   path, spec->source_length, l.spans, info->sentinel);
  if (l.spans > T5_SENTINELS)
    zt_info("note: data.source_length %" PRId64 " takes %" PRId64
            " sentinels, T5 and ByT5 know %d; ids down to %" PRId64
            " serve as more",
            spec->source_length, l.spans, T5_SENTINELS,
            info->sentinel - (l.spans - 1));
  b->count = spec->packing ? info->tokens[0] / b->raw : info->documents;
  if (b->count < 1)
    return zt_fail(ZT_ERR_DATA,
                   "%s: %" PRId64 " tokens, one sample takes %" PRId64
                   "; more text, a shorter data.source_length or packing = "
                   "false",
                   path, info->tokens[0], b->raw);
  b->text = zt_calloc((size_t) b->raw + 1, sizeof *b->text);
  b->lengths = zt_calloc((size_t) l.spans, 2 * sizeof *b->lengths);
  return b->text && b->lengths ? ZT_OK : ZT_ERR_MEMORY;
}

static zt_status create_pairs(zt_samples *b) {
  const zt_tokens_info *info = zt_tokens_about(b->tokens);
  if (!info->pairs)
    return zt_fail(ZT_ERR_DATA,
                   "%s: holds no pairs, which data.task \"seq2seq\" takes; "
                   "write it from lines with source and target",
                   zt_tokens_path(b->tokens));
  b->count = info->documents;
  return ZT_OK;
}

static zt_status create_texts(zt_samples *b) {
  const zt_batch_spec *spec = &b->spec;
  ZT_TRY(zt_texts_create(&(zt_texts_spec){.length = spec->target_length,
                                          .packing = spec->packing,
                                          .documents = spec->documents,
                                          .too_long = spec->too_long,
                                          .pad_id = spec->pad_id},
                         b->tokens, &b->texts));
  b->count = zt_texts_samples(b->texts);
  return ZT_OK;
}

static zt_status create_samples(zt_samples *b) {
  switch (b->spec.task) {
  case ZT_TASK_SPAN_CORRUPTION:
    return create_spans(b);
  case ZT_TASK_SEQ2SEQ:
    return create_pairs(b);
  case ZT_TASK_CAUSAL:
    break;
  }
  return create_texts(b);
}

zt_status zt_samples_create(const zt_batch_spec *spec, const zt_tokens *tokens,
                            zt_samples **samples) {
  *samples = NULL;
  ZT_TRY(check_lengths(spec));
  ZT_TRY(check_ids(spec, tokens));
  zt_samples *b = zt_calloc(1, sizeof *b);
  if (!b)
    return ZT_ERR_MEMORY;
  b->spec = *spec;
  b->tokens = tokens;
  b->eos = (int32_t) zt_tokens_about(tokens)->eos;
  if (b->eos < 0)
    b->eos = (int32_t) spec->eos_id;
  /* Padding is masked: any id will do. */
  if (b->spec.pad_id < 0)
    b->spec.pad_id = 0;
  zt_status status = create_samples(b);
  if (status != ZT_OK)
    zt_samples_destroy(&b);
  *samples = b;
  return status;
}

void zt_samples_destroy(zt_samples **samples) {
  zt_samples *b = *samples;
  *samples = NULL;
  if (!b)
    return;
  free(b->text);
  free(b->lengths);
  zt_texts_destroy(&b->texts);
  free(b);
}

int64_t zt_samples_count(const zt_samples *samples) {
  return samples->count;
}

/* ---- Reading ---- */

static zt_status read_spans(zt_samples *b, int64_t sample,
                            const zt_span_draw *draw, zt_sample_row *r) {
  int64_t first = sample * b->raw, n = b->raw;
  if (!b->spec.packing) {
    ZT_TRY(zt_tokens_document(b->tokens, ZT_STREAM_TEXT, sample, &first, &n));
    /* One more, to see whether the end id comes just behind. */
    n = n > b->raw ? b->raw + 1 : n;
  }
  ZT_TRY(zt_tokens_read(b->tokens, ZT_STREAM_TEXT, first, n, b->text));
  if (!b->spec.packing && n > 0 && b->text[n - 1] == b->eos)
    n--;
  n = n > b->raw ? b->raw : n;
  zt_span_lengths l = zt_span_measure(n);
  zt_span_corrupt(draw, b->text, n,
                  (int32_t) zt_tokens_about(b->tokens)->sentinel, b->eos,
                  b->lengths, r->source, r->labels);
  r->sources = l.source;
  r->targets = l.target;
  return ZT_OK;
}

/* Cut on the right.  An empty source would leave attention nothing to look at,
 * an empty target nothing to learn: ztconv writes neither. */
static zt_status read_side(const zt_samples *b, int64_t sample, int stream,
                           int64_t most, int32_t *ids, int64_t *n) {
  int64_t first;
  ZT_TRY(zt_tokens_document(b->tokens, stream, sample, &first, n));
  if (*n == 0)
    return zt_fail(ZT_ERR_DATA, "%s: pair %" PRId64 " (from 0): empty %s",
                   zt_tokens_path(b->tokens), sample,
                   stream == ZT_STREAM_SOURCE ? "source" : "target");
  if (*n > most)
    *n = most;
  return zt_tokens_read(b->tokens, stream, first, *n, ids);
}

static zt_status read_pair(const zt_samples *b, int64_t sample,
                           zt_sample_row *r) {
  ZT_TRY(read_side(b, sample, ZT_STREAM_SOURCE, b->spec.source_length,
                   r->source, &r->sources));
  return read_side(b, sample, ZT_STREAM_TARGET, b->spec.target_length,
                   r->labels, &r->targets);
}

static void pad(const zt_batch_spec *spec, const zt_sample_row *r) {
  int32_t pad_id = (int32_t) spec->pad_id;
  for (int64_t i = r->sources; i < spec->source_length; i++)
    r->source[i] = pad_id;
  for (int64_t i = r->targets; i < spec->target_length; i++)
    r->labels[i] = ZT_NO_LABEL;
  r->target[0] = (int32_t) spec->start_id;
  for (int64_t i = 1; i < spec->target_length; i++)
    r->target[i] = i <= r->targets ? r->labels[i - 1] : pad_id;
}

static zt_status read_text(zt_samples *b, int64_t sample, zt_sample_row *r) {
  zt_text_row text = {.ids = r->target, .labels = r->labels, .first = r->first};
  ZT_TRY(zt_texts_read(b->texts, sample, &text));
  r->tokens = text.tokens;
  r->targets = text.targets;
  return ZT_OK;
}

zt_status zt_samples_read(zt_samples *b, int64_t sample,
                          const zt_span_draw *draw, zt_sample_row *r) {
  r->sources = 0;
  if (b->spec.task == ZT_TASK_CAUSAL)
    return read_text(b, sample, r);
  ZT_TRY(b->spec.task == ZT_TASK_SPAN_CORRUPTION
             ? read_spans(b, sample, draw, r)
             : read_pair(b, sample, r));
  pad(&b->spec, r);
  r->tokens = r->sources + r->targets;
  return ZT_OK;
}
