/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/adafactor.h"

#include "base/beat.h"
#include "base/grid.h"
#include "base/memory.h"
#include "train/exact.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
  GROUP = 1 << 20,     /* statistics made at once, if it is several tensors */
  PIECE = 64 * ZT_GRID /* elements updated at once, as AdamW does */
};

/* A parameter that is trained, and what this rank has of it. */
typedef struct tensor {
  int unit;
  int64_t numel, rows, columns; /* columns 0: not factored, a row an element */
  int64_t statistics;           /* the first one's place */
  double rate;
  bool decay;
  int64_t at, first, n; /* in the unit's slice; element of the tensor; count */
} tensor;

struct zt_adafactor {
  zt_zero3 *zero3;
  zt_adafactor_options options;
  tensor *tensors;
  int n_tensors;
  int64_t most;    /* statistics of the largest group */
  int64_t *counts; /* [most] host, and on the device */
  float *factors;  /* [most] host, and on the device */
  float *next;     /* [statistics] host: those of this step */
  int64_t *counts_there;
  float *factors_there;
  float *cell; /* [ZT_GRID] device: a part of a grid cell */
  /* Squares of updates, then of parameters: sums of each tensor's share of the
   * grid cells here. */
  double *squares; /* [2 * n_squares] */
  int *square_of;  /* [2 * n_squares] tensor, for parameters n_tensors more */
  int64_t n_squares;
  int64_t *work; /* [6 * n_tensors] of exact sums */
  double *sums;  /* [2 * n_tensors] */
};

/* ---- Layout ---- */

static bool is_factored(const zt_param *p) {
  return p->ndim == 2;
}

static int64_t statistics_of(const zt_param *p) {
  return is_factored(p) ? p->dims[0] + p->dims[1] : p->numel;
}

int64_t zt_adafactor_statistics(const zt_params *params) {
  int64_t n = 0;
  for (int i = 0; i < params->count; i++)
    n += statistics_of(&params->list[i]);
  return n;
}

static zt_status add_statistic(zt_params *stored, const zt_param *p,
                               const char *what, int ndim,
                               const int64_t *dims) {
  char name[512];
  snprintf(name, sizeof name, "%s.%s", p->name, what);
  return zt_params_add(stored, name, ndim, dims, false, (zt_init){0}, NULL);
}

static zt_status make_stored(const zt_params *params, zt_params *stored) {
  ZT_TRY(zt_params_copy(params, stored));
  ZT_TRY(zt_params_begin_unit(stored, "statistics"));
  for (int i = 0; i < params->count; i++) {
    const zt_param *p = &params->list[i];
    if (is_factored(p)) {
      ZT_TRY(add_statistic(stored, p, "exp_avg_sq_row", 1, &p->dims[0]));
      ZT_TRY(add_statistic(stored, p, "exp_avg_sq_col", 1, &p->dims[1]));
    } else {
      ZT_TRY(add_statistic(stored, p, "exp_avg_sq", p->ndim, p->dims));
    }
  }
  return zt_params_finish(stored);
}

zt_status zt_adafactor_stored(const zt_params *params, zt_params *stored) {
  *stored = (zt_params){0};
  zt_status status = make_stored(params, stored);
  if (status != ZT_OK)
    zt_params_free(stored);
  return status;
}

/* ---- Creation ---- */

static int64_t cells_of(const tensor *t) {
  return t->n ? (t->at + t->n - 1) / ZT_GRID - t->at / ZT_GRID + 1 : 0;
}

static int64_t tensor_statistics(const tensor *t) {
  return t->rows + t->columns;
}

/* The tensors from `first` on whose statistics are made at once. */
static int group_end(const zt_adafactor *a, int first, int64_t *statistics) {
  int end = first;
  *statistics = 0;
  while (end < a->n_tensors &&
         (end == first ||
          *statistics + tensor_statistics(&a->tensors[end]) <= GROUP))
    *statistics += tensor_statistics(&a->tensors[end++]);
  return end;
}

static void list_tensors(zt_adafactor *a, const double *rates,
                         const bool *decays) {
  const zt_params *params = &a->zero3->model->params;
  int64_t place = 0, n;
  for (int i = 0; i < params->count; i++) {
    const zt_param *p = &params->list[i];
    tensor t = {.unit = p->unit,
                .numel = p->numel,
                .rows = is_factored(p) ? p->dims[0] : p->numel,
                .columns = is_factored(p) ? p->dims[1] : 0,
                .statistics = place,
                .rate = rates[i],
                .decay = decays[i]};
    place += statistics_of(p);
    t.n = zt_shard_part(&a->zero3->shard, p, &t.first, &t.at);
    if (t.rate == 0)
      continue;
    a->tensors[a->n_tensors++] = t;
    a->n_squares += cells_of(&t);
  }
  for (int first = 0; first < a->n_tensors;) {
    first = group_end(a, first, &n);
    a->most = n > a->most ? n : a->most;
  }
}

