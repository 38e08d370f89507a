/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/answers.h"

#include "base/memory.h"
#include "comm/agree.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NEW_TOKENS = 128 }; /* of an answer without an encoder, by default */

zt_status zt_answers_spec(const zt_settings *s, const zt_model *model,
                          zt_generate_spec *spec) {
  const bool encoder = model->family->encoder;
  const int64_t positions = model->shape.positions;
  const int64_t most = s->train.eval_generate, slots = s->train.microbatch;
  int64_t fresh = s->train.eval_max_new_tokens;
  if (fresh == 0)
    fresh = encoder ? s->data.target_length : NEW_TOKENS;
  int64_t longest = encoder ? s->data.source_length : s->data.length - 1;
  if (!encoder && positions > 0 && longest > positions - fresh + 1)
    longest = positions - fresh + 1;
  *spec = (zt_generate_spec){.batch = slots < most ? slots : most,
                             .max_new_tokens = fresh,
                             .prefetch = (int) s->zero.prefetch,
                             .longest_prompt = longest};
  if (longest >= 1)
    return ZT_OK;
  return zt_fail(ZT_ERR_CONFIG,
                 "train.eval_max_new_tokens: %" PRId64 " new tokens leave no "
                 "room for a question in the model's %" PRId64 " positions",
                 fresh, positions);
}

/* ---- Questions ---- */

/* Texts that grow. */
typedef struct writer {
  zt_sequences *to;
  size_t starts, ids; /* capacities */
} writer;

static zt_status add_text(writer *w, const int32_t *ids, int64_t n) {
  zt_sequences *s = w->to;
  int64_t end = s->count > 0 ? s->start[s->count] : 0;
  if (!zt_grow(&s->start, &w->starts, (size_t) s->count + 1, sizeof *s->start))
    return ZT_ERR_MEMORY;
  while (w->ids < (size_t) (end + n))
    if (!zt_grow(&s->ids, &w->ids, w->ids, sizeof *s->ids))
      return ZT_ERR_MEMORY;
  memcpy(s->ids + end, ids, (size_t) n * sizeof *ids);
  s->start[s->count] = end;
  s->start[++s->count] = end + n;
  return ZT_OK;
}

typedef struct reader {
  zt_answers *answers;
  int64_t most;
  writer questions, expected;
} reader;

/* One that is too long keeps its end, where the question is. */
static zt_status add_question(reader *r, const int32_t *question, int64_t n,
                              const int32_t *answer, int64_t m) {
  int64_t longest = r->answers->spec.longest_prompt;
  if (n > longest) {
    question += n - longest;
    n = longest;
  }
  if (r->answers->questions.count == r->most)
    return ZT_OK;
  ZT_TRY(add_text(&r->questions, question, n));
  return add_text(&r->expected, answer, m);
}

static int64_t count_labels(const int32_t *labels, int64_t n) {
  int64_t count = 0;
  while (count < n && labels[count] >= 0)
    count++;
  return count;
}

/* Each run of labels is an answer: it never goes on into the next document. */
static zt_status add_text_questions(reader *r, const zt_micro_batch *m,
                                    int64_t length) {
  for (int64_t at = 0; at < length;) {
    int64_t n = count_labels(m->labels + at, length - at);
    int64_t begin = m->first ? m->first[at] : 0;
    if (n > 0)
      ZT_TRY(add_question(r, m->target + begin, at + 1 - begin, m->labels + at,
                          n));
    at += n > 0 ? n : 1;
  }
  return ZT_OK;
}

static zt_status read_samples(reader *r, const zt_settings *s, bool encoder,
                              const zt_data *valid, zt_micro_batch *m) {
  int64_t length = encoder ? s->data.target_length : s->data.length;
  for (int64_t i = 0; i < zt_batch_samples(valid->batch) &&
                      r->answers->questions.count < r->most;
       i++) {
    ZT_TRY(zt_batch_fill(valid->batch, 1, i, 1, m));
    ZT_TRY(encoder ? add_question(r, m->source, m->source_valid[0], m->labels,
                                  count_labels(m->labels, length))
                   : add_text_questions(r, m, length));
  }
  return ZT_OK;
}

static zt_status check_files(const zt_settings *s, const zt_data *valid) {
  const zt_tokens_info *info = zt_tokens_about(valid->tokens[0]);
  if (s->data.task != ZT_TASK_CAUSAL || info->pairs || info->masked)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%s: plain text has no questions, which train.eval_generate "
                 "takes: use pairs or conversations, or leave it at 0",
                 zt_tokens_path(valid->tokens[0]));
}

