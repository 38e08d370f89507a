/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokenizer/bpe_split.h"

#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
  MOST_STAGES = 8,
  JIT_STACK = 1 << 20, /* bytes, for patterns that look far back */
  MATCH_LIMIT = 50000000
};

/* The pattern of GPT-2, which ByteLevel means when it uses one. */
static const char gpt2_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+"
                                   "| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
/* O'Brien and O’Brien: some patterns keep what follows with the word. */
static const char safe_pattern[] =
    "[\\p{L}\\p{N}](?=\\s)|\\p{L}(?=(?!['\\x{2019}])\\p{P})";

typedef struct pattern {
  pcre2_code *code;
  pcre2_match_data *found;
} pattern;

struct zt_bpe_split {
  const char *path;
  pattern stages[MOST_STAGES];
  int count;
  pattern safe;
  pcre2_match_context *limits;
  pcre2_jit_stack *stack;
};

/* ---- Patterns ---- */

/* White space in the reference's library is the property of Unicode, which
 * PCRE2's \s is not quite (U+180E): write it out. */
static void spell_white_space(const char *text, zt_text *out) {
  static const char members[] = "\\p{Z}\\t-\\r\\x{85}";
  bool in_class = false;
  for (const char *c = text; *c; c++) {
    if (*c == '\\' && (c[1] == 's' || (c[1] == 'S' && !in_class))) {
      zt_text_add(out,
                  in_class      ? "%s"
                  : c[1] == 's' ? "[%s]"
                                : "[^%s]",
                  members);
      c++;
      continue;
    }
    zt_text_append(out, c, *c == '\\' && c[1] ? 2 : 1);
    if (*c == '\\' && c[1])
      c++;
    else if (*c == '[')
      in_class = true;
    else if (*c == ']')
      in_class = false;
  }
}

static zt_status compile(const char *text, const char *path, pattern *to) {
  int error;
  PCRE2_SIZE at;
  PCRE2_UCHAR reason[80];
  zt_text spelled = {0};
  spell_white_space(text, &spelled);
  if (spelled.failed || !spelled.data)
    return zt_fail(ZT_ERR_MEMORY, "no memory for a pattern of %.100s", path);
  to->code = pcre2_compile((PCRE2_SPTR) spelled.data, spelled.size,
                           PCRE2_UTF | PCRE2_UCP, &error, &at, NULL);
  zt_text_free(&spelled);
  if (!to->code) {
    pcre2_get_error_message(error, reason, sizeof reason);
    return zt_fail(ZT_ERR_DATA, "%.80s: pattern \"%.30s...\": %.60s", path,
                   text, (char *) reason);
  }
  /* Where there is no compiler to machine code, matching is slower. */
  (void) pcre2_jit_compile(to->code, PCRE2_JIT_COMPLETE);
  to->found = pcre2_match_data_create_from_pattern(to->code, NULL);
  return to->found ? ZT_OK : zt_fail(ZT_ERR_MEMORY, "no memory for a pattern");
}

static void free_pattern(pattern *p) {
  pcre2_match_data_free(p->found);
  pcre2_code_free(p->code);
}

/* The next match from `at` on.  *end is 0 if there is none. */
static zt_status next_match(const zt_bpe_split *s, const pattern *p,
                            const char *text, size_t size, size_t at,
                            size_t *begin, size_t *end) {
  int rc =
      pcre2_match(p->code, (PCRE2_SPTR) text, size, at,
                  PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, p->found, s->limits);
  *begin = *end = 0;
  if (rc == PCRE2_ERROR_NOMATCH)
    return ZT_OK;
  if (rc < 0)
    return zt_fail(ZT_ERR_DATA,
                   "%.100s: its pattern gives up on the text (PCRE2 %d)",
                   s->path, rc);
  const PCRE2_SIZE *span = pcre2_get_ovector_pointer(p->found);
  *begin = span[0];
  *end = span[1];
  return ZT_OK;
}

/* ---- Rules ---- */

static zt_status add_stage(zt_bpe_split *s, const char *text) {
  if (s->count == MOST_STAGES)
    return zt_fail(ZT_ERR_DATA, "%.100s: more than %d pre-tokenizers", s->path,
                   MOST_STAGES);
  return compile(text, s->path, &s->stages[s->count++]);
}

static zt_status add_split(zt_bpe_split *s, json_t *rule) {
  const char *behavior = "", *text = NULL;
  json_t *which = json_object_get(rule, "pattern");
  ZT_TRY(zt_json_string(rule, s->path, "behavior", true, &behavior));
  if (strcmp(behavior, "Isolated"))
    return zt_fail(ZT_ERR_DATA,
                   "%.100s: pre-tokenizer Split with behavior \"%.30s\" is not "
                   "known (Isolated is)",
                   s->path, behavior);
  text = json_string_value(json_object_get(which, "Regex"));
  if (!text || !*text)
    return zt_fail(ZT_ERR_DATA, "%.100s: pre-tokenizer Split without a Regex",
                   s->path);
  return add_stage(s, text);
}