static void *host(size_t n, size_t size) {
  return zt_calloc(n ? n : 1, size);
}

static zt_status make(zt_adafactor *a, const double *rates,
                      const bool *decays) {
  zt_zero3 *z = a->zero3;
  size_t params = (size_t) z->model->params.count;
  a->tensors = host(params, sizeof *a->tensors);
  if (!a->tensors)
    return ZT_ERR_MEMORY;
  list_tensors(a, rates, decays);
  const size_t most = (size_t) a->most;
  a->counts = host(most, sizeof *a->counts);
  a->factors = host(most, sizeof *a->factors);
  a->next = host((size_t) z->options.statistics, sizeof *a->next);
  a->squares = host(2 * (size_t) a->n_squares, sizeof *a->squares);
  a->square_of = host(2 * (size_t) a->n_squares, sizeof *a->square_of);
  a->work = host(6 * params, sizeof *a->work);
  a->sums = host(2 * params, sizeof *a->sums);
  if (!a->counts || !a->factors || !a->next || !a->squares || !a->square_of ||
      !a->work || !a->sums)
    return ZT_ERR_MEMORY;
  void *there[3];
  ZT_TRY(zt_device_allocate(z->dev, most * sizeof *a->counts, &there[0]));
  a->counts_there = there[0];
  ZT_TRY(zt_device_allocate(z->dev, most * sizeof *a->factors, &there[1]));
  a->factors_there = there[1];
  ZT_TRY(zt_device_allocate(z->dev, ZT_GRID * sizeof *a->cell, &there[2]));
  a->cell = there[2];
  return ZT_OK;
}

zt_status zt_adafactor_create(zt_zero3 *zero3,
                              const zt_adafactor_options *options,
                              const double *rates, const bool *decays,
                              zt_adafactor **adafactor) {
  zt_adafactor *a = zt_calloc(1, sizeof *a);
  if (!a)
    return ZT_ERR_MEMORY;
  *a = (zt_adafactor){.zero3 = zero3, .options = *options};
  zt_status status = make(a, rates, decays);
  if (status != ZT_OK) {
    zt_adafactor_destroy(&a);
    return status;
  }
  *adafactor = a;
  return ZT_OK;
}

void zt_adafactor_destroy(zt_adafactor **adafactor) {
  zt_adafactor *a = *adafactor;
  if (!a)
    return;
  const size_t most = (size_t) a->most;
  zt_device *dev = a->zero3->dev;
  zt_device_release(dev, a->counts_there, most * sizeof *a->counts);
  zt_device_release(dev, a->factors_there, most * sizeof *a->factors);
  zt_device_release(dev, a->cell, ZT_GRID * sizeof *a->cell);
  free(a->tensors);
  free(a->counts);
  free(a->factors);
  free(a->next);
  free(a->squares);
  free(a->square_of);
  free(a->work);
  free(a->sums);
  free(a);
  *adafactor = NULL;
}

size_t zt_adafactor_bytes(const zt_adafactor *a) {
  return 2 * (size_t) a->most * (sizeof *a->counts + sizeof *a->factors) +
         (size_t) a->zero3->options.statistics * sizeof *a->next +
         ZT_GRID * sizeof *a->cell +
         2 * (size_t) a->n_squares *
             (sizeof *a->squares + sizeof *a->square_of);
}

/* ---- Statistics ---- */

/* A phase for all tensors of a group. */
static zt_status run_phase(zt_adafactor *a, int first, int end,
                           zt_factored_phase phase, float scale) {
  const zt_zero3 *z = a->zero3;
  int64_t at = 0;
  for (int i = first; i < end; i++) {
    const tensor *t = &a->tensors[i];
    zt_factored call = {.phase = phase,
                        .first = t->first,
                        .n = t->n,
                        .columns = t->columns ? t->columns : 1,
                        .gradient = zt_zero3_sum(z, t->unit) + t->at,
                        .scale = scale,
                        .row_sum = a->counts_there + at,
                        .row_factor = a->factors_there + at};
    if (t->columns) {
      call.column_sum = call.row_sum + t->rows;
      call.column_factor = call.row_factor + t->rows;
    }
    at += tensor_statistics(t);
    zt_beat_alive();
    if (t->n)
      ZT_TRY(zt_factored_run(z->dev, &call));
  }
  return ZT_OK;
}

