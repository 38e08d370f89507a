/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/optim.h"

#include "base/beat.h"
#include "base/grid.h"
#include "base/memory.h"
#include "train/exact.h"
#include "train/rates.h"

#include <math.h>
#include <stdlib.h>

/* Elements updated at once: a restart being written follows in such pieces. */
enum { PIECE = 64 * ZT_GRID };

/* Neighbours of a rank's shard that are updated alike. */
typedef struct run {
  int unit;
  int64_t at; /* in the unit's slice */
  int64_t n;
  bool decay;
  double rate; /* factor of the learning rate, 0: frozen */
} run;

struct zt_optim {
  zt_zero3 *zero3;
  zt_optim_options options;
  double *cells;           /* [grid cells of the shard] sums of squares */
  zt_adafactor *adafactor; /* NULL: AdamW */
  run *runs;
  int n_runs;
  zt_before_change before;
  void *before_context;
  size_t runs_capacity;
};

/* The part of a parameter that lies in this rank's slice, added to the runs. */
static zt_status add_run(zt_optim *o, const zt_param *p, double rate,
                         bool decay) {
  int64_t first, at, n = zt_shard_part(&o->zero3->shard, p, &first, &at);
  if (n == 0)
    return ZT_OK;
  run *last = o->n_runs ? &o->runs[o->n_runs - 1] : NULL;
  if (last && last->unit == p->unit && last->decay == decay &&
      last->rate == rate) {
    last->n += n;
    return ZT_OK;
  }
  if (!zt_grow(&o->runs, &o->runs_capacity, (size_t) o->n_runs,
               sizeof *o->runs))
    return ZT_ERR_MEMORY;
  o->runs[o->n_runs++] = (run){p->unit, at, n, decay, rate};
  return ZT_OK;
}

static zt_status make_adafactor(zt_optim *o, const double *rates,
                                const bool *decays) {
  zt_adafactor_options options = o->options.adafactor;
  options.weight_decay = o->options.weight_decay;
  if (o->options.kind != ZT_ADAFACTOR)
    return ZT_OK;
  return zt_adafactor_create(o->zero3, &options, rates, decays, &o->adafactor);
}

static zt_status make(zt_optim *o, double *rates, bool *decays) {
  const zt_params *params = &o->zero3->model->params;
  size_t cells = (size_t) (o->zero3->shard.numel / ZT_GRID);
  o->cells = zt_calloc(cells, sizeof *o->cells);
  if (!o->cells || !rates || !decays)
    return ZT_ERR_MEMORY;
  ZT_TRY(zt_param_rates(params, o->options.freeze, o->options.lr_scale, rates));
  for (int i = 0; i < params->count; i++) {
    decays[i] = params->list[i].decay || o->options.decay_all;
    ZT_TRY(add_run(o, &params->list[i], rates[i], decays[i]));
  }
  return make_adafactor(o, rates, decays);
}

zt_status zt_optim_create(zt_zero3 *zero3, const zt_optim_options *options,
                          zt_optim **optim) {
  zt_optim *o = zt_calloc(1, sizeof *o);
  if (!o)
    return ZT_ERR_MEMORY;
  *o = (zt_optim){.zero3 = zero3, .options = *options};
  size_t params = (size_t) zero3->model->params.count;
  double *rates = zt_calloc(params, sizeof *rates);
  bool *decays = zt_calloc(params, sizeof *decays);
  zt_status status = make(o, rates, decays);
  free(rates);
  free(decays);
  if (status != ZT_OK) {
    zt_optim_destroy(&o);
    return status;
  }
  *optim = o;
  return ZT_OK;
}

void zt_optim_destroy(zt_optim **optim) {
  if (!*optim)
    return;
  zt_adafactor_destroy(&(*optim)->adafactor);
  free((*optim)->cells);
  free((*optim)->runs);
  free(*optim);
  *optim = NULL;
}

size_t zt_optim_bytes(const zt_optim *optim) {
  return optim && optim->adafactor ? zt_adafactor_bytes(optim->adafactor) : 0;
}

/* First parameter of a grid cell that has a gradient which is not finite. */
static zt_status find_bad(const zt_optim *o, int unit, int64_t cell, int *bad) {
  const zt_zero3 *z = o->zero3;
  const zt_params *params = &z->model->params;
  float values[ZT_GRID];
  ZT_TRY(zt_device_download(
      z->dev, values, zt_zero3_sum(z, unit) + cell * ZT_GRID, sizeof values));
  int64_t first = z->shard.slice[unit] * z->shard.rank + cell * ZT_GRID;
  for (int64_t i = 0; i < ZT_GRID; i++)
    if (!isfinite(values[i])) {
      *bad = zt_params_at(params, params->units[unit].start + first + i);
      return ZT_OK;
    }
  *bad = zt_params_at(params, params->units[unit].start + first);
  return ZT_OK; /* finite, but its square is not */
}

