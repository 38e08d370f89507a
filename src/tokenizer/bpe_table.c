/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokenizer/bpe_table.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
  MOST_IDS = 1 << 24,
  CACHE_SLOTS = 1 << 16, /* a power of two */
  CACHE_WORD = 30,       /* bytes of a word that is remembered */
  CACHE_IDS = 8
};

/* A token's bytes in the blob. */
typedef struct token {
  int64_t at; /* -1: no token has this id */
  int32_t size;
} token;

/* What a pair of neighbours becomes. */
typedef struct merge {
  uint64_t pair; /* left << 32 | right */
  int32_t rank;  /* the lowest goes first; -1: an empty slot */
  int32_t id;
} merge;

/* One cache line. */
typedef struct remembered {
  uint8_t size, count; /* size 0: nothing */
  char word[CACHE_WORD];
  int32_t ids[CACHE_IDS];
} remembered;

/* A word while it is merged: a list of parts linked in both directions. */
typedef struct part {
  int32_t id; /* -1: merged into the one before */
  int32_t previous, next;
} part;

typedef struct candidate {
  int32_t rank, at, id;
} candidate;

struct zt_bpe_table {
  zt_text blob;
  token *tokens;
  int64_t size;
  int32_t *slots; /* hash table of ids by bytes, -1: empty */
  size_t mask;
  merge *merges; /* hash table by pair */
  size_t merge_mask;
  int32_t of_byte[256]; /* -1: none */
  bool ignore_merges;   /* a word that is a token stays whole */
  remembered *cache;
  part *parts; /* room for the longest word so far */
  candidate *heap;
  size_t room;
};

/* ---- Tokens by bytes ---- */

static size_t slot_of(const zt_bpe_table *t, const char *bytes, size_t size) {
  size_t slot = XXH3_64bits(bytes, size) & t->mask;
  for (;; slot = (slot + 1) & t->mask) {
    int32_t id = t->slots[slot];
    if (id < 0)
      return slot;
    const token *held = &t->tokens[id];
    if ((size_t) held->size == size &&
        !memcmp(t->blob.data + held->at, bytes, size))
      return slot;
  }
}

int32_t zt_bpe_table_find(const zt_bpe_table *t, const char *bytes,
                          size_t size) {
  return t->slots[slot_of(t, bytes, size)];
}

const char *zt_bpe_table_bytes(const zt_bpe_table *t, int64_t id,
                               size_t *size) {
  if (id < 0 || id >= t->size || t->tokens[id].at < 0)
    return NULL;
  *size = (size_t) t->tokens[id].size;
  return t->blob.data + t->tokens[id].at;
}

int64_t zt_bpe_table_size(const zt_bpe_table *t) {
  return t->size;
}

/* ---- Reading ---- */

/* Byte-level vocabularies write each byte as one printable character: those
 * that are printable in Latin 1 as themselves, the others, in order, from
 * U+0100 on.  -1: no such character.  Source: openai/gpt-2, bytes_to_unicode.
 */
static int byte_of(unsigned code) {
  if ((code >= '!' && code <= '~') || (code >= 0xA1 && code <= 0xAC) ||
      (code >= 0xAE && code <= 0xFF))
    return (int) code;
  if (code < 0x100 || code > 0x143)
    return -1;
  unsigned n = code - 0x100;
  return (int) (n <= ' ' ? n : n <= 0x21 + 0x21 ? n - 0x21 + 0x7F : 0xAD);
}

/* Append the bytes that a vocabulary's string stands for; a string of other
 * characters (an added token) stands for itself. */
static void add_bytes(zt_text *to, const char *string) {
  size_t began = to->size, size = strlen(string);
  for (size_t i = 0; i < size;) {
    unsigned char first = (unsigned char) string[i];
    unsigned code = first;
    if (first >= 0xC0 && first < 0xE0) /* all of them have two bytes at most */
      code = (first & 0x1Fu) << 6 | ((unsigned char) string[i + 1] & 0x3Fu);
    int byte = first < 0xE0 ? byte_of(code) : -1;
    if (byte < 0) {
      to->size = began;
      zt_text_append(to, string, size);
      return;
    }
    char one = (char) byte;
    zt_text_append(to, &one, 1);
    i += first < 0x80 ? 1 : 2;
  }
}