/* Integers of the slices here, then of all ranks. */
static zt_status count(zt_adafactor *a, int first, int end, int64_t n,
                       zt_factored_phase phase, float scale) {
  const zt_zero3 *z = a->zero3;
  const size_t bytes = (size_t) n * sizeof *a->counts;
  ZT_TRY(zt_device_zero(z->dev, a->counts_there, bytes));
  ZT_TRY(run_phase(a, first, end, phase, scale));
  ZT_TRY(zt_device_download(z->dev, a->counts, a->counts_there, bytes));
  return zt_comm_all_reduce(z->comm, a->counts, (int) n,
                            phase == ZT_FACTORED_LARGEST ? ZT_MAX : ZT_SUM);
}

/* A power of two for numbers up to the one with these bits, so that `terms`
 * squares as integers do not overflow: at least 40 bits of a sum of 2^18.  What
 * is below 2^-90 in any case is nothing beside eps1. */
static float multiplier(int64_t bits, int64_t terms) {
  enum { MOST = 25, LEAST_EXPONENT = -90 };
  int32_t low = (int32_t) bits;
  int exponent, log2_terms = 0;
  float largest;
  memcpy(&largest, &low, sizeof largest);
  if (largest == 0)
    return 0;
  frexpf(largest, &exponent);
  if (exponent < LEAST_EXPONENT)
    exponent = LEAST_EXPONENT;
  while (((int64_t) 1 << log2_terms) < terms)
    log2_terms++;
  int room = (62 - log2_terms) / 2;
  return ldexpf(1, (room < MOST ? room : MOST) - exponent);
}

static void make_multipliers(zt_adafactor *a, int first, int end) {
  int64_t at = 0;
  for (int i = first; i < end; i++) {
    const tensor *t = &a->tensors[i];
    for (int64_t r = 0; r < t->rows; r++, at++)
      a->factors[at] = multiplier(a->counts[at], t->columns ? t->columns : 1);
    for (int64_t c = 0; c < t->columns; c++, at++)
      a->factors[at] = multiplier(a->counts[at], t->rows);
  }
}

/* Running means of n statistics from the sums, which the multipliers tell how
 * to read. */
static void average(const zt_adafactor *a, double beta2, int64_t at,
                    int64_t statistic, int64_t n, int64_t terms) {
  const float *old = a->zero3->statistics;
  for (int64_t i = 0; i < n; i++) {
    double m = a->factors[at + i];
    double squares = m > 0 ? (double) a->counts[at + i] / m / m : 0;
    double mean = squares / (double) terms + a->options.eps1;
    a->next[statistic + i] =
        (float) (beta2 * (double) old[statistic + i] + (1 - beta2) * mean);
  }
}

static float inverse_root(double x) {
  return x > 0 ? (float) (1 / sqrt(x)) : 0;
}

/* What the elements of rows and columns are multiplied by. */
static void make_factors(zt_adafactor *a, const tensor *t, int64_t at) {
  const float *row = a->next + t->statistics, *column = row + t->rows;
  double mean = t->columns ? 0 : 1;
  for (int64_t r = 0; t->columns && r < t->rows; r++)
    mean += (double) row[r] / (double) t->rows;
  for (int64_t r = 0; r < t->rows; r++)
    a->factors[at + r] = inverse_root((double) row[r] / mean);
  for (int64_t c = 0; c < t->columns; c++)
    a->factors[at + t->rows + c] = inverse_root((double) column[c]);
}

static zt_status upload_factors(const zt_adafactor *a, int64_t n) {
  return zt_device_upload(a->zero3->dev, a->factors_there, a->factors,
                          (size_t) n * sizeof *a->factors);
}

/* The statistics of a group, and its gradients turned into updates. */
static zt_status scale_group(zt_adafactor *a, int first, int end, int64_t n,
                             float scale, double beta2) {
  int64_t at = 0;
  ZT_TRY(count(a, first, end, n, ZT_FACTORED_LARGEST, scale));
  make_multipliers(a, first, end);
  ZT_TRY(upload_factors(a, n));
  ZT_TRY(count(a, first, end, n, ZT_FACTORED_SUM, scale));
  for (int i = first; i < end; i++) {
    const tensor *t = &a->tensors[i];
    average(a, beta2, at, t->statistics, t->rows, t->columns ? t->columns : 1);
    average(a, beta2, at + t->rows, t->statistics + t->rows, t->columns,
            t->rows);
    make_factors(a, t, at);
    at += tensor_statistics(t);
  }
  ZT_TRY(upload_factors(a, n));
  return run_phase(a, first, end, ZT_FACTORED_UPDATE, scale);
}

