/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/zero3.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

enum { NOTHING = -1 };

/* Memory that holds one gathered unit, if that is not to stay. */
typedef struct slot {
  void *data;
  int unit; /* NOTHING: free */
  bool pending;
} slot;

typedef struct zt_zero3_inside {
  zt_zero3_sizes sizes; /* what was allocated */
  void *state_memory, *units_memory, *staging_memory;
  zt_arena state, units, staging;
  slot slots[ZT_COMM_SLOTS];
  int n_slots;   /* 0: one rank in fp32, nothing to gather or to round */
  void **kept;   /* [units] memory of those that are to stay, else NULL */
  bool *is_kept; /* [units] it is gathered there */
  float *gradient;
  float *pieces;  /* staging of a fold */
  int *first_use; /* [units] first stage that uses it */
  int *visits;    /* [n_visits] units */
  int n_visits, next;
  size_t visits_capacity;
  int64_t *packed; /* host: pairs of the vectors, on their way */
  bool vectors_known;
} zt_zero3_inside;

/* ---- Creation ---- */

static zt_status push(zt_arena *arena, int64_t n, size_t size, void *p) {
  void *got = zt_arena_push(arena, (size_t) n * size);
  memcpy(p, &got, sizeof got);
  if (got)
    return ZT_OK;
  return zt_fail(ZT_ERR_INTERNAL, "arena %s is smaller than planned",
                 arena->name);
}

/* Memory for what is sent and received. */
static zt_status allocate_moved(zt_zero3 *z, size_t size, void **memory) {
  if (z->dev->counts_only)
    return ZT_OK;
  return z->comm->ops->allocate ? z->comm->ops->allocate(z->comm, size, memory)
                                : zt_device_allocate(z->dev, size, memory);
}

static void release_moved(zt_zero3 *z, void *memory, size_t size) {
  if (memory && z->comm->ops->release)
    z->comm->ops->release(z->comm, memory, size);
  else
    zt_device_release(z->dev, memory, size);
}

static void init_arena(const zt_zero3 *z, zt_arena *arena, const char *name,
                       size_t size, void *memory) {
  zt_arena_init(arena, name, memory, size);
  arena->released = z->dev->poison;
}

/* Elements of the largest unit with its padding, of those that come and go or
 * of all. */
static int64_t largest_padded(const zt_zero3 *z, bool all) {
  int64_t most = 0;
  for (int u = 0; u < z->shard.n_units; u++)
    if (z->shard.slice[u] > most && (all || !z->inside->kept[u]))
      most = z->shard.slice[u];
  return most * z->shard.ranks;
}

static zt_status make_state(zt_zero3 *z) {
  zt_arena *a = &z->inside->state;
  const zt_model *model = z->model;
  size_t bytes = (size_t) z->shard.numel * sizeof(float);
  if (z->options.master) {
    z->master = z->options.master;
    return ZT_OK;
  }
  ZT_TRY(push(a, z->shard.numel, sizeof(float), &z->master));
  ZT_TRY(zt_device_zero(z->dev, z->master, bytes));
  if (!z->options.training)
    return ZT_OK;
  if (z->options.moments) {
    ZT_TRY(push(a, z->shard.numel, sizeof(float), &z->exp_avg));
    ZT_TRY(push(a, z->shard.numel, sizeof(float), &z->exp_avg_sq));
    ZT_TRY(zt_device_zero(z->dev, z->exp_avg, bytes));
    ZT_TRY(zt_device_zero(z->dev, z->exp_avg_sq, bytes));
  }
  for (int s = 0; s < model->n_stages; s++)
    ZT_TRY(push(a, z->shard.slice[model->stages[s].unit], sizeof(float),
                &z->accumulated[s]));
  return ZT_OK;
}

static zt_status make_kept(zt_zero3 *z) {
  size_t size = zt_dtype_size(z->options.dtype), left = z->options.keep;
  for (int u = 0; u < z->shard.n_units; u++) {
    int64_t n = z->shard.slice[u] * z->shard.ranks;
    if ((size_t) n * size > left)
      continue;
    ZT_TRY(push(&z->inside->units, n, size, &z->inside->kept[u]));
    left -= (size_t) n * size;
  }
  return ZT_OK;
}

