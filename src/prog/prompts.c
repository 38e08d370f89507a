/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/prompts.h"

#include "base/memory.h"
#include "comm/agree.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Reading ---- */

typedef struct reader {
  zt_tokenizer *tokenizer;
  const zt_model *model;
  zt_sequences *prompts;
  size_t start_capacity, ids_capacity;
  const char *path;
  int64_t line;
} reader;

static zt_status add_id(reader *r, int64_t id) {
  zt_sequences *p = r->prompts;
  size_t n = (size_t) p->start[p->count + 1];
  if (id < 0 || id >= r->model->shape.vocabulary)
    return zt_fail(ZT_ERR_DATA,
                   "%s:%" PRId64 ": id %" PRId64
                   " is not one of the model's 0 to %" PRId64,
                   r->path, r->line, id, r->model->shape.vocabulary - 1);
  if (!zt_grow(&p->ids, &r->ids_capacity, n, sizeof *p->ids))
    return ZT_ERR_MEMORY;
  p->ids[n] = (int32_t) id;
  p->start[p->count + 1]++;
  return ZT_OK;
}

/* Begin prompt number count; end_prompt() makes it count. */
static zt_status begin_prompt(reader *r) {
  zt_sequences *p = r->prompts;
  if (!zt_grow(&p->start, &r->start_capacity, (size_t) p->count + 1,
               sizeof *p->start))
    return ZT_ERR_MEMORY;
  p->start[p->count + 1] = p->start[p->count];
  return ZT_OK;
}

static zt_status end_prompt(reader *r) {
  zt_sequences *p = r->prompts;
  if (p->start[p->count + 1] == p->start[p->count])
    return zt_fail(ZT_ERR_DATA, "%s:%" PRId64 ": an empty prompt", r->path,
                   r->line);
  p->count++;
  return ZT_OK;
}

static zt_status take_ids(void *context, const int32_t *ids, size_t n) {
  for (size_t i = 0; i < n; i++)
    ZT_TRY(add_id(context, ids[i]));
  return ZT_OK;
}

static zt_status add_text(reader *r, const char *text, size_t size) {
  if (!r->tokenizer)
    return zt_fail(ZT_ERR_USAGE,
                   "%s:%" PRId64 ": text, but the model brings no tokenizer; "
                   "give ids, or --tokenizer bytes or FILE",
                   r->path, r->line);
  ZT_TRY(begin_prompt(r));
  if (!r->model->family->encoder && r->tokenizer->vocabulary.bos >= 0)
    ZT_TRY(add_id(r, r->tokenizer->vocabulary.bos));
  ZT_TRY(zt_tokenizer_encode(r->tokenizer, text, size, true, take_ids, r));
  if (r->model->family->encoder) /* a decoder goes on where the text ends */
    ZT_TRY(add_id(r, r->model->shape.eos_id));
  return end_prompt(r);
}

static zt_status add_array(reader *r, json_t *ids) {
  json_t *id;
  size_t i;
  ZT_TRY(begin_prompt(r));
  json_array_foreach(ids, i, id) {
    if (!json_is_integer(id))
      return zt_fail(ZT_ERR_DATA, "%s:%" PRId64 ": an id is no integer",
                     r->path, r->line);
    ZT_TRY(add_id(r, json_integer_value(id)));
  }
  return end_prompt(r);
}

static zt_status add_object(reader *r, json_t *object) {
  static const char *const keys[] = {"tokens", "text", "source"};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
    json_t *value = json_object_get(object, keys[i]);
    if (json_is_array(value))
      return add_array(r, value);
    if (json_is_string(value))
      return add_text(r, json_string_value(value), json_string_length(value));
  }
  return zt_fail(ZT_ERR_DATA,
                 "%s:%" PRId64 ": neither \"text\", \"tokens\" nor \"source\"",
                 r->path, r->line);
}

static zt_status read_lines(reader *r, FILE *file) {
  char *line = NULL;
  size_t capacity = 0;
  ssize_t n;
  zt_status status = ZT_OK;
  while (status == ZT_OK && (n = getline(&line, &capacity, file)) >= 0) {
    r->line++;
    if (line[strspn(line, " \t\r\n")] == '\0')
      continue;
    json_error_t error;
    json_t *object = json_loadb(
        line, (size_t) n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    status = object ? add_object(r, object)
                    : zt_fail(ZT_ERR_DATA, "%s:%" PRId64 ": not JSON: %.80s",
                              r->path, r->line, error.text);
    json_decref(object);
  }
  if (status == ZT_OK && ferror(file))
    status = zt_fail_errno(errno == EISDIR ? ZT_ERR_NOINPUT : ZT_ERR_IO,
                           "%s: cannot read", r->path);
  free(line);
  return status;
}

static zt_status read_input(reader *r, const char *path) {
  if (!strcmp(path, "-")) {
    r->path = "standard input";
    return read_lines(r, stdin);
  }
  FILE *file = fopen(path, "r");
  if (!file)
    return zt_fail_open(path);
  r->path = path;
  zt_status status = read_lines(r, file);
  fclose(file);
  return status;
}

static zt_status add_words(reader *r, const char *words) {
  r->path = "--tokens";
  ZT_TRY(begin_prompt(r));
  while (words[strspn(words, " ,\t")]) {
    char *end;
    errno = 0;
    long id = strtol(words, &end, 10);
    if (end == words || errno)
      return zt_fail(ZT_ERR_USAGE, "--tokens: '%.40s' is no id", words);
    ZT_TRY(add_id(r, id));
    words = end + strspn(end, " ,\t");
  }
  return end_prompt(r);
}

zt_status zt_read_prompts(const zt_prompt_options *options,
                          zt_tokenizer *tokenizer, const zt_model *model,
                          zt_sequences *prompts) {
  reader r = {.tokenizer = tokenizer, .model = model, .prompts = prompts};
  *prompts = (zt_sequences){0};
  if (!zt_grow(&prompts->start, &r.start_capacity, 0, sizeof *prompts->start))
    return ZT_ERR_MEMORY;
  zt_status status = ZT_OK;
  if (options->text) {
    r.path = "--prompt";
    status = add_text(&r, options->text, strlen(options->text));
  } else if (options->tokens) {
    status = add_words(&r, options->tokens);
  } else {
    status = read_input(&r, options->input);
  }
  if (status != ZT_OK)
    zt_sequences_free(prompts);
  return status;
}

zt_status zt_share_prompts(zt_comm *comm, zt_sequences *prompts) {
  int64_t sizes[2] = {0, 0}; /* prompts, ids */
  if (comm->rank == 0) {
    sizes[0] = prompts->count;
    sizes[1] = prompts->start[prompts->count];
  }
  ZT_TRY(zt_comm_broadcast(comm, sizes, sizeof sizes, 0));
  zt_status status = ZT_OK;
  if (comm->rank != 0) {
    *prompts = (zt_sequences){
        .count = sizes[0],
        .start = zt_calloc((size_t) sizes[0] + 1, sizeof *prompts->start),
        .ids = zt_calloc((size_t) sizes[1], sizeof *prompts->ids)};
    if (!prompts->start || !prompts->ids)
      status = ZT_ERR_MEMORY;
  }
  ZT_TRY(zt_agree(comm, status));
  ZT_TRY(zt_comm_broadcast(comm, prompts->start,
                           ((size_t) sizes[0] + 1) * sizeof *prompts->start,
                           0));
  return zt_comm_broadcast(comm, prompts->ids,
                           (size_t) sizes[1] * sizeof *prompts->ids, 0);
}
