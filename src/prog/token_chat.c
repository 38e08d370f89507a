/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/token_chat.h"

#include "base/text.h"
#include "prog/token_input.h"

#include <inttypes.h>
#include <string.h>

/* A conversation is `begin`, then for each message before_role, the role,
 * after_role, the content, after_content and `between`. */
struct zt_chat_template {
  const char *name;
  const char *begin, *before_role, *after_role, *after_content, *between;
  bool trims; /* blanks around the content are dropped */
};

static const zt_chat_template templates[] = {
    {"chatml", "", "<|im_start|>", "\n", "<|im_end|>", "\n", false},
    {"llama3", "<|begin_of_text|>", "<|start_header_id|>",
     "<|end_header_id|>\n\n", "<|eot_id|>", "", true},
};
enum { TEMPLATES = sizeof templates / sizeof *templates };

zt_status zt_chat_template_named(const char *name,
                                 const zt_chat_template **format) {
  for (int i = 0; i < TEMPLATES; i++)
    if (!strcmp(name, templates[i].name)) {
      *format = &templates[i];
      return ZT_OK;
    }
  return zt_fail(ZT_ERR_USAGE,
                 "--template %.30s: chatml and llama3 are known; render others "
                 "outside (apply_chat_template) into \"prompt\" and "
                 "\"completion\"",
                 name);
}

/* ---- The template that suits a tokenizer ---- */

static zt_status count_ids(void *context, const int32_t *ids, size_t n) {
  (void) ids;
  *(size_t *) context += n;
  return ZT_OK;
}

/* Whether a mark, without the blanks behind it, is one id. */
static zt_status is_known(zt_tokenizer *t, const char *mark, bool *known) {
  size_t size = strlen(mark), count = 0;
  while (size > 0 && mark[size - 1] == '\n')
    size--;
  if (size > 0)
    ZT_TRY(zt_tokenizer_encode(t, mark, size, true, count_ids, &count));
  *known = *known && (size == 0 || count == 1);
  return ZT_OK;
}

static zt_status suits(zt_tokenizer *t, const zt_chat_template *f, bool *good) {
  *good = true;
  ZT_TRY(is_known(t, f->begin, good));
  ZT_TRY(is_known(t, f->before_role, good));
  ZT_TRY(is_known(t, f->after_role, good));
  return is_known(t, f->after_content, good);
}

static zt_status choose_template(zt_token_input *in, const char *path) {
  bool good = false;
  if (!in->tokenizer)
    return zt_fail(ZT_ERR_USAGE, "%s: is text; give --tokenizer FILE", path);
  for (int i = 0; i < TEMPLATES && !in->chat_checked; i++) {
    if (in->chat && in->chat != &templates[i])
      continue;
    ZT_TRY(suits(in->tokenizer, &templates[i], &good));
    if (good) {
      in->chat = &templates[i];
      in->chat_checked = true;
    }
  }
  if (in->chat_checked)
    return ZT_OK;
  return zt_fail(ZT_ERR_USAGE,
                 "%s: the tokenizer lacks the marks of %s; render \"messages\" "
                 "outside (apply_chat_template) into \"prompt\" and "
                 "\"completion\"",
                 path, in->chat ? in->chat->name : "chatml and llama3");
}

/* ---- Messages ---- */

static zt_status fail_message(const char *path, int64_t line, size_t index,
                              const char *what) {
  return zt_fail(ZT_ERR_DATA, "%s:%" PRId64 ": messages[%zu]: %s", path, line,
                 index, what);
}

typedef struct piece {
  zt_token_input *in;
  bool learnt;
} piece;

static zt_status add_ids(void *context, const int32_t *ids, size_t n) {
  const piece *p = context;
  ZT_TRY(zt_token_put(p->in, ZT_STREAM_TEXT, ids, n));
  return zt_token_put_mask(p->in, p->learnt, n);
}

/* Encode what has gathered, and begin anew.  The assistant's words are encoded
 * for themselves, as they come about when a model writes them. */
static zt_status flush(zt_token_input *in, zt_text *text, bool learnt) {
  piece p = {.in = in, .learnt = learnt};
  if (text->failed)
    return zt_fail(ZT_ERR_MEMORY, "out of memory for a conversation");
  if (text->size == 0)
    return ZT_OK;
  zt_status status = zt_tokenizer_encode(in->tokenizer, text->data, text->size,
                                         true, add_ids, &p);
  text->size = 0;
  return status;
}

static bool is_blank(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

static void add_content(zt_text *text, const zt_chat_template *f,
                        const json_t *content) {
  const char *from = json_string_value(content);
  size_t size = json_string_length(content);
  while (f->trims && size > 0 && is_blank(*from))
    from++, size--;
  while (f->trims && size > 0 && is_blank(from[size - 1]))
    size--;
  zt_text_append(text, from, size);
  zt_text_add(text, "%s", f->after_content);
}

static zt_status add_messages(zt_token_input *in, const char *path,
                              int64_t line, const json_t *messages,
                              zt_text *text) {
  const zt_chat_template *f = in->chat;
  bool any = false;
  zt_text_add(text, "%s", f->begin);
  for (size_t i = 0; i < json_array_size(messages); i++) {
    const json_t *message = json_array_get(messages, i);
    const json_t *content = json_object_get(message, "content");
    const char *role = json_string_value(json_object_get(message, "role"));
    if (!role)
      return fail_message(path, line, i, "no \"role\"");
    if (!json_is_string(content))
      return fail_message(path, line, i,
                          "\"content\" is no text; render it outside "
                          "(apply_chat_template) into \"prompt\" and "
                          "\"completion\"");
    bool learnt = !strcmp(role, "assistant");
    any = any || learnt;
    zt_text_add(text, "%s%s%s", f->before_role, role, f->after_role);
    if (learnt)
      ZT_TRY(flush(in, text, false));
    add_content(text, f, content);
    if (learnt)
      ZT_TRY(flush(in, text, true));
    zt_text_add(text, "%s", f->between);
  }
  if (!any)
    return zt_fail(ZT_ERR_DATA,
                   "%s:%" PRId64 ": no message has the role \"assistant\": "
                   "there is nothing to learn",
                   path, line);
  ZT_TRY(flush(in, text, false));
  return zt_token_put_end(in, ZT_STREAM_TEXT);
}

zt_status zt_token_chat_add(zt_token_input *in, const char *path, int64_t line,
                            const json_t *messages) {
  zt_text text = {0};
  ZT_TRY(choose_template(in, path));
  ZT_TRY(zt_token_input_expect(in, path, line, ZT_TOKENS_CHATS));
  zt_status status = add_messages(in, path, line, messages, &text);
  zt_text_free(&text);
  return status;
}
