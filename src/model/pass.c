/* SPDX-License-Identifier: BSD-3-Clause */
#include "model/pass.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Headers and records of a stage while they are only counted: ten times what
 * any takes.  Not simply gigabytes of untouched pages, for sites limit address
 * space (ulimit -v) or do not overcommit. */
static const size_t planning_host_bytes = (size_t) 64 << 10;

/* What has flowed back to the value of a slot. */
typedef struct flow {
  void *buffer; /* made when first needed, for the life of the pass */
  bool valid;
} flow;

typedef struct zt_pass_inside {
  zt_device *dev;
  zt_pass_sizes sizes; /* what was allocated */
  void *fixed_memory, *saved_memory, *work_memory, *host_memory;
  zt_arena fixed, saved, work, host;
  zt_value *(*in)[ZT_SLOTS];     /* [stages] values a stage began with */
  zt_value (*kept)[ZT_SLOTS];    /* [stages] copies of what it made */
  const struct zt_record **mark; /* [stages] tape before the stage */
  flow flows[ZT_SLOTS];
  int32_t *position; /* host, with several documents in a sample */
} zt_pass_inside;

/* ---- Creation ---- */

static zt_status make_arena(zt_pass_inside *in, zt_arena *arena,
                            const char *name, size_t size, void **memory) {
  if (!in->dev->counts_only)
    ZT_TRY(zt_device_allocate(in->dev, size, memory));
  zt_arena_init(arena, name, *memory, size);
  arena->released = in->dev->poison;
  return ZT_OK;
}

