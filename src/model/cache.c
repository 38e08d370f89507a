/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/cache.h"

#include "base/memory.h"
#include "model/pass.h"

#include <stdlib.h>
#include <string.h>

/* All integers of a step, in one block that is uploaded at once. */
typedef struct zt_cache_inside {
  int32_t *host, *device;
  int64_t count;   /* of the block */
  int32_t *origin; /* [slots, target_length], host */
} zt_cache_inside;

/* ---- Creation ---- */

/* Where the parts of the block begin; first only counts. */
static void lay_out(zt_cache *c, int32_t *block, int64_t *count) {
  const zt_cache_shape *s = &c->shape;
  const struct part {
    int32_t **at;
    int64_t n;
  } parts[] = {{&c->source, s->source_rows},
               {&c->position[ZT_ATTEND_SOURCE], s->source_rows},
               {&c->base[ZT_ATTEND_SOURCE], s->source_rows},
               {&c->keys[ZT_ATTEND_SOURCE], s->source_rows},
               {&c->place[ZT_ATTEND_CROSS], s->source_rows},
               {&c->target, s->target_rows},
               {&c->position[ZT_ATTEND_TARGET], s->target_rows},
               {&c->base[ZT_ATTEND_TARGET], s->target_rows},
               {&c->keys[ZT_ATTEND_TARGET], s->target_rows},
               {&c->place[ZT_ATTEND_TARGET], s->target_rows},
               {&c->base[ZT_ATTEND_CROSS], s->target_rows},
               {&c->keys[ZT_ATTEND_CROSS], s->target_rows},
               {&c->chosen, s->slots}};
  *count = 0;
  for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
    *parts[i].at = block ? block + *count : NULL;
    *count += parts[i].n;
  }
  c->position[ZT_ATTEND_CROSS] = c->position[ZT_ATTEND_TARGET];
}

static zt_status make_ints(zt_pass *pass, zt_cache *c) {
  zt_cache_inside *in = c->inside;
  const zt_cache_shape *s = &c->shape;
  zt_arena *fixed = zt_pass_fixed(pass);
  lay_out(c, NULL, &in->count);
  in->host = zt_calloc((size_t) in->count, sizeof *in->host);
  if (!in->host)
    return ZT_ERR_MEMORY;
  ZT_TRY(zt_tape_push(fixed, (size_t) in->count * sizeof *in->device,
                      &in->device));
  ZT_TRY(zt_tape_push(fixed, (size_t) s->slots * sizeof *c->next, &c->next));
  if (!s->shared)
    return ZT_OK;
  int64_t n = s->slots * s->target_length;
  in->origin = zt_calloc((size_t) n, sizeof *in->origin);
  if (!in->origin)
    return ZT_ERR_MEMORY;
  return zt_tape_push(fixed, (size_t) n * sizeof *c->origin, &c->origin);
}

static zt_status make_kept(zt_pass *pass, zt_cache *c, zt_attend_kind kind,
                           int64_t length) {
  const zt_model_shape *m = &pass->model->shape;
  c->kept[kind] = zt_calloc((size_t) m->layers, sizeof *c->kept[kind]);
  if (!c->kept[kind])
    return ZT_ERR_MEMORY;
  for (int64_t i = 0; i < m->layers; i++) {
    zt_value *v = &c->kept[kind][i];
    *v = (zt_value){.rows = c->shape.slots * length,
                    .cols = 2 * m->kv_heads * m->head_dim};
    ZT_TRY(zt_tape_push(zt_pass_fixed(pass), zt_value_bytes(v), &v->data));
  }
  return ZT_OK;
}

static zt_status make(zt_pass *pass, zt_cache *c) {
  const zt_cache_shape *s = &c->shape;
  ZT_TRY(make_ints(pass, c));
  ZT_TRY(zt_tape_push(zt_pass_fixed(pass),
                      (size_t) (s->slots * pass->model->shape.vocabulary) *
                          sizeof *c->logits,
                      &c->logits));
  ZT_TRY(make_kept(pass, c, ZT_ATTEND_TARGET, s->target_length));
  return s->source_length > 0
             ? make_kept(pass, c, ZT_ATTEND_CROSS, s->source_length)
             : ZT_OK;
}

