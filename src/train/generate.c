/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/generate.h"

#include "base/memory.h"
#include "comm/agree.h"
#include "comm/comm_null.h"
#include "device/device_null.h"
#include "model/pass.h"
#include "train/state.h"
#include "train/watch.h"
#include "train/zero3.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct generator {
  const zt_model *model;
  zt_comm *comm;
  const zt_generate_spec *spec;
  const zt_sequences *prompts;
  zt_zero3 *zero3;
  zt_pass *pass;
  int64_t source_length, target_length;
  int *visits; /* [stages] */
  /* One batch of this rank. */
  int32_t *source, *valid; /* [batch, source_length], [batch] */
  int32_t *target;         /* [batch, target_length] */
  int64_t *filled;         /* [batch] tokens that stand in the target */
  int64_t *rows;           /* [batch] the last of them, where one is chosen */
  int32_t *next;           /* [batch] */
  bool *done;              /* [batch] */
  /* All results so far: [prompts, max_new_tokens] and their lengths; each rank
   * has its own, zero elsewhere, until they are added up. */
  int64_t *tokens, *lengths;
} generator;

/* ---- Creation ---- */

static zt_status check_prompts(const generator *g) {
  const zt_model *model = g->model;
  const zt_sequences *prompts = g->prompts;
  if (model->shape.positions > 0 && g->target_length > model->shape.positions)
    return zt_fail(ZT_ERR_DATA,
                   "a prompt and %" PRId64 " new tokens are %" PRId64
                   " tokens, more than the model's %" PRId64
                   " positions; use a shorter one or --max-new-tokens",
                   g->spec->max_new_tokens, g->target_length,
                   model->shape.positions);
  for (int64_t i = 0; i < prompts->count; i++) {
    if (prompts->start[i] == prompts->start[i + 1])
      return zt_fail(ZT_ERR_DATA, "prompt %" PRId64 " is empty", i);
    for (int64_t t = prompts->start[i]; t < prompts->start[i + 1]; t++)
      if (prompts->ids[t] < 0 || prompts->ids[t] >= model->shape.vocabulary)
        return zt_fail(ZT_ERR_DATA,
                       "prompt %" PRId64 " has id %" PRId32
                       ", the model's are 0 to %" PRId64,
                       i, prompts->ids[t], model->shape.vocabulary - 1);
  }
  return ZT_OK;
}

static int64_t longest(const zt_sequences *prompts) {
  int64_t most = 1;
  for (int64_t i = 0; i < prompts->count; i++)
    if (prompts->start[i + 1] - prompts->start[i] > most)
      most = prompts->start[i + 1] - prompts->start[i];
  return most;
}

typedef struct sizes {
  zt_zero3_sizes zero3;
  zt_pass_sizes pass;
} sizes;

static zt_status make_engine(generator *g, zt_device *dev,
                             const sizes *planned) {
  zt_zero3_options zero3 = {.training = false, .prefetch = g->spec->prefetch};
  zt_pass_shape shape = {.samples = g->spec->batch,
                         .source_length = g->source_length,
                         .target_length = g->target_length};
  ZT_TRY(zt_zero3_create(g->model, dev, g->comm, &zero3,
                         planned ? &planned->zero3 : NULL, &g->zero3));
  return zt_pass_create(g->model, dev, &shape, planned ? &planned->pass : NULL,
                        &g->pass);
}

static zt_status make_memory(generator *g) {
  size_t batch = (size_t) g->spec->batch, n = (size_t) g->prompts->count;
  size_t longest_new = (size_t) g->spec->max_new_tokens;
  g->visits = zt_calloc((size_t) g->model->n_stages, sizeof *g->visits);
  g->source = zt_calloc(batch * (size_t) g->source_length, sizeof *g->source);
  g->valid = zt_calloc(batch, sizeof *g->valid);
  g->target = zt_calloc(batch * (size_t) g->target_length, sizeof *g->target);
  g->filled = zt_calloc(batch, sizeof *g->filled);
  g->rows = zt_calloc(batch, sizeof *g->rows);
  g->next = zt_calloc(batch, sizeof *g->next);
  g->done = zt_calloc(batch, sizeof *g->done);
  g->tokens = zt_calloc(n * longest_new, sizeof *g->tokens);
  g->lengths = zt_calloc(n, sizeof *g->lengths);
  return g->visits && g->source && g->valid && g->target && g->filled &&
                 g->rows && g->next && g->done && g->tokens && g->lengths
             ? ZT_OK
             : ZT_ERR_MEMORY;
}