static zt_status make_vectors(zt_zero3 *z) {
  const int64_t n = z->model->params.vectors;
  if (z->options.dtype == ZT_FP32 || n == 0)
    return ZT_OK;
  z->inside->packed = zt_calloc((size_t) n / 2 + 1, sizeof *z->inside->packed);
  return z->inside->packed
             ? push(&z->inside->state, n, sizeof(float), &z->vectors)
             : ZT_ERR_MEMORY;
}

/* With one rank a unit is its own slice: nothing to gather, and in fp32 no
 * copy. */
static zt_status make_units(zt_zero3 *z) {
  zt_zero3_inside *in = z->inside;
  size_t size = zt_dtype_size(z->options.dtype);
  in->n_slots = z->comm->size > 1             ? z->options.prefetch + 1
                : z->options.dtype == ZT_FP32 ? 0
                                              : 1;
  if (in->n_slots > 0)
    ZT_TRY(make_kept(z));
  int64_t most = largest_padded(z, false);
  for (int i = 0; i < in->n_slots; i++) {
    in->slots[i].unit = NOTHING;
    ZT_TRY(push(&in->units, most, size, &in->slots[i].data));
  }
  if (!z->options.training)
    return ZT_OK;
  ZT_TRY(
      push(&in->units, largest_padded(z, true), sizeof(float), &in->gradient));
  return push(&in->staging, (int64_t) zt_comm_fold_staging(z->comm), 1,
              &in->pieces);
}

static zt_status make(zt_zero3 *z) {
  zt_zero3_inside *in = z->inside;
  const zt_model *model = z->model;
  z->accumulated = zt_calloc((size_t) model->n_stages, sizeof *z->accumulated);
  in->first_use =
      zt_calloc((size_t) model->params.n_units, sizeof *in->first_use);
  in->kept = zt_calloc((size_t) model->params.n_units, sizeof *in->kept);
  in->is_kept = zt_calloc((size_t) model->params.n_units, sizeof *in->is_kept);
  if (!z->accumulated || !in->first_use || !in->kept || !in->is_kept)
    return ZT_ERR_MEMORY;
  for (int s = model->n_stages - 1; s >= 0; s--)
    in->first_use[model->stages[s].unit] = s;
  ZT_TRY(
      zt_shard_init(&z->shard, &model->params, z->comm->size, z->comm->rank));
  if (!z->dev->counts_only)
    ZT_TRY(zt_device_allocate(z->dev, in->sizes.state, &in->state_memory));
  ZT_TRY(allocate_moved(z, in->sizes.units, &in->units_memory));
  ZT_TRY(allocate_moved(z, in->sizes.staging, &in->staging_memory));
  init_arena(z, &in->state, "state", in->sizes.state, in->state_memory);
  init_arena(z, &in->units, "units", in->sizes.units, in->units_memory);
  init_arena(z, &in->staging, "staging", in->sizes.staging, in->staging_memory);
  ZT_TRY(make_state(z));
  ZT_TRY(make_vectors(z));
  size_t statistics = (size_t) z->options.statistics;
  if (statistics > 0 &&
      !(z->statistics = zt_calloc(statistics, sizeof *z->statistics)))
    return ZT_ERR_MEMORY;
  return make_units(z);
}

zt_status zt_zero3_create(const zt_model *model, zt_device *dev, zt_comm *comm,
                          const zt_zero3_options *options,
                          const zt_zero3_sizes *sizes, zt_zero3 **zero3) {
  zt_zero3 *z = zt_calloc(1, sizeof *z);
  zt_zero3_inside *in = zt_calloc(1, sizeof *in);
  if (!z || !in) {
    free(z);
    free(in);
    return ZT_ERR_MEMORY;
  }
  *z = (zt_zero3){.model = model,
                  .dev = dev,
                  .comm = comm,
                  .options = *options,
                  .inside = in};
  if (sizes)
    in->sizes = *sizes;
  zt_status status = make(z);
  if (status != ZT_OK) {
    zt_zero3_destroy(&z);
    return status;
  }
  *zero3 = z;
  return ZT_OK;
}

