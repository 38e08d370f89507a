/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokenizer/bpe.h"

#include "base/json.h"
#include "base/memory.h"
#include "tokenizer/bpe_added.h"
#include "tokenizer/bpe_split.h"
#include "tokenizer/bpe_table.h"
#include "tokenizer/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
  FILE_LIMIT = 256 << 20, /* bytes of a tokenizer.json */
  INPUT = 64 << 10,       /* bytes cleaned at once */
  FULL = 256 << 10,       /* bytes that wait for a place to cut */
  FULL_LIMIT = 32 << 20,  /* text without any such place is cut here */
  IDS = 4096              /* ids handed on at once */
};

typedef struct bpe {
  zt_tokenizer base; /* first: a zt_tokenizer is cast to it */
  char *path;
  zt_bpe_table *table;
  zt_bpe_split *split;
  zt_added_tokens added;
  bool compose;              /* normalization form C first */
  char partial[4];           /* the beginning of a character */
  size_t n_partial;          /* bytes of it */
  zt_text pending, composed; /* clean text that waits; the same in form C */
  size_t full;               /* bytes of pending at which to look for a cut */
  zt_bpe_ids ids;            /* found and not yet handed on */
  zt_id_sink sink;
  void *sink_context;
} bpe;

/* ---- Encoding ---- */

static zt_status hand_on(bpe *b) {
  size_t n = b->ids.count;
  b->ids.count = 0;
  return n ? b->sink(b->sink_context, b->ids.list, n) : ZT_OK;
}

static zt_status add_word(void *context, const char *word, size_t size) {
  bpe *b = context;
  ZT_TRY(zt_bpe_table_encode(b->table, word, size, &b->ids));
  return b->ids.count < IDS ? ZT_OK : hand_on(b);
}

/* Text between added tokens. */
static zt_status add_plain(bpe *b, const char *text, size_t size) {
  if (!b->compose)
    return zt_bpe_split_text(b->split, text, size, add_word, b);
  b->composed.size = 0;
  ZT_TRY(zt_utf8_compose(text, size, &b->composed));
  return zt_bpe_split_text(b->split, b->composed.data, b->composed.size,
                           add_word, b);
}

static zt_status add_token(bpe *b, int32_t id) {
  ZT_TRY(hand_on(b));
  return b->sink(b->sink_context, &id, 1);
}

/* How much of text that goes on may be encoded now; 0: wait for more. */
static size_t find_cut(bpe *b, const char *text, size_t size) {
  /* An added token may have begun. */
  size_t kept = b->added.longest > 0 ? b->added.longest - 1 : 0;
  if (size <= kept)
    return 0;
  size_t cut = zt_bpe_split_safe(b->split, text, size);
  while (cut > size - kept) {
    size_t less = zt_bpe_split_safe(b->split, text, cut - 1);
    cut = less < cut ? less : 0;
  }
  if (cut == 0 && size >= FULL_LIMIT)
    for (cut = size - kept;
         cut > 0 && ((unsigned char) text[cut] & 0xC0) == 0x80;)
      cut--;
  return cut;
}

/* Encode what waits, as far as the text to come cannot change it. */
static zt_status encode_pending(bpe *b, bool last) {
  const char *text = b->pending.data;
  size_t size = b->pending.size, at = 0, found;
  const zt_added_token *token;
  while (
      (token = zt_added_tokens_find(&b->added, text + at, size - at, &found))) {
    /* A longer one may yet begin at the same place. */
    if (!last && size - at - found < b->added.longest)
      break;
    ZT_TRY(add_plain(b, text + at, found));
    ZT_TRY(add_token(b, token->id));
    at += found + token->size;
  }
  size_t n = last ? size - at : find_cut(b, text + at, size - at);
  if (token && !last && n > found)
    n = found;
  ZT_TRY(add_plain(b, text + at, n));
  at += n;
  b->full = at > 0 ? FULL : 2 * b->full;
  b->pending.size -= at;
  memmove(b->pending.data, text + at, b->pending.size);
  return ZT_OK;
}

