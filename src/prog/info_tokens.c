/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo show, of a token file. */
#include "base/text.h"
#include "comm/agree.h"
#include "io/tokens.h"
#include "prog/info.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void add_json(zt_text *text, const zt_tokens_info *info) {
  zt_text_add(text,
              "{\"kind\": \"tokens\", \"pairs\": %s, \"documents\": %" PRId64
              ", \"tokens\": [%" PRId64,
              info->pairs ? "true" : "false", info->documents, info->tokens[0]);
  if (info->pairs)
    zt_text_add(text, ", %" PRId64, info->tokens[1]);
  zt_text_add(
      text,
      "], \"width\": %d, \"vocabulary\": %" PRId64 ", \"eos\": %" PRId64
      ", \"pad\": %" PRId64 ", \"sentinel\": %" PRId64 ", \"tokenizer\": ",
      info->width, info->vocabulary, info->eos, info->pad, info->sentinel);
  zt_text_add_json(text, info->tokenizer, strlen(info->tokenizer));
  zt_text_add(text, "%s, \"digest\": \"%016" PRIx64 "\"}\n",
              info->masked ? ", \"masked\": true" : "", info->digest);
}

static void add_id(zt_text *text, const char *name, const char *none,
                   int64_t id) {
  if (id < 0)
    zt_text_add(text, ", %s", none);
  else
    zt_text_add(text, ", %s %" PRId64, name, id);
}

static void add_stream(zt_text *text, const char *name,
                       const zt_tokens_info *info, int stream) {
  char size[32];
  int64_t n = info->tokens[stream];
  zt_text_add(text, "  %-11s %" PRId64 ", uint%d, %s, %.1f a document\n", name,
              n, 8 * info->width,
              zt_human_bytes((double) n * info->width, size),
              (double) n / (double) info->documents);
}

static void add_lines(zt_text *text, const char *path,
                      const zt_tokens_info *info) {
  zt_text_add(text, "%s: token file\n  %-11s %" PRId64 "\n", path,
              info->pairs ? "pairs:" : "documents:", info->documents);
  add_stream(text, info->pairs ? "source:" : "tokens:", info, ZT_STREAM_SOURCE);
  if (info->pairs)
    add_stream(text, "target:", info, ZT_STREAM_TARGET);
  if (info->masked)
    zt_text_add(text, "  %-11s tells which tokens are learnt\n", "mask:");
  zt_text_add(text, "  %-11s %" PRId64, "vocabulary:", info->vocabulary);
  add_id(text, "end", "no end", info->eos);
  add_id(text, "pad", "no pad", info->pad);
  add_id(text, "first sentinel", "no sentinels", info->sentinel);
  zt_text_add(text, "\n  %-11s %s\n  %-11s %016" PRIx64 "\n",
              "tokenizer:", info->tokenizer, "digest:", info->digest);
}

static zt_status show(const char *path, int64_t samples, const char *tokenizer,
                      bool json) {
  zt_tokens *tokens;
  ZT_TRY(zt_tokens_open(path, &tokens));
  zt_text text = {0};
  if (json)
    add_json(&text, zt_tokens_about(tokens));
  else
    add_lines(&text, path, zt_tokens_about(tokens));
  zt_status status =
      zt_info_add_samples(&text, tokens, samples, tokenizer, json);
  zt_tokens_close(&tokens);
  if (status == ZT_OK && text.failed)
    status = zt_fail(ZT_ERR_MEMORY, "out of memory");
  else if (status == ZT_OK &&
           (fputs(text.data, stdout) < 0 || fflush(stdout) != 0))
    status = zt_fail_errno(ZT_ERR_IO, "standard output: cannot write");
  zt_text_free(&text);
  return status;
}

zt_status zt_info_show_tokens(zt_program *program, const char *path,
                              int64_t samples, const char *tokenizer,
                              bool json) {
  zt_status status = ZT_OK;
  if (program->comm->rank == 0)
    status = show(path, samples, tokenizer, json);
  return zt_agree(program->comm, status);
}