void zt_zero3_destroy(zt_zero3 **zero3) {
  if (!*zero3)
    return;
  zt_zero3 *z = *zero3;
  zt_zero3_inside *in = z->inside;
  zt_device_release(z->dev, in->state_memory, in->sizes.state);
  release_moved(z, in->units_memory, in->sizes.units);
  release_moved(z, in->staging_memory, in->sizes.staging);
  zt_shard_free(&z->shard);
  free(z->accumulated);
  free(z->statistics);
  free(in->first_use);
  free(in->kept);
  free(in->is_kept);
  free(in->visits);
  free(in->packed);
  free(in);
  free(z);
  *zero3 = NULL;
}

zt_zero3_sizes zt_zero3_peak(const zt_zero3 *zero3) {
  const zt_zero3_inside *in = zero3->inside;
  size_t host = (size_t) zero3->options.statistics * sizeof *zero3->statistics;
  if (zero3->vectors)
    host += (size_t) zero3->model->params.vectors * sizeof *zero3->vectors;
  return (zt_zero3_sizes){.state = in->state.peak,
                          .units = in->units.peak,
                          .staging = in->staging.peak,
                          .host = host};
}

/* ---- Gathering ---- */

zt_status zt_zero3_plan_visits(zt_zero3 *zero3, const int *stages, int n) {
  zt_zero3_inside *in = zero3->inside;
  if ((size_t) n > in->visits_capacity) {
    int *grown = realloc(in->visits, (size_t) n * sizeof *grown);
    if (!grown)
      return zt_fail(ZT_ERR_MEMORY, "out of memory (%d visits)", n);
    in->visits = grown;
    in->visits_capacity = (size_t) n;
  }
  for (int i = 0; i < n; i++)
    in->visits[i] = zero3->model->stages[stages[i]].unit;
  in->n_visits = n;
  in->next = 0;
  return ZT_OK;
}

static slot *slot_of(zt_zero3_inside *in, int unit) {
  for (int i = 0; i < in->n_slots; i++)
    if (in->slots[i].unit == unit)
      return &in->slots[i];
  return NULL;
}

/* A slot whose unit is not among the visits from `from` up to `to`. */
static slot *slot_to_spare(zt_zero3_inside *in, int from, int to) {
  for (int i = 0; i < in->n_slots; i++) {
    bool wanted = false;
    for (int v = from; v <= to && v < in->n_visits; v++)
      wanted |= in->visits[v] == in->slots[i].unit;
    if (!wanted && !in->slots[i].pending)
      return &in->slots[i];
  }
  return NULL;
}

/* Where a unit is gathered by way of a slot. */
static void *place_of(const zt_zero3 *z, int unit, const slot *by) {
  return z->inside->kept[unit] ? z->inside->kept[unit] : by->data;
}

static zt_status start_gather(zt_zero3 *z, int unit, slot *to) {
  const zt_dtype dtype = z->options.dtype;
  const int64_t slice = z->shard.slice[unit];
  const size_t bytes = (size_t) slice * zt_dtype_size(dtype);
  const void *own = z->master + z->shard.at[unit];
  void *full = place_of(z, unit, to);
  if (dtype != ZT_FP32) {
    void *rounded = (char *) full + (size_t) z->comm->rank * bytes;
    ZT_TRY(zt_convert(z->dev, slice, ZT_FP32, own, dtype, rounded));
    own = rounded;
  }
  to->unit = unit;
  to->pending = z->comm->size > 1;
  if (!to->pending)
    return zt_fault_check(ZT_FAULT_GATHER);
  return zt_comm_all_gather_start(z->comm, (int) (to - z->inside->slots), own,
                                  full, bytes);
}

/* A rank has the elements of its slices and zeros elsewhere.  The sum of their
 * bits as integers is exact. */
static zt_status gather_vectors(zt_zero3 *z) {
  const zt_params *params = &z->model->params;
  const size_t bytes = (size_t) params->vectors * sizeof *z->vectors;
  int64_t *packed = z->inside->packed;
  ZT_TRY(zt_device_zero(z->dev, z->vectors, bytes));
  for (int i = 0; i < params->count; i++) {
    const zt_param *p = &params->list[i];
    int64_t first, at, n;
    if (p->ndim == 1 && (n = zt_shard_part(&z->shard, p, &first, &at)) > 0)
      ZT_TRY(zt_device_copy(z->dev, z->vectors + p->vector + first,
                            z->master + z->shard.at[p->unit] + at,
                            (size_t) n * sizeof *z->vectors));
  }
  if (z->comm->size == 1)
    return ZT_OK;
  ZT_TRY(zt_device_download(z->dev, packed, z->vectors, bytes));
  ZT_TRY(zt_comm_all_reduce(z->comm, packed, (int) (params->vectors / 2 + 1),
                            ZT_SUM));
  return zt_device_upload(z->dev, z->vectors, packed, bytes);
}

