/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokenizer/tokenizer.h"

#include "base/json.h"
#include "config.h"
#include "tokenizer/bpe.h"
#include "tokenizer/bytes.h"
#include "tokenizer/sentencepiece.h"

#include <stdio.h>
#include <string.h>

enum { CONFIG_LIMIT = 64 << 20 }; /* bytes of a tokenizer_config.json */

/* A tokenizer.json begins with a brace; a SentencePiece model never does. */
static zt_status is_json(const char *path, bool *json) {
  FILE *file = fopen(path, "rb");
  int c = ' ';
  if (!file)
    return zt_fail_open(path);
  while (c == ' ' || (c >= '\t' && c <= '\r'))
    c = fgetc(file);
  *json = c == '{';
  fclose(file);
  return ZT_OK;
}

zt_status zt_tokenizer_open(const char *name, zt_tokenizer **tokenizer) {
  return zt_tokenizer_open_with(name, NULL, tokenizer);
}

zt_status zt_tokenizer_open_with(const char *name, const char *config,
                                 zt_tokenizer **tokenizer) {
  bool json = false;
  *tokenizer = NULL;
  if (!strcmp(name, "bytes"))
    return zt_bytes_create(tokenizer);
  ZT_TRY(is_json(name, &json));
  if (json)
    return zt_bpe_open(name, config, tokenizer);
#ifdef ZT_HAVE_SENTENCEPIECE
  return zt_sentencepiece_open(name, config, tokenizer);
#else
  return zt_fail(ZT_ERR_UNAVAILABLE,
                 "tokenizer %.100s: this build has no SentencePiece; use "
                 "'bytes', or configure --with-sentencepiece",
                 name);
#endif
}

zt_status zt_tokenizer_config_read(const char *path, const char *where,
                                   json_t **config) {
  char beside[PATH_MAX];
  const char *slash = strrchr(path, '/');
  *config = NULL;
  if (where)
    return zt_json_read(where, CONFIG_LIMIT, config);
  ZT_TRY(zt_path(beside, "%.*stokenizer_config.json",
                 slash ? (int) (slash + 1 - path) : 0, path));
  zt_status status = zt_json_read(beside, CONFIG_LIMIT, config);
  return status == ZT_ERR_NOINPUT ? ZT_OK : status;
}

void zt_tokenizer_close(zt_tokenizer **tokenizer) {
  if (*tokenizer)
    (*tokenizer)->ops->destroy(*tokenizer);
  *tokenizer = NULL;
}

zt_status zt_tokenizer_encode(zt_tokenizer *tokenizer, const char *text,
                              size_t size, bool last, zt_id_sink sink,
                              void *context) {
  return tokenizer->ops->encode(tokenizer, text, size, last, sink, context);
}

zt_status zt_tokenizer_decode(zt_tokenizer *tokenizer, const int32_t *ids,
                              size_t n, zt_text *text) {
  ZT_TRY(tokenizer->ops->decode(tokenizer, ids, n, text));
  return text->failed ? zt_fail(ZT_ERR_MEMORY, "out of memory for decoded text")
                      : ZT_OK;
}