static zt_status make_arenas(zt_pass_inside *in) {
  ZT_TRY(
      make_arena(in, &in->fixed, "fixed", in->sizes.fixed, &in->fixed_memory));
  ZT_TRY(
      make_arena(in, &in->saved, "saved", in->sizes.saved, &in->saved_memory));
  ZT_TRY(make_arena(in, &in->work, "work", in->sizes.work, &in->work_memory));
  in->host_memory = mmap(NULL, in->sizes.host, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (in->host_memory == MAP_FAILED) {
    in->host_memory = NULL;
    return zt_fail_errno(ZT_ERR_MEMORY, "no memory for %zu bytes of the tape",
                         in->sizes.host);
  }
  zt_arena_init(&in->host, "host", in->host_memory, in->sizes.host);
  return ZT_OK;
}

static zt_status push_ints(zt_pass_inside *in, int64_t n, int32_t **p) {
  return zt_tape_push(&in->fixed, (size_t) n * sizeof(int32_t), p);
}

/* Positions of tokens where all of a sample is one document. */
static zt_status fill_positions(zt_pass *pass) {
  const zt_pass_shape *s = &pass->shape;
  const int64_t n = s->samples * s->target_length;
  int32_t *position = zt_calloc((size_t) n, sizeof *position);
  if (!position)
    return ZT_ERR_MEMORY;
  for (int64_t i = 0; i < n; i++)
    position[i] = (int32_t) (i % s->target_length);
  zt_status status = zt_device_upload(pass->inside->dev, pass->position,
                                      position, (size_t) n * sizeof *position);
  free(position);
  return status;
}

static zt_status make_positions(zt_pass *pass) {
  zt_pass_inside *in = pass->inside;
  const int64_t n = pass->shape.samples * pass->shape.target_length;
  ZT_TRY(push_ints(in, n, &pass->position));
  if (!pass->shape.documents)
    return in->dev->counts_only ? ZT_OK : fill_positions(pass);
  in->position = zt_calloc((size_t) n, sizeof *in->position);
  return in->position ? push_ints(in, n, &pass->first) : ZT_ERR_MEMORY;
}

static zt_status make_inputs(zt_pass *pass) {
  zt_pass_inside *in = pass->inside;
  const zt_pass_shape *s = &pass->shape;
  ZT_TRY(zt_tape_push(&in->fixed, 2 * sizeof(double), &pass->loss));
  if (s->cache)
    return zt_cache_create(pass, s->cache, &pass->cache);
  ZT_TRY(push_ints(in, s->samples * s->source_length, &pass->source));
  ZT_TRY(push_ints(in, s->samples, &pass->source_valid));
  ZT_TRY(push_ints(in, s->samples * s->target_length, &pass->target));
  ZT_TRY(push_ints(in, s->samples * s->target_length, &pass->labels));
  return pass->model->family->encoder ? ZT_OK : make_positions(pass);
}

static zt_status make(zt_pass *pass) {
  zt_pass_inside *in = pass->inside;
  size_t stages = (size_t) pass->model->n_stages;
  in->in = zt_calloc(stages, sizeof *in->in);
  in->kept = zt_calloc(stages, sizeof *in->kept);
  in->mark = zt_calloc(stages, sizeof *in->mark);
  if (!in->in || !in->kept || !in->mark)
    return ZT_ERR_MEMORY;
  ZT_TRY(make_arenas(in));
  pass->tape = (zt_tape){.dev = in->dev,
                         .dtype = pass->shape.dtype,
                         .keep = &in->saved,
                         .work = &in->work,
                         .host = &in->host,
                         .rows_alone = pass->shape.cache != NULL};
  ZT_TRY(make_inputs(pass));
  return pass->model->family->prepare ? pass->model->family->prepare(pass)
                                      : ZT_OK;
}

zt_status zt_pass_create(const zt_model *model, zt_device *dev,
                         const zt_pass_shape *shape, const zt_pass_sizes *sizes,
                         zt_pass **pass) {
  zt_pass *p = zt_calloc(1, sizeof *p);
  zt_pass_inside *in = zt_calloc(1, sizeof *in);
  if (!p || !in) {
    free(p);
    free(in);
    return ZT_ERR_MEMORY;
  }
  *p = (zt_pass){.model = model, .shape = *shape, .inside = in};
  in->dev = dev;
  in->sizes = sizes ? *sizes
                    : (zt_pass_sizes){.host = (size_t) model->n_stages *
                                              planning_host_bytes};
  zt_status status = make(p);
  if (status != ZT_OK) {
    zt_pass_destroy(&p);
    return status;
  }
  *pass = p;
  return ZT_OK;
}

void zt_pass_destroy(zt_pass **pass) {
  if (!*pass)
    return;
  zt_pass_inside *in = (*pass)->inside;
  zt_device_release(in->dev, in->fixed_memory, in->sizes.fixed);
  zt_device_release(in->dev, in->saved_memory, in->sizes.saved);
  zt_device_release(in->dev, in->work_memory, in->sizes.work);
  if (in->host_memory)
    munmap(in->host_memory, in->sizes.host);
  zt_cache_destroy(&(*pass)->cache);
  free(in->in);
  free(in->kept);
  free(in->mark);
  free(in->position);
  free(in);
  free(*pass);
  *pass = NULL;
}

zt_status zt_pass_add_table(zt_pass *pass, int index, const void *values,
                            size_t bytes) {
  ZT_TRY(zt_tape_push(&pass->inside->fixed, bytes, &pass->table[index]));
  return zt_device_upload(pass->inside->dev, pass->table[index], values, bytes);
}

int64_t zt_pass_rows(const zt_pass *pass, bool source) {
  const zt_pass_shape *s = &pass->shape;
  if (pass->cache)
    return source ? pass->cache->source_count : pass->cache->target_count;
  return s->samples * (source ? s->source_length : s->target_length);
}

zt_arena *zt_pass_fixed(zt_pass *pass) {
  return &pass->inside->fixed;
}

zt_pass_sizes zt_pass_peak(const zt_pass *pass) {
  const zt_pass_inside *in = pass->inside;
  return (zt_pass_sizes){.fixed = in->fixed.peak,
                         .saved = in->saved.peak,
                         .work = in->work.peak,
                         .host = in->host.peak};
}

/* ---- A micro-batch ---- */

static zt_status upload_ints(zt_pass *pass, int32_t *to, const int32_t *from,
                             int64_t n) {
  if (!from)
    return ZT_OK;
  return zt_device_upload(pass->inside->dev, to, from,
                          (size_t) n * sizeof *from);
}

static zt_status upload_documents(zt_pass *pass, const int32_t *first) {
  const zt_pass_shape *s = &pass->shape;
  const int64_t n = s->samples * s->target_length;
  int32_t *position = pass->inside->position;
  for (int64_t i = 0; i < n; i++)
    position[i] = (int32_t) (i % s->target_length) - first[i];
  ZT_TRY(upload_ints(pass, pass->position, position, n));
  return upload_ints(pass, pass->first, first, n);
}

void zt_pass_train(zt_pass *pass, bool training) {
  pass->shape.training = training;
}

zt_status zt_pass_begin(zt_pass *pass, const zt_pass_input *input) {
  zt_pass_inside *in = pass->inside;
  const zt_pass_shape *s = &pass->shape;
  zt_arena_release(&in->saved, 0);
  zt_arena_release(&in->work, 0);
  zt_arena_release(&in->host, 0);
  pass->tape.last = NULL;
  memset(pass->slot, 0, sizeof pass->slot);
  memset(in->kept, 0, (size_t) pass->model->n_stages * sizeof *in->kept);
  for (int i = 0; i < ZT_SLOTS; i++)
    in->flows[i].valid = false;
  ZT_TRY(zt_device_zero(in->dev, pass->loss, 2 * sizeof *pass->loss));
  /* The rate alone decides what memory dropout takes. */
  pass->tape.dropout.rate = s->training ? (float) s->dropout : 0;
  if (!input)
    return ZT_OK;
  pass->tape.dropout.key = input->seed;
  pass->tape.dropout.step = input->step;
  pass->tape.dropout.first_sample = input->first_sample;
  ZT_TRY(upload_ints(pass, pass->source, input->source,
                     s->samples * s->source_length));
  ZT_TRY(
      upload_ints(pass, pass->source_valid, input->source_valid, s->samples));
  ZT_TRY(upload_ints(pass, pass->labels, input->labels,
                     s->samples * s->target_length));
  if (s->documents)
    ZT_TRY(upload_documents(pass, input->first));
  return upload_ints(pass, pass->target, input->target,
                     s->samples * s->target_length);
}

/* ---- Forward ---- */

static zt_status run_stage(zt_pass *pass, int s, const void *params,
                           float *gradient, bool recording, bool keep) {
  pass->tape.params = params;
  pass->tape.grads = gradient;
  pass->tape.recording = recording;
  pass->tape.keep = keep ? &pass->inside->saved : &pass->inside->work;
  return pass->model->family->forward(pass, &pass->model->stages[s]);
}

/* A stage that did not record leaves its values in `work`: copy those that the
 * next stages need.  Without a backward to come, one copy a slot is enough. */
static zt_status keep_values(zt_pass *pass, int s) {
  zt_pass_inside *in = pass->inside;
  for (int i = 0; i < ZT_SLOTS; i++) {
    zt_value *value = pass->slot[i];
    if (value == in->in[s][i])
      continue;
    zt_value *kept = &in->kept[pass->shape.training ? s : 0][i];
    if (!kept->data) {
      *kept = (zt_value){
          .rows = value->rows, .cols = value->cols, .dtype = value->dtype};
      ZT_TRY(zt_tape_push(&in->saved, zt_value_bytes(kept), &kept->data));
    }
    ZT_TRY(
        zt_device_copy(in->dev, kept->data, value->data, zt_value_bytes(kept)));
    pass->slot[i] = kept;
  }
  return ZT_OK;
}

/* ---- Backward ---- */

/* Before backward: what has flowed to the values that the stage made becomes
 * their gradient; what it only read goes on adding to the same place. */
static zt_status attach_flows(zt_pass *pass, zt_value *const *before,
                              zt_value *const *after) {
  zt_pass_inside *in = pass->inside;
  for (int i = 0; i < ZT_SLOTS; i++) {
    flow *f = &in->flows[i];
    zt_value *value = after[i];
    if (before[i])
      before[i]->grad = before[i]->home = NULL;
    if (!value)
      continue;
    if (!f->buffer)
      ZT_TRY(zt_tape_push(&in->fixed, zt_value_bytes(value), &f->buffer));
    value->grad = f->valid ? f->buffer : NULL;
    value->home = f->buffer;
  }
  return ZT_OK;
}

/* After backward: the gradients of the values the stage began with. */
static zt_status collect_flows(zt_pass *pass, zt_value *const *before) {
  zt_pass_inside *in = pass->inside;
  for (int i = 0; i < ZT_SLOTS; i++) {
    flow *f = &in->flows[i];
    const zt_value *value = before[i];
    f->valid = value && value->grad;
    if (f->valid && value->grad != f->buffer)
      ZT_TRY(zt_device_copy(in->dev, f->buffer, value->grad,
                            zt_value_bytes(value)));
  }
  return ZT_OK;
}

static zt_status run_backward(zt_pass *pass, zt_value *const *before,
                              const struct zt_record *mark) {
  ZT_TRY(attach_flows(pass, before, pass->slot));
  ZT_TRY(zt_tape_backward(&pass->tape, mark));
  return collect_flows(pass, before);
}

zt_status zt_pass_forward(zt_pass *pass, int s, const void *params,
                          float *gradient) {
  zt_pass_inside *in = pass->inside;
  bool turn = gradient != NULL, recording = pass->shape.training;
  if (!turn && pass->shape.recompute)
    recording = false;
  ZT_TRY(zt_fault_check(ZT_FAULT_COMPUTE));
  memcpy(in->in[s], pass->slot, sizeof pass->slot);
  size_t work = zt_arena_mark(&in->work), host = zt_arena_mark(&in->host);
  in->mark[s] = pass->tape.last;
  ZT_TRY(run_stage(pass, s, params, gradient, recording,
                   recording && !pass->shape.recompute));
  if (turn)
    ZT_TRY(run_backward(pass, in->in[s], in->mark[s]));
  else if (recording)
    return ZT_OK;
  else
    ZT_TRY(keep_values(pass, s));
  zt_arena_release(&in->work, work);
  zt_arena_release(&in->host, host);
  return ZT_OK;
}

zt_status zt_pass_backward(zt_pass *pass, int s, const void *params,
                           float *gradient) {
  zt_pass_inside *in = pass->inside;
  size_t work = zt_arena_mark(&in->work), host = zt_arena_mark(&in->host);
  const struct zt_record *mark = in->mark[s];
  if (pass->shape.recompute) {
    memcpy(pass->slot, in->in[s], sizeof pass->slot);
    mark = pass->tape.last;
    ZT_TRY(run_stage(pass, s, params, gradient, true, false));
  } else {
    pass->tape.params = params;
    pass->tape.grads = gradient;
  }
  ZT_TRY(run_backward(pass, in->in[s], mark));
  memcpy(pass->slot, in->in[s], sizeof pass->slot);
  zt_arena_release(&in->work, work);
  if (pass->shape.recompute)
    zt_arena_release(&in->host, host);
  return ZT_OK;
}

zt_status zt_pass_loss(zt_pass *pass, double *loss) {
  return zt_device_download(pass->inside->dev, loss, pass->loss, sizeof *loss);
}

zt_status zt_pass_loss_terms(zt_pass *pass, double *terms) {
  return zt_device_download(pass->inside->dev, terms, pass->loss + 1,
                            sizeof *terms);
}

/* ---- Tests ---- */

zt_status zt_pass_peek(zt_pass *pass, int slot, float *values) {
  const zt_value *value = pass->slot[slot];
  if (!value)
    return zt_fail(ZT_ERR_INTERNAL, "slot %d holds no value", slot);
  /* Halves are widened from the upper half of the room on. */
  size_t n = (size_t) (value->rows * value->cols),
         bytes = zt_value_bytes(value);
  char *raw = (char *) values + (n * sizeof *values - bytes);
  ZT_TRY(zt_device_download(pass->inside->dev, raw, value->data, bytes));
  for (size_t i = 0; value->dtype != ZT_FP32 && i < n; i++) {
    uint16_t half;
    memcpy(&half, raw + i * sizeof half, sizeof half);
    zt_to_fp32(value->dtype, &half, values + i, 1);
  }
  return ZT_OK;
}
