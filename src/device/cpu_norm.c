/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/cpu_kernels.h"

#include "device/cpu_vec.h"

/* Sum of x over a row, and of (x - mean)^2. */
static float row_sum(const float *x, int64_t d) {
  v16 sum = {0};
  int64_t i = 0;
  for (; i + ZT_LANES <= d; i += ZT_LANES)
    sum += v16_load(x + i);
  if (i < d)
    sum += v16_load_part(x + i, d - i, (v16){0});
  return v16_sum(sum);
}

static float row_squares(const float *x, float mean, int64_t d) {
  v16 sum = {0};
  int64_t i = 0;
  for (; i + ZT_LANES <= d; i += ZT_LANES) {
    v16 v = v16_load(x + i) - mean;
    sum += v * v;
  }
  if (i < d) {
    v16 v = v16_load_part(x + i, d - i, (v16){0} + mean) - mean;
    sum += v * v;
  }
  return v16_sum(sum);
}

void zt_cpu_norm_forward(const zt_norm *call, int64_t begin, int64_t end) {
  int64_t d = call->d;
  const float *w = call->w, *b = call->b;
  for (int64_t r = begin; r < end; r++) {
    const float *x = (const float *) call->x + r * d;
    float *y = (float *) call->y + r * d;
    float mean = 0;
    if (call->kind == ZT_LAYER_NORM)
      mean = row_sum(x, d) / (float) d;
    float rstd = 1 / sqrtf(row_squares(x, mean, d) / (float) d + call->eps);
    call->stats[r] = rstd;
    if (call->kind == ZT_LAYER_NORM) {
      call->stats[call->rows + r] = mean;
      for (int64_t i = 0; i < d; i++)
        y[i] = w[i] * ((x[i] - mean) * rstd) + b[i];
    } else {
      for (int64_t i = 0; i < d; i++)
        y[i] = w[i] * (x[i] * rstd);
    }
  }
}

/* With n = (x - mean) * rstd and g = dy * w:
 * dx = rstd * (g - n * mean(g * n) - mean(g)), the last term for layer norm. */
static void backward_row(const zt_norm *call, int64_t r, float *dw, float *db) {
  int64_t d = call->d, i = 0;
  const float *w = call->w;
  const float *x = (const float *) call->x + r * d;
  const float *dy = (const float *) call->dy + r * d;
  float *dx = (float *) call->dx + r * d;
  float rstd = call->stats[r];
  float mean = db ? call->stats[call->rows + r] : 0;
  v16 gn = {0}, g1 = {0};
  for (; i < d; i += ZT_LANES) {
    v16 vx, vdy, vw;
    if (i + ZT_LANES <= d) {
      vx = v16_load(x + i);
      vdy = v16_load(dy + i);
      vw = v16_load(w + i);
    } else {
      vx = v16_load_part(x + i, d - i, (v16){0});
      vdy = v16_load_part(dy + i, d - i, (v16){0});
      vw = v16_load_part(w + i, d - i, (v16){0});
    }
    v16 g = vdy * vw;
    gn += g * ((vx - mean) * rstd);
    g1 += g;
  }
  float mean_gn = v16_sum(gn) / (float) d;
  float mean_g = db ? v16_sum(g1) / (float) d : 0;
  for (i = 0; i < d; i++) {
    float n = (x[i] - mean) * rstd, g = dy[i] * w[i];
    float change = rstd * (g - n * mean_gn - mean_g);
    dw[i] += dy[i] * n;
    if (db)
      db[i] += dy[i];
    dx[i] = call->accumulate_dx ? dx[i] + change : change;
  }
}

void zt_cpu_norm_backward(const zt_norm *call, int64_t begin, int64_t end,
                          float *partial) {
  bool layer = call->kind == ZT_LAYER_NORM;
  float *db = layer ? partial + call->d : NULL;
  memset(partial, 0,
         (size_t) (layer ? 2 : 1) * (size_t) call->d * sizeof *partial);
  for (int64_t r = begin; r < end; r++)
    backward_row(call, r, partial, db);
}

void zt_cpu_fold_rows(float *to, const float *rows, int64_t count,
                      int64_t stride, int64_t begin, int64_t end) {
  for (int64_t r = 0; r < count; r++)
    for (int64_t i = begin; i < end; i++)
      to[i] += rows[r * stride + i];
}