zt_status zt_cache_create(zt_pass *pass, const zt_cache_shape *shape,
                          zt_cache **cache) {
  zt_cache *c = zt_calloc(1, sizeof *c);
  zt_cache_inside *in = zt_calloc(1, sizeof *in);
  *cache = c;
  if (!c || !in) {
    free(in);
    free(c);
    *cache = NULL;
    return ZT_ERR_MEMORY;
  }
  *c = (zt_cache){.shape = *shape, .inside = in};
  return make(pass, c);
}

void zt_cache_destroy(zt_cache **cache) {
  if (!*cache)
    return;
  for (int kind = 0; kind < ZT_ATTEND_KINDS; kind++)
    free((*cache)->kept[kind]);
  free((*cache)->inside->host);
  free((*cache)->inside->origin);
  free((*cache)->inside);
  free(*cache);
  *cache = NULL;
}

/* ---- A step ---- */

/* A source's rows attend to each other; their keys for the target go to the
 * slot. */
static void fill_source(const zt_cache *c, const zt_cache_step *step) {
  const zt_cache_rows *rows = &step->source;
  for (int64_t r = 0; r < rows->count; r++) {
    int32_t slot = rows->slot[r], position = rows->position[r];
    c->source[r] = rows->id[r];
    c->position[ZT_ATTEND_SOURCE][r] = position;
    c->base[ZT_ATTEND_SOURCE][r] = (int32_t) r - position;
    c->keys[ZT_ATTEND_SOURCE][r] = step->source_count[slot];
    c->place[ZT_ATTEND_CROSS][r] =
        slot * (int32_t) c->shape.source_length + position;
  }
}

static void fill_target(const zt_cache *c, const zt_cache_step *step) {
  const zt_cache_rows *rows = &step->target;
  for (int64_t r = 0; r < rows->count; r++) {
    int32_t slot = rows->slot[r], position = rows->position[r];
    int32_t base = slot * (int32_t) c->shape.target_length;
    c->target[r] = rows->id[r];
    c->position[ZT_ATTEND_TARGET][r] = position;
    c->base[ZT_ATTEND_TARGET][r] = base;
    c->keys[ZT_ATTEND_TARGET][r] = position + 1;
    c->place[ZT_ATTEND_TARGET][r] = base + position;
    if (c->shape.source_length == 0)
      continue;
    int32_t source = step->source_slot[slot];
    c->base[ZT_ATTEND_CROSS][r] = source * (int32_t) c->shape.source_length;
    c->keys[ZT_ATTEND_CROSS][r] = step->source_count[source];
  }
}

static zt_status upload_origin(zt_pass *pass, const int32_t *origin) {
  const zt_cache *c = pass->cache;
  int64_t length = c->shape.target_length, n = c->shape.slots * length;
  if (!origin)
    return ZT_OK;
  for (int64_t i = 0; i < n; i++)
    c->inside->origin[i] =
        origin[i] * (int32_t) length + (int32_t) (i % length);
  return zt_device_upload(pass->tape.dev, c->origin, c->inside->origin,
                          (size_t) n * sizeof *origin);
}

zt_status zt_pass_begin_step(zt_pass *pass, const zt_cache_step *step) {
  zt_cache *c = pass->cache;
  zt_cache_inside *in = c->inside;
  int64_t count;
  ZT_TRY(zt_pass_begin(pass, NULL));
  c->source_count = step->source.count;
  c->target_count = step->target.count;
  c->choices = step->choices;
  lay_out(c, in->host, &count);
  if (!pass->tape.dev->counts_only) {
    fill_source(c, step);
    fill_target(c, step);
    if (step->choices > 0)
      memcpy(c->chosen, step->chosen,
             (size_t) step->choices * sizeof *c->chosen);
    ZT_TRY(upload_origin(pass, step->origin));
  }
  lay_out(c, in->device, &count);
  pass->source = c->source;
  pass->target = c->target;
  pass->position = c->position[ZT_ATTEND_TARGET];
  return zt_device_upload(pass->tape.dev, in->device, in->host,
                          (size_t) count * sizeof *in->host);
}