static zt_status read_sizes(json_t *vocab, const char *path, zt_bpe_table *t) {
  const char *name;
  json_t *value;
  json_object_foreach(vocab, name, value) {
    int64_t id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || id >= MOST_IDS)
      return zt_fail(ZT_ERR_DATA, "%.100s: the id of token \"%.40s\" is no id",
                     path, name);
    if (id >= t->size)
      t->size = id + 1;
  }
  return ZT_OK;
}

static zt_status read_vocabulary(json_t *vocab, const char *path,
                                 zt_bpe_table *t) {
  const char *name;
  json_t *value;
  ZT_TRY(read_sizes(vocab, path, t));
  for (t->mask = 1024; t->mask < 2 * json_object_size(vocab);)
    t->mask *= 2;
  t->slots = zt_calloc(t->mask, sizeof *t->slots);
  t->tokens = zt_calloc((size_t) t->size + 1, sizeof *t->tokens);
  if (!t->slots || !t->tokens)
    return ZT_ERR_MEMORY;
  memset(t->slots, -1, t->mask * sizeof *t->slots);
  t->mask--;
  for (int64_t i = 0; i < t->size; i++)
    t->tokens[i].at = -1;
  json_object_foreach(vocab, name, value) {
    token *to = &t->tokens[json_integer_value(value)];
    if (to->at >= 0)
      return zt_fail(ZT_ERR_DATA, "%.100s: id %lld stands twice", path,
                     (long long) json_integer_value(value));
    size_t began = t->blob.size;
    add_bytes(&t->blob, name);
    if (t->blob.failed || t->blob.size > INT32_MAX)
      return zt_fail(ZT_ERR_MEMORY, "no memory for the vocabulary of %.100s",
                     path);
    *to = (token){(int64_t) began, (int32_t) (t->blob.size - began)};
    if (to->size == 0)
      return zt_fail(ZT_ERR_DATA, "%.100s: an empty token", path);
    t->slots[slot_of(t, t->blob.data + began, (size_t) to->size)] =
        (int32_t) json_integer_value(value);
  }
  for (int i = 0; i < 256; i++) {
    char byte = (char) i;
    t->of_byte[i] = zt_bpe_table_find(t, &byte, 1);
  }
  return ZT_OK;
}

static merge *merge_slot(const zt_bpe_table *t, uint64_t pair) {
  uint64_t hash = pair * 0x9E3779B97F4A7C15u;
  for (size_t slot = (hash >> 32) & t->merge_mask;;
       slot = (slot + 1) & t->merge_mask)
    if (t->merges[slot].rank < 0 || t->merges[slot].pair == pair)
      return &t->merges[slot];
}

/* A merge is "LEFT RIGHT" or ["LEFT", "RIGHT"]. */
static zt_status read_merge(const json_t *value, zt_text *text,
                            size_t *left_size, const zt_bpe_table *t,
                            const char *path, size_t rank, merge *m) {
  char whole[512];
  const char *left = json_string_value(json_array_get(value, 0));
  const char *right = json_string_value(json_array_get(value, 1));
  const char *both = json_string_value(value), *blank = NULL;
  if (both && strlen(both) < sizeof whole && (blank = strchr(both, ' '))) {
    strcpy(whole, both);
    whole[blank - both] = '\0';
    left = whole, right = whole + (blank - both) + 1;
  }
  if (!left || !right)
    return zt_fail(ZT_ERR_DATA, "%.100s: merge %zu is no pair", path, rank);
  text->size = 0;
  add_bytes(text, left);
  *left_size = text->size;
  add_bytes(text, right);
  if (text->failed)
    return zt_fail(ZT_ERR_MEMORY, "no memory for the merges of %.100s", path);
  int32_t a = zt_bpe_table_find(t, text->data, *left_size);
  int32_t b =
      zt_bpe_table_find(t, text->data + *left_size, text->size - *left_size);
  *m = (merge){(uint64_t) (uint32_t) a << 32 | (uint32_t) b, (int32_t) rank,
               zt_bpe_table_find(t, text->data, text->size)};
  if (a < 0 || b < 0 || m->id < 0)
    return zt_fail(ZT_ERR_DATA,
                   "%.100s: merge %zu (\"%.30s\" \"%.30s\") is not of tokens",
                   path, rank, left, right);
  return ZT_OK;
}