/* A parameter that is frozen has no gradient, as elsewhere. */
static zt_status drop_frozen(const zt_optim *o) {
  const zt_zero3 *z = o->zero3;
  for (int i = 0; i < o->n_runs; i++) {
    const run *r = &o->runs[i];
    if (r->rate == 0)
      ZT_TRY(zt_device_zero(z->dev, zt_zero3_sum(z, r->unit) + r->at,
                            (size_t) r->n * sizeof(float)));
  }
  return ZT_OK;
}

zt_status zt_optim_norm(zt_optim *optim, int64_t targets, double *norm,
                        int *bad) {
  const zt_zero3 *z = optim->zero3;
  int64_t none = z->model->params.count, first_bad = none;
  double *cells = optim->cells;
  ZT_TRY(drop_frozen(optim));
  for (int u = 0; u < z->shard.n_units; u++) {
    int64_t n = z->shard.slice[u] / ZT_GRID;
    ZT_TRY(zt_sum_squares(z->dev, n, zt_zero3_sum(z, u), cells));
    for (int64_t c = 0; c < n && first_bad == none; c++)
      if (!isfinite(cells[c])) {
        int index;
        ZT_TRY(find_bad(optim, u, c, &index));
        first_bad = index;
      }
    cells += n;
  }
  double squares;
  ZT_TRY(zt_exact_sum(z->comm, optim->cells, cells - optim->cells, &squares));
  int64_t lowest = -first_bad;
  ZT_TRY(zt_comm_all_reduce(z->comm, &lowest, 1, ZT_MAX));
  *norm = sqrt(squares) / (double) targets;
  *bad = -lowest == none ? -1 : (int) -lowest;
  return ZT_OK;
}

void zt_optim_guard(zt_optim *optim, zt_before_change before, void *context) {
  optim->before = before;
  optim->before_context = context;
}

/* Some neighbours of one run. */
static zt_status update_piece(zt_optim *o, const zt_adamw *alike, int64_t at,
                              const float *gradient, int64_t n) {
  const zt_zero3 *z = o->zero3;
  zt_adamw call = *alike;
  zt_beat_alive();
  if (o->before)
    ZT_TRY(o->before(o->before_context, at, n));
  call.n = n;
  call.p = z->master + at;
  call.m = z->exp_avg + at;
  call.v = z->exp_avg_sq + at;
  call.gradient = gradient;
  return zt_adamw_run(z->dev, &call);
}

static zt_status adamw_step(zt_optim *o, float scale, double lr, int64_t t) {
  const zt_zero3 *z = o->zero3;
  const zt_optim_options *a = &o->options;
  zt_adamw call = {.scale = scale,
                   .beta2 = (float) a->beta2,
                   .eps = (float) a->eps,
                   .rate1 = (float) (1 - a->beta1),
                   .rate2 = (float) (1 - a->beta2),
                   .root_c2 = (float) sqrt(1 - pow(a->beta2, (double) t))};
  for (int i = 0; i < o->n_runs; i++) {
    const run *r = &o->runs[i];
    int64_t first = z->shard.at[r->unit] + r->at;
    const float *gradient = zt_zero3_sum(z, r->unit) + r->at;
    const double rate = lr * r->rate;
    if (r->rate == 0)
      continue;
    call.decay = r->decay ? (float) (1 - rate * a->weight_decay) : 1;
    call.step_size = (float) (rate / (1 - pow(a->beta1, (double) t)));
    for (int64_t x = 0; x < r->n; x += PIECE)
      ZT_TRY(update_piece(o, &call, first + x, gradient + x,
                          r->n - x < PIECE ? r->n - x : PIECE));
  }
  return ZT_OK;
}

zt_status zt_optim_update(zt_optim *optim, double norm, int64_t targets,
                          double lr, int64_t t) {
  const double clip = optim->options.clip;
  double factor = 1;
  if (clip > 0 && clip / (norm + 1e-6) < 1)
    factor = clip / (norm + 1e-6);
  ZT_TRY(zt_fault_check(ZT_FAULT_UPDATE));
  const float scale = (float) (factor / (double) targets);
  if (optim->adafactor)
    return zt_adafactor_update(optim->adafactor, scale, lr, t, optim->before,
                               optim->before_context);
  return adamw_step(optim, scale, lr, t);
}
