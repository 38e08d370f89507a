/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/generate_inside.h"

#include "base/clock.h"
#include "base/memory.h"
#include "comm/agree.h"
#include "comm/comm_null.h"
#include "device/device_null.h"
#include "train/state.h"
#include "train/watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Creation ---- */

static zt_status check_prompts(const zt_generator *g) {
  const zt_model *model = g->model;
  const zt_sequences *prompts = g->prompts;
  if (model->shape.positions > 0 &&
      g->shape.target_length > model->shape.positions)
    return zt_fail(ZT_ERR_DATA,
                   "a prompt and %" PRId64 " new tokens are %" PRId64
                   " tokens, more than the model's %" PRId64
                   " positions; use a shorter one or --max-new-tokens",
                   g->spec->max_new_tokens, g->shape.target_length,
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

/* Enough rows that prompts do not wait long, few enough that a step is no
 * longer for it than a text has to wait. */
enum { PROMPT_ROWS = 256 };

/* \return how many rows of prompts a step takes, at least `least` */
static int64_t rows_for(const zt_generate_spec *spec, int64_t least,
                        int64_t length) {
  int64_t all = spec->batch * length;
  int64_t most = least > PROMPT_ROWS ? least : PROMPT_ROWS;
  int64_t rows = all < most ? all : most;
  return rows < least ? least : rows;
}

static zt_cache_shape shape_of(const zt_model *model,
                               const zt_sequences *prompts,
                               const zt_generate_spec *spec) {
  int64_t most =
      spec->longest_prompt > 0 ? spec->longest_prompt : longest(prompts);
  int64_t slots = spec->batch * (spec->beams > 1 ? spec->beams : 1);
  zt_cache_shape shape = {.slots = slots,
                          .target_length = spec->max_new_tokens,
                          .target_rows = slots,
                          .shared = spec->beams > 1};
  if (model->family->encoder) {
    shape.source_length = most;
    shape.source_rows = rows_for(spec, most, most);
  } else {
    shape.target_length += most - 1;
    shape.target_rows = rows_for(spec, slots, most);
  }
  return shape;
}

typedef struct sizes {
  zt_zero3_sizes zero3;
  zt_pass_sizes pass;
} sizes;

static zt_status make_engine(zt_generator *g, zt_device *dev,
                             const sizes *planned) {
  zt_zero3_options zero3 = {.training = false,
                            .prefetch = g->spec->prefetch,
                            .keep = g->spec->keep,
                            .master = g->spec->master};
  zt_pass_shape shape = {.samples = g->shape.slots,
                         .source_length = g->shape.source_length,
                         .target_length = g->shape.target_length,
                         .cache = &g->shape};
  ZT_TRY(zt_zero3_create(g->model, dev, g->comm, &zero3,
                         planned ? &planned->zero3 : NULL, &g->zero3));
  return zt_pass_create(g->model, dev, &shape, planned ? &planned->pass : NULL,
                        &g->pass);
}

static bool make_rows(zt_text_rows *r, int64_t most) {
  r->id = zt_calloc((size_t) most, sizeof *r->id);
  r->slot = zt_calloc((size_t) most, sizeof *r->slot);
  r->position = zt_calloc((size_t) most, sizeof *r->position);
  return r->id && r->slot && r->position;
}

static void free_rows(zt_text_rows *r) {
  free(r->id);
  free(r->slot);
  free(r->position);
}

static bool make_slots(zt_generator *g) {
  for (int64_t i = 0; i < g->shape.slots; i++) {
    size_t n = (size_t) g->shape.target_length + 1;
    g->source_slot[i] = (int32_t) (i / g->beams * g->beams);
    g->slots[i].prompt = -1;
    g->slots[i].ids = zt_calloc(n, sizeof *g->slots[i].ids);
    if (!g->slots[i].ids)
      return false;
  }
  return true;
}

static bool wants_logits(const zt_generate_spec *spec) {
  return spec->sampling.temperature > 0 || spec->min_new_tokens > 0 ||
         spec->beams > 1;
}

static zt_status make_memory(zt_generator *g) {
  const size_t slots = (size_t) g->shape.slots;
  const size_t n = (size_t) g->prompts->count;
  const size_t vocabulary = (size_t) g->model->shape.vocabulary;
  if (wants_logits(g->spec)) {
    g->logits = zt_calloc(slots * vocabulary, sizeof *g->logits);
    g->room = zt_calloc(vocabulary, sizeof *g->room);
    if (!g->logits || !g->room)
      return ZT_ERR_MEMORY;
  }
  if (g->beams > 1)
    ZT_TRY(zt_beams_create(g));
  g->visits = zt_calloc((size_t) g->model->n_stages, sizeof *g->visits);
  g->slots = zt_calloc(slots, sizeof *g->slots);
  g->source_count = zt_calloc(slots, sizeof *g->source_count);
  g->source_slot = zt_calloc(slots, sizeof *g->source_slot);
  g->chosen = zt_calloc(slots, sizeof *g->chosen);
  g->chooser = zt_calloc(slots, sizeof *g->chooser);
  g->next = zt_calloc(slots, sizeof *g->next);
  g->taken = zt_calloc(slots, sizeof *g->taken);
  g->shared = zt_calloc((size_t) g->comm->size + 1, sizeof *g->shared);
  g->queue.rows = zt_calloc((size_t) g->comm->size, sizeof *g->queue.rows);
  g->at = zt_calloc(n, sizeof *g->at);
  g->lengths = zt_calloc(n, sizeof *g->lengths);
  return make_rows(&g->source, g->shape.source_rows) &&
                 make_rows(&g->target, g->shape.target_rows) && g->visits &&
                 g->slots && g->source_count && g->source_slot && g->chosen &&
                 g->chooser && g->next && g->taken && g->shared &&
                 g->queue.rows && g->at && g->lengths && make_slots(g)
             ? ZT_OK
             : ZT_ERR_MEMORY;
}

static void free_generator(zt_generator *g) {
  zt_beams_destroy(&g->beam);
  zt_pass_destroy(&g->pass);
  zt_zero3_destroy(&g->zero3);
  for (int64_t i = 0; g->slots && i < g->shape.slots; i++)
    free(g->slots[i].ids);
  free_rows(&g->source);
  free_rows(&g->target);
  void *const all[] = {
      g->slots,  g->visits,     g->source_count, g->source_slot,
      g->chosen, g->chooser,    g->next,         g->taken,
      g->shared, g->queue.rows, g->at,           g->lengths,
      g->logits, g->room,       g->made,         g->origin};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    free(all[i]);
}

/* ---- Texts ---- */

/* The prompt is the source, or without an encoder what the target begins with.
 */
static void begin_text(zt_generator *g, int64_t number, int64_t prompt) {
  const zt_sequences *p = g->prompts;
  zt_text_slot *s = &g->slots[number];
  const int32_t *ids = p->ids + p->start[prompt];
  int64_t n = p->start[prompt + 1] - p->start[prompt];
  const bool encoder = g->model->family->encoder;
  const int32_t start = (int32_t) g->model->shape.start_id;
  s->prompt = prompt;
  s->read = 0;
  s->known = s->given = encoder ? 1 : n;
  memcpy(s->ids, encoder ? &start : ids, (size_t) s->known * sizeof *ids);
  g->source_count[number] = encoder ? (int32_t) n : 0;
  for (int64_t t = 0; encoder && t < n; t++) {
    int64_t row = g->source.count++;
    g->source.id[row] = ids[t];
    g->source.slot[row] = (int32_t) number;
    g->source.position[row] = (int32_t) t;
  }
}

zt_status zt_generate_end(zt_generator *g, zt_text_slot *s) {
  int64_t n = s->known - s->given;
  while (g->made_capacity < (size_t) (g->made_count + n))
    if (!zt_grow(&g->made, &g->made_capacity, (size_t) (g->made_count + n),
                 sizeof *g->made))
      return ZT_ERR_MEMORY;
  memcpy(g->made + g->made_count, s->ids + s->given,
         (size_t) n * sizeof *g->made);
  g->at[s->prompt] = g->made_count;
  g->lengths[s->prompt] = n;
  g->made_count += n;
  s->prompt = -1;
  return ZT_OK;
}

bool zt_generate_is_stop(const zt_generator *g, int32_t id) {
  const zt_model_shape *s = &g->model->shape;
  for (int i = 0; i < s->n_stop_ids; i++)
    if (s->stop_ids[i] == id)
      return true;
  for (int64_t i = 0; i < g->spec->n_stop_ids; i++)
    if (g->spec->stop_ids[i] == id)
      return true;
  return false;
}

static zt_status take_token(zt_generator *g, zt_text_slot *s, int32_t id) {
  const zt_generate_spec *spec = g->spec;
  s->ids[s->known++] = id;
  int64_t n = s->known - s->given;
  bool end = n >= spec->min_new_tokens && zt_generate_is_stop(g, id);
  if (spec->token)
    ZT_TRY(spec->token(spec->context, s->prompt, s->ids + s->given, n, &end));
  return end || n == spec->max_new_tokens ? zt_generate_end(g, s) : ZT_OK;
}

/* ---- A step ---- */

/* Of what a slot has not read yet, as much as there is room for while the
 * slots behind it get a row each. */
static void add_rows(zt_generator *g, int64_t number, int64_t behind) {
  zt_text_slot *s = &g->slots[number];
  zt_text_rows *r = &g->target;
  int64_t most = g->shape.target_rows - behind - r->count;
  int64_t n = s->known - s->read < most ? s->known - s->read : most;
  for (int64_t t = 0; t < n; t++, s->read++) {
    r->id[r->count] = s->ids[s->read];
    if (g->origin)
      g->origin[number * g->shape.target_length + s->read] = (int32_t) number;
    r->slot[r->count] = (int32_t) number;
    r->position[r->count++] = (int32_t) s->read;
  }
  if (s->read < s->known)
    return;
  g->chosen[g->choices] = (int32_t) r->count - 1;
  g->chooser[g->choices++] = (int32_t) number;
}

static void fill_step(zt_generator *g) {
  int64_t behind = 0;
  g->choices = g->target.count = 0;
  for (int64_t i = 0; i < g->shape.slots; i++)
    behind += g->slots[i].prompt >= 0;
  g->busy += behind;
  for (int64_t i = 0; i < g->shape.slots; i++)
    if (g->slots[i].prompt >= 0)
      add_rows(g, i, --behind);
}

/* All stages; those that see sources alone only where there are new ones. */
static zt_status run_stages(zt_generator *g, bool sources) {
  int n = 0;
  const zt_cache_step step = {.source = {g->source.count, g->source.id,
                                         g->source.slot, g->source.position},
                              .target = {g->target.count, g->target.id,
                                         g->target.slot, g->target.position},
                              .source_count = g->source_count,
                              .source_slot = g->source_slot,
                              .origin = g->origin,
                              .chosen = g->chosen,
                              .choices = g->choices};
  for (int s = 0; s < g->model->n_stages; s++)
    if (sources || !g->model->stages[s].source)
      g->visits[n++] = s;
  ZT_TRY(zt_fault_check(ZT_FAULT_GENERATE));
  ZT_TRY(zt_zero3_plan_visits(g->zero3, g->visits, n));
  if (step.target.count > 0)
    ZT_TRY(zt_pass_begin_step(g->pass, &step));
  for (int i = 0; i < n; i++) {
    const void *params;
    bool source = g->model->stages[g->visits[i]].source;
    ZT_TRY(zt_zero3_visit(g->zero3, &params));
    if ((source ? step.source.count : step.target.count) > 0)
      ZT_TRY(zt_pass_forward(g->pass, g->visits[i], params, NULL));
  }
  return ZT_OK;
}

/* The token of a slot by its logits. */
static int32_t choose(const zt_generator *g, const zt_text_slot *s,
                      float *logits) {
  const zt_model_shape *m = &g->model->shape;
  int64_t n = s->known - s->given;
  for (int32_t id = 0; n < g->spec->min_new_tokens && id < m->vocabulary; id++)
    if (zt_generate_is_stop(g, id))
      logits[id] = -INFINITY;
  return zt_sample(&g->spec->sampling, logits, m->vocabulary, g->room,
                   s->prompt, n);
}

static zt_status take_tokens(zt_generator *g) {
  if (g->choices == 0)
    return ZT_OK;
  if (g->logits)
    ZT_TRY(zt_cache_logits(g->pass, g->logits));
  else
    ZT_TRY(zt_cache_best(g->pass, g->next));
  if (g->beam)
    return zt_beams_take(g);
  for (int64_t i = 0; i < g->choices; i++) {
    zt_text_slot *s = &g->slots[g->chooser[i]];
    float *logits = g->logits + i * g->model->shape.vocabulary;
    ZT_TRY(take_token(g, s, g->logits ? choose(g, s, logits) : g->next[i]));
  }
  return ZT_OK;
}

/* ---- All steps ---- */

/* Free slots take prompts.
 * \return ZT_STOPPED on all ranks if one of them was asked to stop */
static zt_status agree(zt_generator *g, bool *sources, bool *done) {
  char why[64];
  int64_t *shared = g->shared, ranks = g->comm->size, n;
  memset(shared, 0, (size_t) (ranks + 1) * sizeof *shared);
  for (int64_t i = 0; i < g->shape.slots; i += g->beams)
    shared[g->comm->rank] += g->slots[i].prompt < 0;
  shared[ranks] = zt_watch_wanted(g->spec->needed);
  ZT_TRY(zt_comm_all_reduce(g->comm, shared, (int) ranks + 1, ZT_MAX));
  g->stopped = shared[ranks];
  if (g->stopped != ZT_STOP_NOT)
    return zt_fail(ZT_STOPPED, "%s; nothing was written",
                   zt_watch_reason(shared[ranks], why));
  *done = true;
  for (int64_t r = 0; r < ranks; r++)
    *done = *done && shared[r] == g->spec->batch;
  *sources = zt_queue_give(&g->queue, shared, g->comm->rank, g->taken, &n);
  *done = *done && !*sources;
  for (int64_t i = 0, at = 0; i < n; i++, at++) {
    while (g->slots[at * g->beams].prompt >= 0)
      at++;
    begin_text(g, at * g->beams, g->taken[i]);
  }
  return ZT_OK;
}

/* Alone, a rank need not ask anybody when a slot is free. */
static int64_t interval(const zt_generator *g) {
  return g->comm->size == 1 || g->spec->agree_every < 1 ? 1
                                                        : g->spec->agree_every;
}

static zt_status run(zt_generator *g) {
  bool sources = false, done = false;
  for (;; g->steps++) {
    g->source.count = 0;
    sources = false;
    if (g->steps % interval(g) == 0)
      ZT_TRY(agree(g, &sources, &done));
    if (done)
      return ZT_OK;
    fill_step(g);
    ZT_TRY(run_stages(g, sources));
    ZT_TRY(take_tokens(g));
  }
}

/* What a step takes at most, on a device that only counts. */
static zt_status plan(zt_generator *g, const zt_device *like, sizes *planned) {
  zt_generator counting = *g;
  zt_device *dev = NULL;
  zt_comm *comm = NULL;
  zt_status status = zt_device_null_create(like, &dev);
  if (status == ZT_OK)
    status = zt_comm_null_create(0, g->comm->size, &comm);
  counting.comm = comm;
  counting.source.count = g->shape.source_rows;
  counting.target.count = g->shape.target_rows;
  counting.choices = g->shape.slots;
  if (status == ZT_OK)
    status = make_engine(&counting, dev, NULL);
  zt_fault_hold(true);
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

/* ---- Results ---- */

enum { AT_ONCE = 1 << 16 }; /* numbers that ranks add up together */

static zt_status add_up(const zt_generator *g, int64_t *numbers, int64_t n) {
  for (int64_t at = 0; at < n; at += AT_ONCE)
    ZT_TRY(zt_comm_all_reduce(g->comm, numbers + at,
                              (int) (n - at < AT_ONCE ? n - at : AT_ONCE),
                              ZT_SUM));
  return ZT_OK;
}

/* Ids of a prompt that this rank made, those of [from, from + AT_ONCE) of all
 * results, to their places in the window. */
static void put_ids(const zt_generator *g, const zt_sequences *results,
                    int64_t i, int64_t from, int64_t *window) {
  int64_t first = results->start[i] < from ? from : results->start[i];
  for (int64_t t = first; t < results->start[i + 1] && t < from + AT_ONCE; t++)
    window[t - from] = g->made[g->at[i] + t - results->start[i]];
}

/* Each id is there on one rank, and zero on the others. */
static zt_status exchange(zt_generator *g, const bool *here, int64_t *window,
                          zt_sequences *results) {
  int64_t total = results->start[results->count], i = 0;
  for (int64_t from = 0; from < total; from += AT_ONCE) {
    int64_t n = total - from < AT_ONCE ? total - from : AT_ONCE;
    memset(window, 0, (size_t) n * sizeof *window);
    while (results->start[i + 1] <= from)
      i++;
    for (int64_t j = i; j < results->count && results->start[j] < from + n; j++)
      if (here[j])
        put_ids(g, results, j, from, window);
    ZT_TRY(add_up(g, window, n));
    for (int64_t t = 0; t < n; t++)
      results->ids[from + t] = (int32_t) window[t];
  }
  return ZT_OK;
}

static zt_status make_results(const zt_generator *g, zt_sequences *results) {
  *results = (zt_sequences){.count = g->prompts->count};
  results->start =
      zt_calloc((size_t) results->count + 1, sizeof *results->start);
  if (!results->start)
    return ZT_ERR_MEMORY;
  for (int64_t i = 0; i < results->count; i++)
    results->start[i + 1] = results->start[i] + g->lengths[i];
  results->ids =
      zt_calloc((size_t) results->start[results->count], sizeof *results->ids);
  return results->ids ? ZT_OK : ZT_ERR_MEMORY;
}

static zt_status collect(zt_generator *g, zt_sequences *results) {
  bool *here = zt_calloc((size_t) g->prompts->count, sizeof *here);
  int64_t *window = zt_calloc(AT_ONCE, sizeof *window);
  zt_status status = zt_agree(g->comm, here && window ? ZT_OK : ZT_ERR_MEMORY);
  for (int64_t i = 0; status == ZT_OK && i < g->prompts->count; i++)
    here[i] = g->lengths[i] > 0;
  if (status == ZT_OK)
    status = add_up(g, g->lengths, g->prompts->count);
  if (status == ZT_OK)
    status = zt_agree(g->comm, make_results(g, results));
  if (status == ZT_OK)
    status = exchange(g, here, window, results);
  free(here);
  free(window);
  return status;
}

static zt_status describe(const zt_generator *g, int64_t begin, int64_t tokens,
                          zt_generate_report *report) {
  int64_t busy = g->busy;
  double all =
      (double) g->steps * (double) g->comm->size * (double) g->shape.slots;
  ZT_TRY(zt_comm_all_reduce(g->comm, &busy, 1, ZT_SUM));
  *report =
      (zt_generate_report){.tokens = tokens,
                           .steps = g->steps,
                           .idle = all > 0 ? 1 - (double) busy / all : 0,
                           .seconds = (double) (zt_clock_ns() - begin) * 1e-9};
  return ZT_OK;
}

/* ---- All of it ---- */

static zt_status check_size(const zt_generator *g) {
  const zt_cache_shape *s = &g->shape;
  int64_t length =
      s->source_length > s->target_length ? s->source_length : s->target_length;
  if (s->slots <= INT32_MAX / length)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%" PRId64 " texts of %" PRId64
                 " tokens at once are too many; use a smaller --batch",
                 s->slots, length);
}

static zt_status generate(zt_generator *g, zt_device *dev, zt_source *source,
                          zt_sequences *results, zt_generate_report *report) {
  sizes planned;
  zt_status status = check_prompts(g);
  if (status == ZT_OK)
    status = check_size(g);
  if (status == ZT_OK)
    status = make_memory(g);
  if (status == ZT_OK)
    status = plan(g, dev, &planned);
  if (status == ZT_OK)
    status = make_engine(g, dev, &planned);
  ZT_TRY(zt_agree(g->comm, status));
  if (!g->spec->master)
    ZT_TRY(zt_state_load(g->zero3, source));
  int64_t begin = zt_clock_ns();
  status = run(g);
  if (status == ZT_STOPPED && report)
    report->stopped = g->stopped;
  if (status == ZT_STOPPED)
    return status;
  if (status != ZT_OK)
    zt_fatal(g->comm, status);
  ZT_TRY(collect(g, results));
  if (!report)
    return ZT_OK;
  return describe(g, begin, results->start[results->count], report);
}

zt_status zt_generate_bytes(const zt_model *model, const zt_device *like,
                            int ranks, const zt_generate_spec *spec,
                            size_t *bytes) {
  static float elsewhere; /* only counted with */
  zt_generate_spec borrowing = *spec;
  zt_sequences none = {0};
  zt_comm *comm = NULL;
  sizes s;
  borrowing.master = &elsewhere;
  ZT_TRY(zt_comm_null_create(0, ranks, &comm));
  zt_generator g = {.model = model,
                    .comm = comm,
                    .spec = &borrowing,
                    .beams = 1,
                    .shape = shape_of(model, &none, &borrowing)};
  g.visits = zt_calloc((size_t) model->n_stages, sizeof *g.visits);
  zt_status status = g.visits ? plan(&g, like, &s) : ZT_ERR_MEMORY;
  if (status == ZT_OK)
    *bytes =
        s.zero3.units + s.pass.fixed + s.pass.saved + s.pass.work + s.pass.host;
  free(g.visits);
  zt_comm_destroy(&comm);
  return status;
}

zt_status zt_generate(const zt_model *model, zt_device *dev, zt_comm *comm,
                      zt_source *source, const zt_sequences *prompts,
                      const zt_generate_spec *spec, zt_sequences *results,
                      zt_generate_report *report) {
  zt_generator g = {.model = model,
                    .comm = comm,
                    .spec = spec,
                    .prompts = prompts,
                    .beams = spec->beams > 1 ? spec->beams : 1,
                    .shape = shape_of(model, prompts, spec)};
  g.queue = (zt_queue){.count = prompts->count,
                       .start = prompts->start,
                       .ranks = comm->size,
                       .most_rows = model->family->encoder ? g.shape.source_rows
                                                           : INT64_MAX};
  zt_status status = generate(&g, dev, source, results, report);
  free_generator(&g);
  return status;
}

void zt_sequences_free(zt_sequences *sequences) {
  free(sequences->start);
  free(sequences->ids);
  *sequences = (zt_sequences){0};
}