/* ---- Stages ---- */

static zt_matrix columns_of(const zt_value *value, int64_t column) {
  return (zt_matrix){(float *) value->data + column, value->cols, ZT_FP32};
}

/* Into columns of the cache, from columns of a value. */
static zt_status keep(zt_pass *pass, zt_attend_kind kind, zt_value *kept,
                      int64_t column, const zt_value *from, int64_t at) {
  return zt_scatter_run(pass->tape.dev,
                        &(zt_scatter){.rows = from->rows,
                                      .n = kept->cols / 2,
                                      .place = pass->cache->place[kind],
                                      .from = columns_of(from, at),
                                      .to = columns_of(kept, column)});
}

zt_status zt_cache_attend(zt_pass *pass, zt_attend_kind kind, int layer,
                          const zt_attend *a, zt_value **y) {
  const zt_cache *c = pass->cache;
  if (!c)
    return zt_op_attention(&pass->tape, a, y);
  int64_t width = a->kv_heads * a->head_dim;
  const bool source = kind == ZT_ATTEND_SOURCE;
  zt_row_attention call = {.rows = a->q->rows,
                           .heads = a->heads,
                           .kv_heads = a->kv_heads,
                           .head_dim = a->head_dim,
                           .scale = a->scale,
                           .window = a->window,
                           .most_keys = kind == ZT_ATTEND_TARGET
                                            ? c->shape.target_length
                                            : c->shape.source_length,
                           .base = c->base[kind],
                           .keys = c->keys[kind],
                           .position = c->position[kind],
                           .q = columns_of(a->q, a->q_column)};
  if (kind == ZT_ATTEND_TARGET && c->shape.shared)
    call.place = c->origin;
  if (a->bias) {
    call.bias = a->bias->data;
    call.offsets = a->bias->cols;
    call.zero = a->bias->cols / 2;
  }
  zt_value *kept = source ? NULL : &c->kept[kind][layer];
  if (!source && a->k) {
    ZT_TRY(keep(pass, kind, kept, 0, a->k, a->k_column));
    ZT_TRY(keep(pass, kind, kept, width, a->v, a->v_column));
  }
  call.k = source ? columns_of(a->k, a->k_column) : columns_of(kept, 0);
  call.v = source ? columns_of(a->v, a->v_column) : columns_of(kept, width);
  ZT_TRY(zt_tape_value(&pass->tape, a->q->rows, a->heads * a->head_dim,
                       pass->tape.dtype, y));
  call.y = zt_value_matrix(*y, (*y)->data);
  return zt_row_attention_run(pass->tape.dev, &call);
}

zt_status zt_cache_head(zt_pass *pass, const zt_value *h, zt_weight w,
                        double scale) {
  zt_cache *c = pass->cache;
  if (c->choices == 0)
    return ZT_OK;
  ZT_TRY(
      zt_op_logits(&pass->tape, h, w, scale, c->chosen, c->choices, c->logits));
  return zt_argmax(pass->tape.dev, c->choices, w.rows, c->logits, c->next);
}

zt_status zt_cache_best(zt_pass *pass, int32_t *next) {
  return zt_device_download(pass->tape.dev, next, pass->cache->next,
                            (size_t) pass->cache->choices * sizeof *next);
}

zt_status zt_cache_logits(zt_pass *pass, float *logits) {
  int64_t n = pass->cache->choices * pass->model->shape.vocabulary;
  return zt_device_download(pass->tape.dev, logits, pass->cache->logits,
                            (size_t) n * sizeof *logits);
}