static zt_status add_byte_level(zt_bpe_split *s, json_t *rule) {
  bool prefix = true, use_regex = true;
  ZT_TRY(zt_json_bool(rule, s->path, "add_prefix_space", false, &prefix));
  ZT_TRY(zt_json_bool(rule, s->path, "use_regex", false, &use_regex));
  if (prefix)
    return zt_fail(ZT_ERR_DATA,
                   "%.100s: ByteLevel with add_prefix_space is not supported",
                   s->path);
  return use_regex ? add_stage(s, gpt2_pattern) : ZT_OK;
}

static zt_status add_rule(zt_bpe_split *s, json_t *rule, bool nested) {
  const char *type = "";
  bool individual = false;
  ZT_TRY(zt_json_string(rule, s->path, "type", true, &type));
  if (!strcmp(type, "Split"))
    return add_split(s, rule);
  if (!strcmp(type, "ByteLevel"))
    return add_byte_level(s, rule);
  if (!strcmp(type, "Digits")) {
    ZT_TRY(
        zt_json_bool(rule, s->path, "individual_digits", false, &individual));
    return add_stage(s, individual ? "\\p{N}" : "\\p{N}+");
  }
  if (strcmp(type, "Sequence") || nested)
    return zt_fail(ZT_ERR_DATA, "%.100s: pre-tokenizer %.40s is not known",
                   s->path, type);
  size_t i;
  json_t *member;
  json_array_foreach(json_object_get(rule, "pretokenizers"), i, member)
      ZT_TRY(add_rule(s, member, true));
  return ZT_OK;
}

/* The table speaks bytes: something must turn text into them. */
static bool is_byte_level(json_t *rule) {
  size_t i;
  json_t *member;
  const char *type = json_string_value(json_object_get(rule, "type"));
  if (type && !strcmp(type, "ByteLevel"))
    return true;
  json_array_foreach(json_object_get(rule, "pretokenizers"), i, member) {
    if (is_byte_level(member))
      return true;
  }
  return false;
}

static zt_status fill(zt_bpe_split *s, json_t *rule) {
  if (!is_byte_level(rule))
    return zt_fail(ZT_ERR_DATA,
                   "%.100s: no byte-level BPE; if a SentencePiece model "
                   "(tokenizer.model) belongs to it, use that",
                   s->path);
  s->limits = pcre2_match_context_create(NULL);
  s->stack = pcre2_jit_stack_create(32 << 10, JIT_STACK, NULL);
  if (!s->limits || !s->stack)
    return zt_fail(ZT_ERR_MEMORY, "no memory for the patterns of %.100s",
                   s->path);
  pcre2_set_match_limit(s->limits, MATCH_LIMIT);
  pcre2_jit_stack_assign(s->limits, NULL, s->stack);
  ZT_TRY(add_rule(s, rule, false));
  return compile(safe_pattern, s->path, &s->safe);
}

zt_status zt_bpe_split_create(json_t *rule, const char *path,
                              zt_bpe_split **split) {
  zt_bpe_split *s = zt_calloc(1, sizeof *s);
  if (!s)
    return ZT_ERR_MEMORY;
  s->path = path;
  zt_status status = fill(s, rule);
  if (status != ZT_OK)
    zt_bpe_split_destroy(&s);
  *split = s;
  return status;
}

void zt_bpe_split_destroy(zt_bpe_split **split) {
  zt_bpe_split *s = *split;
  if (!s)
    return;
  for (int i = 0; i < s->count; i++)
    free_pattern(&s->stages[i]);
  free_pattern(&s->safe);
  pcre2_match_context_free(s->limits);
  pcre2_jit_stack_free(s->stack);
  free(s);
  *split = NULL;
}

/* ---- Splitting ---- */

/* Matches and what lies between them are words for the next stage, each as if
 * it stood alone. */
static zt_status run_stage(zt_bpe_split *s, int stage, const char *text,
                           size_t size, zt_word_sink sink, void *context) {
  if (size == 0)
    return ZT_OK;
  if (stage == s->count)
    return sink(context, text, size);
  for (size_t at = 0, begin, end; at < size; at = end) {
    ZT_TRY(next_match(s, &s->stages[stage], text, size, at, &begin, &end));
    if (end == 0)
      return run_stage(s, stage + 1, text + at, size - at, sink, context);
    ZT_TRY(run_stage(s, stage + 1, text + at, begin - at, sink, context));
    ZT_TRY(run_stage(s, stage + 1, text + begin, end - begin, sink, context));
  }
  return ZT_OK;
}

zt_status zt_bpe_split_text(zt_bpe_split *s, const char *text, size_t size,
                            zt_word_sink sink, void *context) {
  return run_stage(s, 0, text, size, sink, context);
}

size_t zt_bpe_split_safe(zt_bpe_split *s, const char *text, size_t size) {
  size_t last = 0;
  /* From ever farther before the end, since one is near as a rule. */
  for (size_t back = 1024; last == 0; back *= 16) {
    size_t from = back < size ? size - back : 0, begin, end;
    while (from > 0 && ((unsigned char) text[from] & 0xC0) == 0x80)
      from--;
    while (from < size &&
           next_match(s, &s->safe, text, size, from, &begin, &end) == ZT_OK &&
           end > 0)
      last = from = end;
    if (back >= size)
      break;
  }
  return last;
}
