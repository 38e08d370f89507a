/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokenizer/bpe_added.h"

#include "base/json.h"
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static zt_status read_one(json_t *object, const char *path,
                          zt_added_tokens *added) {
  const char *text = "";
  int64_t id = 0;
  bool special = false, word = false, left = false, right = false;
  if (!json_is_object(object))
    return zt_fail(ZT_ERR_DATA, "%.100s: an added token is no object", path);
  ZT_TRY(zt_json_string(object, path, "content", true, &text));
  ZT_TRY(zt_json_int(object, path, "id", true, 0, 1 << 24, &id));
  ZT_TRY(zt_json_bool(object, path, "special", false, &special));
  ZT_TRY(zt_json_bool(object, path, "single_word", false, &word));
  ZT_TRY(zt_json_bool(object, path, "lstrip", false, &left));
  ZT_TRY(zt_json_bool(object, path, "rstrip", false, &right));
  if (!*text)
    return zt_fail(ZT_ERR_DATA, "%.100s: an added token is empty", path);
  if (word || left || right)
    return zt_fail(ZT_ERR_DATA,
                   "%.90s: added token \"%.40s\" with %s is not supported",
                   path, text, word ? "single_word" : "lstrip or rstrip");
  if (!zt_grow(&added->list, &added->capacity, added->count,
               sizeof *added->list))
    return ZT_ERR_MEMORY;
  zt_added_token *token = &added->list[added->count];
  *token =
      (zt_added_token){zt_strdup(text), strlen(text), (int32_t) id, special};
  if (!token->text)
    return ZT_ERR_MEMORY;
  added->count++;
  added->begins[(unsigned char) *text] = true;
  if (token->size > added->longest)
    added->longest = token->size;
  if (id >= added->id_end)
    added->id_end = id + 1;
  return ZT_OK;
}

static int longer_first(const void *a, const void *b) {
  const zt_added_token *x = a, *y = b;
  if (x->size != y->size)
    return x->size > y->size ? -1 : 1;
  return strcmp(x->text, y->text);
}

zt_status zt_added_tokens_read(json_t *array, const char *path,
                               zt_added_tokens *added) {
  size_t i;
  json_t *object;
  *added = (zt_added_tokens){0};
  json_array_foreach(array, i, object) ZT_TRY(read_one(object, path, added));
  if (added->count > 0)
    qsort(added->list, added->count, sizeof *added->list, longer_first);
  return ZT_OK;
}

void zt_added_tokens_free(zt_added_tokens *added) {
  for (size_t i = 0; i < added->count; i++)
    free(added->list[i].text);
  free(added->list);
  *added = (zt_added_tokens){0};
}

const zt_added_token *zt_added_tokens_find(const zt_added_tokens *added,
                                           const char *text, size_t size,
                                           size_t *at) {
  if (added->count == 0)
    return NULL;
  for (*at = 0; *at < size; ++*at) {
    if (!added->begins[(unsigned char) text[*at]])
      continue;
    for (size_t i = 0; i < added->count; i++) {
      const zt_added_token *token = &added->list[i];
      if (token->size <= size - *at &&
          !memcmp(text + *at, token->text, token->size))
        return token;
    }
  }
  return NULL;
}

const zt_added_token *zt_added_token_named(const zt_added_tokens *added,
                                           const char *text) {
  for (size_t i = 0; i < added->count; i++)
    if (!strcmp(added->list[i].text, text))
      return &added->list[i];
  return NULL;
}

const zt_added_token *zt_added_token_of(const zt_added_tokens *added,
                                        int64_t id) {
  for (size_t i = 0; i < added->count; i++)
    if (added->list[i].id == id)
      return &added->list[i];
  return NULL;
}