/* Clean a piece of input behind what waits. */
static void take_input(bpe *b, const char *text, size_t size, bool last) {
  char joint[8];
  size_t used = 0;
  if (b->n_partial > 0) { /* with bytes enough to end the character */
    size_t n =
        size < sizeof joint - b->n_partial ? size : sizeof joint - b->n_partial;
    memcpy(joint, b->partial, b->n_partial);
    memcpy(joint + b->n_partial, text, n);
    size_t done =
        zt_utf8_clean(joint, b->n_partial + n, last && n == size, &b->pending);
    if (done < b->n_partial) { /* still not enough: they are 3 at most */
      b->n_partial += n;
      memcpy(b->partial, joint, b->n_partial);
      return;
    }
    used = done - b->n_partial;
    b->n_partial = 0;
  }
  used += zt_utf8_clean(text + used, size - used, last, &b->pending);
  b->n_partial = size - used;
  memcpy(b->partial, text + used, b->n_partial);
}

static zt_status bpe_encode(zt_tokenizer *tokenizer, const char *text,
                            size_t size, bool last, zt_id_sink sink,
                            void *context) {
  bpe *b = (bpe *) tokenizer;
  b->sink = sink;
  b->sink_context = context;
  do {
    size_t n = size < INPUT ? size : INPUT;
    bool ends = last && n == size;
    take_input(b, text, n, ends);
    text += n;
    size -= n;
    if (b->pending.failed)
      return zt_fail(ZT_ERR_MEMORY, "no memory for text");
    if ((ends || b->pending.size >= b->full) && b->pending.size > 0)
      ZT_TRY(encode_pending(b, ends));
  } while (size > 0);
  ZT_TRY(hand_on(b));
  if (last)
    b->full = FULL;
  return ZT_OK;
}

static zt_status bpe_decode(zt_tokenizer *tokenizer, const int32_t *ids,
                            size_t n, zt_text *text) {
  bpe *b = (bpe *) tokenizer;
  for (size_t i = 0; i < n; i++) {
    size_t size;
    const zt_added_token *added = zt_added_token_of(&b->added, ids[i]);
    const char *bytes = zt_bpe_table_bytes(b->table, ids[i], &size);
    if (added)
      bytes = added->special ? NULL : added->text, size = added->size;
    if (bytes)
      zt_text_append(text, bytes, size);
  }
  return ZT_OK;
}

static void bpe_destroy(zt_tokenizer *tokenizer) {
  bpe *b = (bpe *) tokenizer;
  zt_bpe_table_destroy(&b->table);
  zt_bpe_split_destroy(&b->split);
  zt_added_tokens_free(&b->added);
  zt_text_free(&b->pending);
  zt_text_free(&b->composed);
  free(b->ids.list);
  free(b->path);
  free(b);
}

static const zt_tokenizer_ops bpe_ops = {
    .encode = bpe_encode,
    .decode = bpe_decode,
    .destroy = bpe_destroy,
};

/* ---- Reading ---- */

static int64_t id_of(const bpe *b, const char *text) {
  const zt_added_token *token = zt_added_token_named(&b->added, text);
  return token ? token->id : zt_bpe_table_find(b->table, text, strlen(text));
}

/* A token of tokenizer_config.json is its text, or an object with "content". */
static void read_named(const bpe *b, json_t *config, const char *key,
                       int64_t *id) {
  json_t *value = json_object_get(config, key);
  if (json_is_object(value))
    value = json_object_get(value, "content");
  if (json_is_string(value))
    *id = id_of(b, json_string_value(value));
}

/* What a TemplateProcessing puts before a text; it may stand in a Sequence. */
static void read_template(const bpe *b, json_t *processor, int64_t *bos) {
  json_t *inner,
      *first = json_array_get(json_object_get(processor, "single"), 0);
  const char *name = json_string_value(
      json_object_get(json_object_get(first, "SpecialToken"), "id"));
  size_t i;
  if (name)
    *bos = id_of(b, name);
  json_array_foreach(json_object_get(processor, "processors"), i, inner)
      read_template(b, inner, bos);
}

