/* SPDX-License-Identifier: BSD-3-Clause */
/* Attention of generation: single query rows, each with keys of its own. */
#include "device/cpu_kernels.h"

#include "device/cpu_lanes.h"

enum { KEYS = 4, VECTORS = 4, WIDE = VECTORS * ZT_LANES };

/* Row of k and v that holds key j. */
static inline int64_t row_of_key(const zt_row_attention *a, int64_t row,
                                 int64_t j) {
  int64_t at = a->base[row] + j;
  return a->place ? a->place[at] : at;
}

/* Sums run in whole vectors alone, so that contraction hits all or none. */
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")

/* out[c] = q times k[c]. */
static void dots(int64_t d, const float *q, const float *const k[KEYS],
                 float out[KEYS]) {
  lanes sum[KEYS] = {{{{0}}}};
  int64_t p = 0;
  for (; p + ZT_LANES <= d; p += ZT_LANES)
    for (int c = 0; c < KEYS; c++)
      lanes_add_product(&sum[c], lanes_load(q + p), lanes_load(k[c] + p));
  for (int c = 0; p < d && c < KEYS; c++)
    lanes_add_product(&sum[c], lanes_load_part(q + p, d - p),
                      lanes_load_part(k[c] + p, d - p));
  lanes_sum_4(sum, out);
}

/* y = sum over the keys of p[j] * scale times their columns v. */
static inline __attribute__((always_inline)) void
weigh(int vectors, int64_t columns, const zt_row_attention *a, int64_t row,
      int64_t first, const float *p, float scale, const float *v, float *y) {
  lanes sum[VECTORS] = {{{{0}}}};
  for (int64_t j = first; j < a->keys[row]; j++) {
    const float *from = v + row_of_key(a, row, j) * a->v.ld;
    float share = p[j - first] * scale;
    for (int c = 0; c < vectors; c++)
      lanes_add_scaled(&sum[c], share,
                       columns < ZT_LANES ? lanes_load_part(from, columns)
                                          : lanes_load(from + c * ZT_LANES));
  }
  memcpy(y, sum, (size_t) columns * sizeof *y);
}

static void weigh_all(const zt_row_attention *a, int64_t row, int64_t first,
                      const float *p, float scale, const float *v, float *y) {
  int64_t d = a->head_dim, c = 0;
  for (; c + WIDE <= d; c += WIDE)
    weigh(VECTORS, WIDE, a, row, first, p, scale, v + c, y + c);
  for (; c + ZT_LANES <= d; c += ZT_LANES)
    weigh(1, ZT_LANES, a, row, first, p, scale, v + c, y + c);
  if (c < d)
    weigh(1, d - c, a, row, first, p, scale, v + c, y + c);
}
#pragma GCC pop_options

void zt_cpu_row_attention_head(const zt_row_attention *a, int64_t row,
                               int64_t h, float *scores) {
  int64_t d = a->head_dim, keys = a->keys[row], position = a->position[row];
  int64_t column = h / (a->heads / a->kv_heads) * d;
  int64_t first = a->window ? position + 1 - a->window : 0;
  const float *q = (const float *) a->q.data + row * a->q.ld + h * d;
  const float *k = (const float *) a->k.data + column;
  const float *v = (const float *) a->v.data + column;
  const float *bias =
      a->bias ? a->bias + h * a->offsets + a->zero - position : NULL;
  first = first < 0 ? 0 : first;
  for (int64_t j = first; j < keys; j += KEYS) {
    const float *of[KEYS];
    float products[KEYS];
    for (int64_t c = 0; c < KEYS; c++) /* the last one again where none is */
      of[c] = k + row_of_key(a, row, j + c < keys ? j + c : keys - 1) * a->k.ld;
    dots(d, q, of, products);
    for (int64_t c = 0; c < KEYS && j + c < keys; c++)
      scores[j + c - first] = a->scale * products[c] + (bias ? bias[j + c] : 0);
  }
  float most = largest_of(scores, keys - first);
  float scale = 1 / exp_row(scores, most, keys - first);
  weigh_all(a, row, first, scores, scale, v,
            (float *) a->y.data + row * a->y.ld + h * d);
}