static void free_generator(generator *g) {
  zt_pass_destroy(&g->pass);
  zt_zero3_destroy(&g->zero3);
  free(g->visits);
  free(g->source);
  free(g->valid);
  free(g->target);
  free(g->filled);
  free(g->rows);
  free(g->next);
  free(g->done);
  free(g->tokens);
  free(g->lengths);
}

/* ---- Generation ---- */

/* The stages of one token; those that see the source alone run once. */
static zt_status run_stages(generator *g, bool first) {
  int n = 0;
  for (int64_t row = 0; row < g->spec->batch; row++)
    g->rows[row] = row * g->target_length + g->filled[row] - 1;
  for (int s = 0; s < g->model->n_stages; s++)
    if (first || !g->model->stages[s].source)
      g->visits[n++] = s;
  ZT_TRY(zt_fault_check(ZT_FAULT_GENERATE));
  ZT_TRY(zt_zero3_plan_visits(g->zero3, g->visits, n));
  zt_pass_choose(g->pass, g->rows);
  for (int i = 0; i < n; i++) {
    const void *params;
    ZT_TRY(zt_zero3_visit(g->zero3, &params));
    ZT_TRY(zt_pass_forward(g->pass, g->visits[i], params, NULL));
  }
  return ZT_OK;
}

/* Prompt of a row of this rank's batch in a wave, -1: none left. */
static int64_t prompt_of(const generator *g, int64_t wave, int64_t row) {
  int64_t i = (wave * g->comm->size + g->comm->rank) * g->spec->batch + row;
  return i < g->prompts->count ? i : -1;
}

/* The first n of `length` ids, and padding, which nobody looks at. */
static void fill_row(const generator *g, const int32_t *ids, int64_t n,
                     int64_t length, int32_t *to) {
  int64_t pad = g->model->shape.pad_id;
  for (int64_t t = 0; t < length; t++)
    to[t] = t < n ? ids[t] : (int32_t) (pad < 0 ? 0 : pad);
}

/* The prompt is the source, or without an encoder what the target begins with.
 * A row without a prompt goes on from one token of padding. */
static zt_status begin_wave(generator *g, int64_t wave) {
  const zt_sequences *p = g->prompts;
  const int32_t start = (int32_t) g->model->shape.start_id;
  for (int64_t row = 0; row < g->spec->batch; row++) {
    int64_t i = prompt_of(g, wave, row);
    int64_t n = i < 0 ? 0 : p->start[i + 1] - p->start[i];
    const int32_t *ids = i < 0 ? NULL : p->ids + p->start[i];
    int32_t *target = g->target + row * g->target_length;
    bool encoder = g->model->family->encoder;
    fill_row(g, ids, n, g->source_length, g->source + row * g->source_length);
    if (encoder)
      fill_row(g, &start, 1, g->target_length, target);
    else
      fill_row(g, ids, n, g->target_length, target);
    g->valid[row] = (int32_t) (n > 0 ? n : 1);
    g->filled[row] = encoder ? 1 : g->valid[row];
    g->done[row] = i < 0;
  }
  return zt_pass_begin(g->pass, &(zt_pass_input){.source = g->source,
                                                 .source_valid = g->valid,
                                                 .target = g->target});
}

static bool is_stop(const zt_model_shape *s, int32_t id) {
  for (int i = 0; i < s->n_stop_ids; i++)
    if (s->stop_ids[i] == id)
      return true;
  return false;
}

static void take_tokens(generator *g, int64_t wave, int64_t position) {
  for (int64_t row = 0; row < g->spec->batch; row++) {
    int64_t i = prompt_of(g, wave, row);
    if (g->done[row])
      continue;
    g->tokens[i * g->spec->max_new_tokens + position] = g->next[row];
    g->lengths[i] = position + 1;
    g->done[row] = is_stop(&g->model->shape, g->next[row]);
    if (g->filled[row] < g->target_length)
      g->target[row * g->target_length + g->filled[row]++] = g->next[row];
  }
}

/* \return ZT_STOPPED on all ranks if one of them was asked to stop */
static zt_status all_done(generator *g, bool *done) {
  char why[64];
  int64_t asked[] = {0, zt_watch_wanted(0)};
  for (int64_t row = 0; row < g->spec->batch; row++)
    asked[0] += !g->done[row];
  ZT_TRY(zt_comm_all_reduce(g->comm, asked, 2, ZT_MAX));
  *done = asked[0] == 0;
  if (asked[1] == ZT_STOP_NOT)
    return ZT_OK;
  return zt_fail(ZT_STOPPED, "%s; nothing was written",
                 zt_watch_reason(asked[1], why));
}