static zt_status read_specials(bpe *b, const char *where, json_t *root) {
  static const char *const ends[] = {"<|endoftext|>", "<|end_of_text|>",
                                     "<|im_end|>", "</s>"};
  zt_vocabulary *v = &b->base.vocabulary;
  json_t *config, *adds = NULL;
  *v = (zt_vocabulary){zt_bpe_table_size(b->table), -1, -1, -1, -1, -1};
  if (v->size < b->added.id_end)
    v->size = b->added.id_end;
  ZT_TRY(zt_tokenizer_config_read(b->path, where, &config));
  read_template(b, json_object_get(root, "post_processor"), &v->bos);
  if (config) {
    read_named(b, config, "eos_token", &v->eos);
    read_named(b, config, "pad_token", &v->pad);
    /* What is said here is what Transformers does, whatever is there. */
    adds = json_object_get(config, "add_bos_token");
    if (adds || json_object_get(config, "add_eos_token"))
      v->bos = -1;
    if (json_is_true(adds))
      read_named(b, config, "bos_token", &v->bos);
    json_decref(config);
  }
  for (size_t i = 0; v->eos < 0 && i < sizeof ends / sizeof *ends; i++)
    v->eos = id_of(b, ends[i]);
  return ZT_OK;
}

static zt_status read_normalizer(bpe *b, json_t *rule) {
  const char *type = "";
  if (!rule || json_is_null(rule))
    return ZT_OK;
  ZT_TRY(zt_json_string(rule, b->path, "type", true, &type));
  if (strcmp(type, "NFC"))
    return zt_fail(ZT_ERR_DATA, "%.100s: normalizer %.40s is not known",
                   b->path, type);
  b->compose = true;
  if (!zt_utf8_can_compose())
    return zt_fail(ZT_ERR_UNAVAILABLE,
                   "%.100s: its normalizer NFC needs utf8proc, which this "
                   "build lacks: configure --with-utf8proc=DIR",
                   b->path);
  return ZT_OK;
}

static zt_status read_json(bpe *b, const char *config, json_t *root) {
  const char *type = "BPE";
  json_t *model = json_object_get(root, "model");
  if (!json_is_object(model))
    return zt_fail(ZT_ERR_DATA, "%.100s: no \"model\": not a tokenizer.json",
                   b->path);
  ZT_TRY(zt_json_string(model, b->path, "type", false, &type));
  if (strcmp(type, "BPE"))
    return zt_fail(ZT_ERR_DATA,
                   "%.100s: model %.30s is not known (BPE is); if a "
                   "SentencePiece model belongs to it, use that",
                   b->path, type);
  ZT_TRY(read_normalizer(b, json_object_get(root, "normalizer")));
  ZT_TRY(zt_bpe_split_create(json_object_get(root, "pre_tokenizer"), b->path,
                             &b->split));
  ZT_TRY(zt_added_tokens_read(json_object_get(root, "added_tokens"), b->path,
                              &b->added));
  ZT_TRY(zt_bpe_table_create(model, b->path, &b->table));
  b->base.cuts_at_lines = true;
  for (size_t i = 0; i < b->added.count; i++)
    if (strchr(b->added.list[i].text, '\n'))
      b->base.cuts_at_lines = false;
  return read_specials(b, config, root);
}

zt_status zt_bpe_open(const char *path, const char *config,
                      zt_tokenizer **tokenizer) {
  json_t *root = NULL;
  bpe *b = zt_calloc(1, sizeof *b);
  *tokenizer = NULL;
  if (!b)
    return ZT_ERR_MEMORY;
  b->base.ops = &bpe_ops;
  b->full = FULL;
  zt_status status = (b->path = zt_strdup(path)) ? ZT_OK : ZT_ERR_MEMORY;
  if (status == ZT_OK)
    status = zt_json_read(path, FILE_LIMIT, &root);
  if (status == ZT_OK)
    status = read_json(b, config, root);
  json_decref(root);
  if (status == ZT_OK)
    *tokenizer = &b->base;
  else
    bpe_destroy(&b->base);
  return status;
}