static zt_status read_merges(json_t *merges, const char *path,
                             zt_bpe_table *t) {
  size_t count = json_array_size(merges), capacity = 1024, left_size;
  if (count > MOST_IDS)
    return zt_fail(ZT_ERR_DATA, "%.100s: %zu merges are too many", path, count);
  while (capacity < 2 * count)
    capacity *= 2;
  if (!(t->merges = zt_calloc(capacity, sizeof *t->merges)))
    return ZT_ERR_MEMORY;
  t->merge_mask = capacity - 1;
  for (size_t i = 0; i < capacity; i++)
    t->merges[i].rank = -1;
  zt_text text = {0};
  zt_status status = ZT_OK;
  for (size_t i = 0; status == ZT_OK && i < count; i++) {
    merge m;
    status = read_merge(json_array_get(merges, i), &text, &left_size, t, path,
                        i, &m);
    if (status == ZT_OK)
      *merge_slot(t, m.pair) = m;
  }
  zt_text_free(&text);
  return status;
}

zt_status zt_bpe_table_create(json_t *model, const char *path,
                              zt_bpe_table **table) {
  json_t *vocab = json_object_get(model, "vocab");
  json_t *merges = json_object_get(model, "merges");
  if (!json_is_object(vocab) || !json_object_size(vocab) ||
      !json_is_array(merges))
    return zt_fail(ZT_ERR_DATA, "%.100s: no \"vocab\" and \"merges\"", path);
  zt_bpe_table *t = zt_calloc(1, sizeof *t);
  if (!t)
    return ZT_ERR_MEMORY;
  zt_status status =
      zt_json_bool(model, path, "ignore_merges", false, &t->ignore_merges);
  if (status == ZT_OK)
    status = read_vocabulary(vocab, path, t);
  if (status == ZT_OK)
    status = read_merges(merges, path, t);
  if (status == ZT_OK && !(t->cache = zt_calloc(CACHE_SLOTS, sizeof *t->cache)))
    status = ZT_ERR_MEMORY;
  if (status != ZT_OK)
    zt_bpe_table_destroy(&t);
  *table = t;
  return status;
}

void zt_bpe_table_destroy(zt_bpe_table **table) {
  zt_bpe_table *t = *table;
  if (!t)
    return;
  zt_text_free(&t->blob);
  free(t->tokens);
  free(t->slots);
  free(t->merges);
  free(t->cache);
  free(t->parts);
  free(t->heap);
  free(t);
  *table = NULL;
}

/* ---- Merging ---- */

static bool before(const candidate *a, const candidate *b) {
  return a->rank < b->rank || (a->rank == b->rank && a->at < b->at);
}

static void push(candidate *heap, size_t *count, candidate c) {
  size_t i = (*count)++;
  for (; i > 0 && before(&c, &heap[(i - 1) / 2]); i = (i - 1) / 2)
    heap[i] = heap[(i - 1) / 2];
  heap[i] = c;
}

static candidate pop(candidate *heap, size_t *count) {
  candidate top = heap[0], last = heap[--*count];
  size_t i = 0;
  for (size_t child; (child = 2 * i + 1) < *count; i = child) {
    if (child + 1 < *count && before(&heap[child + 1], &heap[child]))
      child++;
    if (!before(&heap[child], &last))
      break;
    heap[i] = heap[child];
  }
  heap[i] = last;
  return top;
}