/* ---- Squares of a tensor ---- */

/* Sums of its elements in each grid cell, the same on any number of ranks. */
static zt_status add_squares(zt_adafactor *a, const tensor *t, const float *x,
                             int sum, int64_t *n) {
  zt_device *dev = a->zero3->dev;
  for (int64_t i = 0; i < t->n;) {
    int64_t in_cell = (t->at + i) % ZT_GRID, cells = 0;
    int64_t take = t->n - i < ZT_GRID - in_cell ? t->n - i : ZT_GRID - in_cell;
    if (in_cell == 0 && (cells = (t->n - i) / ZT_GRID) > 0) {
      take = cells * ZT_GRID;
      ZT_TRY(zt_sum_squares(dev, cells, x + i, a->squares + *n));
    } else {
      cells = 1;
      ZT_TRY(zt_device_zero(dev, a->cell, ZT_GRID * sizeof *x));
      ZT_TRY(zt_device_copy(dev, a->cell, x + i, (size_t) take * sizeof *x));
      ZT_TRY(zt_sum_squares(dev, 1, a->cell, a->squares + *n));
    }
    for (int64_t c = 0; c < cells; c++)
      a->square_of[*n + c] = sum;
    *n += cells;
    i += take;
  }
  return ZT_OK;
}

static zt_status sum_squares(zt_adafactor *a) {
  const zt_zero3 *z = a->zero3;
  const bool parameters = a->options.scale_parameter;
  int64_t n = 0;
  for (int i = 0; i < a->n_tensors; i++) {
    const tensor *t = &a->tensors[i];
    ZT_TRY(add_squares(a, t, zt_zero3_sum(z, t->unit) + t->at, i, &n));
    if (parameters)
      ZT_TRY(add_squares(a, t, z->master + z->shard.at[t->unit] + t->at,
                         a->n_tensors + i, &n));
  }
  return zt_exact_sums(z->comm, a->squares, a->square_of, n,
                       (parameters ? 2 : 1) * a->n_tensors, a->work, a->sums);
}

/* ---- The step ---- */

static zt_status step_down(zt_adafactor *a, int index, double lr,
                           zt_before_change before, void *context) {
  const zt_zero3 *z = a->zero3;
  const zt_adafactor_options *o = &a->options;
  const tensor *t = &a->tensors[index];
  const int64_t at = z->shard.at[t->unit] + t->at;
  const float *update = zt_zero3_sum(z, t->unit) + t->at;
  double rms = sqrt(a->sums[index] / (double) t->numel), rate = lr * t->rate;
  if (o->scale_parameter)
    rate *=
        fmax(o->eps2, sqrt(a->sums[a->n_tensors + index] / (double) t->numel));
  const float decay = t->decay ? (float) (1 - rate * o->weight_decay) : 1;
  const float step_size = (float) (rate / fmax(1, rms / o->clip_threshold));
  for (int64_t x = 0; x < t->n; x += PIECE) {
    int64_t n = t->n - x < PIECE ? t->n - x : PIECE;
    zt_beat_alive();
    if (before)
      ZT_TRY(before(context, at + x, n));
    ZT_TRY(zt_step_down(z->dev, n, z->master + at + x, update + x, decay,
                        step_size));
  }
  return ZT_OK;
}

/* The step's statistics take the place of the last ones, of which a restart
 * being written has this rank's share to read: it lies behind the parameters,
 * as zt_adafactor_stored() has it. */
static zt_status keep_statistics(zt_adafactor *a, zt_before_change before,
                                 void *context) {
  zt_zero3 *z = a->zero3;
  const int64_t n = z->options.statistics;
  if (before)
    ZT_TRY(before(context, z->shard.numel, zt_shard_slice(n, z->shard.ranks)));
  for (int i = 0; i < a->n_tensors; i++) {
    const tensor *t = &a->tensors[i];
    memcpy(z->statistics + t->statistics, a->next + t->statistics,
           (size_t) tensor_statistics(t) * sizeof *a->next);
  }
  return ZT_OK;
}

zt_status zt_adafactor_update(zt_adafactor *a, float scale, double lr,
                              int64_t t, zt_before_change before,
                              void *context) {
  const double beta2 = 1 - pow((double) t, -a->options.decay_rate);
  int64_t n;
  for (int first = 0, end; first < a->n_tensors; first = end) {
    end = group_end(a, first, &n);
    ZT_TRY(scale_group(a, first, end, n, scale, beta2));
  }
  ZT_TRY(sum_squares(a));
  for (int i = 0; i < a->n_tensors; i++)
    ZT_TRY(step_down(a, i, lr, before, context));
  return keep_statistics(a, before, context);
}