static zt_status read_questions(const zt_settings *s, const zt_model *model,
                                const zt_data *valid, zt_answers *a) {
  const bool encoder = model->family->encoder;
  size_t source = encoder ? (size_t) s->data.source_length : 0;
  size_t target = (size_t) (encoder ? s->data.target_length : s->data.length);
  int32_t *ids = zt_calloc(source + 1 + 3 * target, sizeof *ids);
  if (!ids)
    return ZT_ERR_MEMORY;
  zt_micro_batch m = {.source = ids,
                      .source_valid = ids + source,
                      .target = ids + source + 1,
                      .labels = ids + source + 1 + target};
  if (!encoder && s->data.packing)
    m.first = m.labels + target;
  reader r = {.answers = a,
              .most = s->train.eval_generate,
              .questions = {.to = &a->questions},
              .expected = {.to = &a->expected}};
  zt_status status = read_samples(&r, s, encoder, valid, &m);
  free(ids);
  if (status == ZT_OK && a->questions.count == 0)
    status = zt_fail(ZT_ERR_DATA, "%s: holds no question",
                     zt_tokens_path(valid->tokens[0]));
  return status;
}

zt_status zt_answers_create(const zt_settings *settings, const zt_model *model,
                            const zt_data *valid, zt_answers **answers) {
  zt_generate_spec spec;
  *answers = NULL;
  ZT_TRY(zt_answers_spec(settings, model, &spec));
  ZT_TRY(check_files(settings, valid));
  zt_answers *a = zt_calloc(1, sizeof *a);
  if (!a)
    return ZT_ERR_MEMORY;
  a->spec = spec;
  zt_status status = read_questions(settings, model, valid, a);
  if (status != ZT_OK)
    zt_answers_destroy(&a);
  *answers = a;
  return status;
}

void zt_answers_destroy(zt_answers **answers) {
  zt_answers *a = *answers;
  *answers = NULL;
  if (!a)
    return;
  zt_sequences_free(&a->questions);
  zt_sequences_free(&a->expected);
  zt_sequences_free(&a->given);
  free(a);
}

/* ---- Comparing ---- */

static int by_id(const void *a, const void *b) {
  int32_t x = *(const int32_t *) a, y = *(const int32_t *) b;
  return (x > y) - (x < y);
}

/* Tokens of a text without the end. */
static int64_t length_of(const zt_model *model, const zt_sequences *s,
                         int64_t i) {
  int64_t n = s->start[i + 1] - s->start[i];
  for (int k = 0; n > 0 && k < model->shape.n_stop_ids; k++)
    if (s->ids[s->start[i + 1] - 1] == model->shape.stop_ids[k])
      return n - 1;
  return n;
}

/* Of two texts; sorts both. */
static int64_t count_common(int32_t *a, int64_t n, int32_t *b, int64_t m) {
  int64_t common = 0;
  qsort(a, (size_t) n, sizeof *a, by_id);
  qsort(b, (size_t) m, sizeof *b, by_id);
  for (int64_t i = 0, j = 0; i < n && j < m;) {
    int order = by_id(&a[i], &b[j]);
    common += order == 0;
    i += order <= 0;
    j += order >= 0;
  }
  return common;
}

static int64_t longest_of(const zt_sequences *s) {
  int64_t most = 0;
  for (int64_t i = 0; i < s->count; i++)
    if (s->start[i + 1] - s->start[i] > most)
      most = s->start[i + 1] - s->start[i];
  return most;
}

zt_status zt_answers_compare(const zt_model *model,
                             const zt_sequences *expected,
                             const zt_sequences *given, double *exact,
                             double *f1) {
  int64_t room = longest_of(expected);
  int32_t *a = zt_calloc((size_t) (room + longest_of(given)) + 1, sizeof *a);
  double equal = 0, sum = 0;
  if (!a)
    return ZT_ERR_MEMORY;
  int32_t *b = a + room;
  for (int64_t i = 0; i < expected->count; i++) {
    int64_t n = length_of(model, expected, i), m = length_of(model, given, i);
    memcpy(a, expected->ids + expected->start[i], (size_t) n * sizeof *a);
    memcpy(b, given->ids + given->start[i], (size_t) m * sizeof *b);
    equal += n == m && !memcmp(a, b, (size_t) n * sizeof *a);
    sum += n + m == 0
               ? 1
               : 2 * (double) count_common(a, n, b, m) / (double) (n + m);
  }
  free(a);
  *exact = equal / (double) expected->count;
  *f1 = sum / (double) expected->count;
  return ZT_OK;
}

/* ---- Answering ---- */

zt_status zt_answers_generate(zt_answers *a, const zt_step *step,
                              int64_t needed, int64_t *stopped) {
  zt_zero3 *z = step->zero3;
  zt_generate_report report = {0};
  zt_sequences_free(&a->given);
  a->spec.master = z->master;
  a->spec.needed = needed;
  zt_status status = zt_generate(z->model, z->dev, z->comm, NULL, &a->questions,
                                 &a->spec, &a->given, &report);
  *stopped = report.stopped;
  ZT_TRY(status);
  return zt_agree(z->comm, zt_answers_compare(z->model, &a->expected, &a->given,
                                              &a->exact, &a->f1));
}