/* What the part at `at` and the next one may become. */
static void consider(zt_bpe_table *t, int32_t at, size_t *count) {
  if (at < 0 || t->parts[at].next < 0)
    return;
  const part *left = &t->parts[at], *right = &t->parts[left->next];
  const merge *m = merge_slot(t, (uint64_t) (uint32_t) left->id << 32 |
                                     (uint32_t) right->id);
  if (m->rank >= 0)
    push(t->heap, count, (candidate){m->rank, at, m->id});
}

/* A word of n bytes has n - 1 pairs, and each merge makes two more. */
static zt_status make_room(zt_bpe_table *t, size_t size) {
  if (size <= t->room)
    return ZT_OK;
  size_t room = size < 256 ? 256 : 2 * size;
  free(t->parts);
  free(t->heap);
  t->parts = zt_calloc(room, sizeof *t->parts);
  t->heap = zt_calloc(3 * room, sizeof *t->heap);
  t->room = t->parts && t->heap ? room : 0;
  return t->room ? ZT_OK : ZT_ERR_MEMORY;
}

static bool still_stands(const zt_bpe_table *t, const candidate *c) {
  const part *left = &t->parts[c->at];
  if (left->id < 0 || left->next < 0)
    return false;
  uint64_t pair =
      (uint64_t) (uint32_t) left->id << 32 | (uint32_t) t->parts[left->next].id;
  const merge *m = merge_slot(t, pair);
  return m->rank >= 0 && m->id == c->id;
}

static zt_status add_id(zt_bpe_ids *ids, int32_t id) {
  if (!zt_grow(&ids->list, &ids->capacity, ids->count, sizeof *ids->list))
    return ZT_ERR_MEMORY;
  ids->list[ids->count++] = id;
  return ZT_OK;
}

static zt_status merge_word(zt_bpe_table *t, const char *word, size_t size,
                            zt_bpe_ids *ids) {
  size_t waiting = 0;
  int32_t n = 0;
  if (size > INT32_MAX / 4)
    return zt_fail(ZT_ERR_DATA, "a word of %zu bytes is too long", size);
  ZT_TRY(make_room(t, size));
  for (size_t i = 0; i < size; i++) {
    int32_t id = t->of_byte[(unsigned char) word[i]];
    if (id >= 0) {
      t->parts[n] = (part){id, n - 1, n + 1};
      n++;
    }
  }
  if (n == 0)
    return ZT_OK;
  t->parts[n - 1].next = -1;
  for (int32_t i = 0; i < n; i++)
    consider(t, i, &waiting);
  while (waiting > 0) {
    candidate c = pop(t->heap, &waiting);
    if (!still_stands(t, &c))
      continue;
    part *left = &t->parts[c.at], *right = &t->parts[left->next];
    left->id = c.id;
    left->next = right->next;
    right->id = -1;
    if (left->next >= 0)
      t->parts[left->next].previous = c.at;
    consider(t, left->previous, &waiting);
    consider(t, c.at, &waiting);
  }
  for (int32_t i = 0; i >= 0; i = t->parts[i].next)
    ZT_TRY(add_id(ids, t->parts[i].id));
  return ZT_OK;
}

zt_status zt_bpe_table_encode(zt_bpe_table *t, const char *word, size_t size,
                              zt_bpe_ids *ids) {
  remembered *r = NULL;
  if (size <= CACHE_WORD) {
    r = &t->cache[XXH3_64bits(word, size) & (CACHE_SLOTS - 1)];
    if (r->size == size && !memcmp(r->word, word, size)) {
      for (int i = 0; i < r->count; i++)
        ZT_TRY(add_id(ids, r->ids[i]));
      return ZT_OK;
    }
  }
  size_t began = ids->count;
  int32_t whole = t->ignore_merges ? zt_bpe_table_find(t, word, size) : -1;
  if (whole >= 0)
    ZT_TRY(add_id(ids, whole));
  else
    ZT_TRY(merge_word(t, word, size, ids));
  size_t count = ids->count - began;
  if (r && size > 0 && count <= CACHE_IDS) {
    r->size = (uint8_t) size;
    r->count = (uint8_t) count;
    memcpy(r->word, word, size);
    memcpy(r->ids, ids->list + began, count * sizeof *r->ids);
  }
  return ZT_OK;
}