static zt_status run_wave(generator *g, int64_t wave) {
  bool done = false;
  ZT_TRY(begin_wave(g, wave));
  for (int64_t t = 0; t < g->spec->max_new_tokens && !done; t++) {
    if (t > 0)
      ZT_TRY(zt_pass_set_target(g->pass, g->target));
    ZT_TRY(run_stages(g, t == 0));
    ZT_TRY(zt_pass_chosen(g->pass, g->next));
    take_tokens(g, wave, t);
    ZT_TRY(all_done(g, &done));
  }
  return ZT_OK;
}

static zt_status run_waves(generator *g) {
  int64_t at_once = g->spec->batch * g->comm->size;
  for (int64_t wave = 0; wave * at_once < g->prompts->count; wave++)
    ZT_TRY(run_wave(g, wave));
  enum { AT_ONCE = 1 << 24 };
  int64_t n = g->prompts->count * g->spec->max_new_tokens;
  for (int64_t at = 0; at < n; at += AT_ONCE)
    ZT_TRY(zt_comm_all_reduce(g->comm, g->tokens + at,
                              (int) (n - at < AT_ONCE ? n - at : AT_ONCE),
                              ZT_SUM));
  return zt_comm_all_reduce(g->comm, g->lengths, (int) g->prompts->count,
                            ZT_SUM);
}

/* ---- All of it ---- */

/* What a wave takes: one token on a device that only counts. */
static zt_status plan(generator *g, const zt_device *like, sizes *planned) {
  generator counting = *g;
  zt_device *dev = NULL;
  zt_comm *comm = NULL;
  zt_status status = zt_device_null_create(like, &dev);
  if (status == ZT_OK)
    status = zt_comm_null_create(0, g->comm->size, &comm);
  counting.comm = comm;
  if (status == ZT_OK)
    status = make_engine(&counting, dev, NULL);
  zt_fault_hold(true);
  if (status == ZT_OK)
    status = begin_wave(&counting, 0);
  if (status == ZT_OK)
    status = run_stages(&counting, true);
  zt_fault_hold(false);
  if (status == ZT_OK)
    *planned =
        (sizes){zt_zero3_peak(counting.zero3), zt_pass_peak(counting.pass)};
  zt_pass_destroy(&counting.pass);
  zt_zero3_destroy(&counting.zero3);
  zt_comm_destroy(&comm);
  zt_device_destroy(&dev);
  return status;
}

static zt_status collect(const generator *g, zt_sequences *results) {
  int64_t total = 0;
  *results = (zt_sequences){.count = g->prompts->count};
  for (int64_t i = 0; i < results->count; i++)
    total += g->lengths[i];
  results->start =
      zt_calloc((size_t) results->count + 1, sizeof *results->start);
  results->ids = zt_calloc((size_t) total, sizeof *results->ids);
  if (!results->start || !results->ids)
    return ZT_ERR_MEMORY;
  for (int64_t i = 0, at = 0; i < results->count; i++) {
    for (int64_t t = 0; t < g->lengths[i]; t++)
      results->ids[at++] = (int32_t) g->tokens[i * g->spec->max_new_tokens + t];
    results->start[i + 1] = at;
  }
  return ZT_OK;
}

static zt_status generate(generator *g, zt_device *dev, zt_source *source,
                          zt_sequences *results) {
  sizes planned;
  zt_status status = check_prompts(g);
  if (status == ZT_OK)
    status = make_memory(g);
  if (status == ZT_OK)
    status = plan(g, dev, &planned);
  if (status == ZT_OK)
    status = make_engine(g, dev, &planned);
  ZT_TRY(zt_agree(g->comm, status));
  ZT_TRY(zt_state_load(g->zero3, source));
  status = run_waves(g);
  if (status == ZT_STOPPED)
    return status;
  if (status != ZT_OK)
    zt_fatal(g->comm, status);
  return zt_agree(g->comm, collect(g, results));
}

zt_status zt_generate(const zt_model *model, zt_device *dev, zt_comm *comm,
                      zt_source *source, const zt_sequences *prompts,
                      const zt_generate_spec *spec, zt_sequences *results) {
  generator g = {.model = model,
                 .comm = comm,
                 .spec = spec,
                 .prompts = prompts,
                 .source_length = longest(prompts),
                 .target_length = spec->max_new_tokens};
  if (!model->family->encoder) {
    g.source_length = 0;
    g.target_length += longest(prompts) - 1;
  }
  zt_status status = generate(&g, dev, source, results);
  free_generator(&g);
  return status;
}

void zt_sequences_free(zt_sequences *sequences) {
  free(sequences->start);
  free(sequences->ids);
  *sequences = (zt_sequences){0};
}