zt_status zt_zero3_visit(zt_zero3 *zero3, const void **params) {
  zt_zero3_inside *in = zero3->inside;
  int now = in->next++;
  int unit = in->visits[now];
  if (in->n_slots == 0) {
    ZT_TRY(zt_fault_check(ZT_FAULT_GATHER));
    *params = zero3->master + zero3->shard.at[unit];
    return ZT_OK;
  }
  if (zero3->vectors && !in->vectors_known)
    ZT_TRY(gather_vectors(zero3));
  in->vectors_known = true;
  /* Every rank decides alike: it has the same list and the same slots. */
  for (int v = now; v < now + in->n_slots && v < in->n_visits; v++) {
    if (in->is_kept[in->visits[v]] || slot_of(in, in->visits[v]))
      continue;
    slot *to = slot_to_spare(in, now, v);
    if (to)
      ZT_TRY(start_gather(zero3, in->visits[v], to));
  }
  if (in->is_kept[unit]) {
    *params = in->kept[unit];
    return zt_fault_check(ZT_FAULT_GATHER);
  }
  slot *here = slot_of(in, unit);
  if (here->pending)
    ZT_TRY(zt_comm_all_gather_wait(zero3->comm, (int) (here - in->slots)));
  here->pending = false;
  *params = place_of(zero3, unit, here);
  if (in->kept[unit]) {
    in->is_kept[unit] = true;
    here->unit = NOTHING;
  }
  return ZT_OK;
}

/* ---- Gradients ---- */

void zt_zero3_forget_units(zt_zero3 *zero3) {
  zt_zero3_inside *in = zero3->inside;
  in->vectors_known = false;
  for (int i = 0; i < in->n_slots; i++)
    in->slots[i].unit = NOTHING;
  for (int u = 0; u < zero3->shard.n_units; u++)
    in->is_kept[u] = false;
}

zt_status zt_zero3_begin_step(zt_zero3 *zero3) {
  zt_zero3_forget_units(zero3);
  for (int s = 0; s < zero3->model->n_stages; s++) {
    int64_t slice = zero3->shard.slice[zero3->model->stages[s].unit];
    ZT_TRY(zt_device_zero(zero3->dev, zero3->accumulated[s],
                          (size_t) slice * sizeof(float)));
  }
  return ZT_OK;
}

zt_status zt_zero3_gradient(zt_zero3 *zero3, int stage, float **gradient) {
  int64_t slice = zero3->shard.slice[zero3->model->stages[stage].unit];
  *gradient = zero3->inside->gradient;
  return zt_device_zero(zero3->dev, *gradient,
                        (size_t) (slice * zero3->shard.ranks) * sizeof(float));
}

static zt_status add_piece(void *dev, int64_t n, float *to, const float *from) {
  return zt_accumulate(dev, n, to, from);
}

zt_status zt_zero3_reduce(zt_zero3 *zero3, int stage, int contributors) {
  zt_zero3_inside *in = zero3->inside;
  return zt_comm_fold(
      zero3->comm,
      &(zt_fold){.gradient =
                     zero3->comm->rank < contributors ? in->gradient : NULL,
                 .accumulator = zero3->accumulated[stage],
                 .slice = zero3->shard.slice[zero3->model->stages[stage].unit],
                 .contributors = contributors,
                 .staging = in->pieces,
                 .add = add_piece,
                 .context = zero3->dev});
}

zt_status zt_zero3_finish(zt_zero3 *zero3) {
  const zt_model *model = zero3->model;
  for (int s = 0; s < model->n_stages; s++) {
    int unit = model->stages[s].unit, first = zero3->inside->first_use[unit];
    if (first != s)
      ZT_TRY(zt_accumulate(zero3->dev, zero3->shard.slice[unit],
                           zero3->accumulated[first], zero3->accumulated[s]));
  }
  return ZT_OK;
}

float *zt_zero3_sum(const zt_zero3 *zero3, int unit) {
  return zero3->accumulated[zero3->inside->first_use[unit]];
}
