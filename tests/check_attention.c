/* SPDX-License-Identifier: BSD-3-Clause */
/* Attention of the CPU device, forward and backward, against a plain reference
 * in double precision, and the same bits for any number of threads. */
#include "base/random.h"
#include "device/device_check.h"
#include "device/device_cpu.h"
#include "numbers.h"
#include "unit.h"

#include <stdio.h>

enum { THREADS = 3, MOST_SAMPLES = 4 };

typedef struct shape {
  int64_t samples, heads, kv_heads, head_dim, q_length, k_length;
  bool causal, bias;
  float rate;
  int padding; /* of the keys: 0 none, else some, also all keys of a sample */
  int64_t window;   /* 0: none */
  int64_t document; /* most queries of a document, 0: all are of one */
} shape;

/* A matrix with a gap between its rows. */
typedef struct matrix {
  int64_t rows, cols, ld;
  float *data;
  double *wanted; /* [rows, cols] */
} matrix;

enum { GAP = 3 };

static matrix make_matrix(int64_t rows, int64_t cols, uint64_t seed) {
  matrix m = {.rows = rows, .cols = cols, .ld = cols + GAP};
  m.data = malloc((size_t) (rows * m.ld) * sizeof *m.data);
  m.wanted = calloc((size_t) (rows * cols), sizeof *m.wanted);
  numbers_fill(m.data, rows * m.ld, seed, 1.5);
  for (int64_t r = 0; r < rows; r++) /* nobody may look into the gap */
    for (int64_t i = cols; i < m.ld; i++)
      m.data[r * m.ld + i] = NAN;
  return m;
}

static void free_matrix(matrix *m) {
  free(m->data);
  free(m->wanted);
}

static zt_matrix operand(const matrix *m) {
  return (zt_matrix){m->data, m->ld, ZT_FP32};
}

enum { Q, K, V, Y, DY, DQ, DK, DV, MATRICES };

typedef struct problem {
  shape s;
  int64_t offsets;
  int32_t valid[MOST_SAMPLES];
  int32_t *first; /* [samples, q_length] where the query's document begins */
  zt_dropout dropout;
  matrix m[MATRICES];
  float *bias, *dbias;
  double *wanted_dbias;
} problem;

static problem make_problem(const shape *s) {
  problem p = {.s = *s, .offsets = s->q_length + s->k_length - 1};
  const bool of_keys[MATRICES] = {
      [K] = true, [V] = true, [DK] = true, [DV] = true};
  for (int i = 0; i < MATRICES; i++)
    p.m[i] = make_matrix(s->samples * (of_keys[i] ? s->k_length : s->q_length),
                         s->head_dim * (of_keys[i] ? s->kv_heads : s->heads),
                         (uint64_t) i);
  for (int64_t i = 0; i < s->samples; i++)
    p.valid[i] = (int32_t) (i == 0   ? 0
                            : i == 1 ? s->k_length
                                     : 1 + (i * 7) % s->k_length);
  p.first = malloc((size_t) (s->samples * s->q_length) * sizeof *p.first);
  for (int64_t r = 0; r < s->samples * s->q_length; r++) {
    int64_t i = r % s->q_length, n = 1 + s->document + r / s->q_length % 2;
    p.first[r] = (int32_t) (i - i % n);
  }
  p.dropout = (zt_dropout){.rate = s->rate,
                           .key = 77,
                           .step = 3,
                           .site = 5,
                           .first_sample = 100,
                           .rows_per_sample = s->q_length};
  int64_t n = s->heads * p.offsets;
  p.bias = malloc((size_t) n * sizeof *p.bias);
  p.dbias = malloc((size_t) n * sizeof *p.dbias);
  p.wanted_dbias = malloc((size_t) n * sizeof *p.wanted_dbias);
  numbers_fill(p.bias, n, 20, 1);
  return p;
}

static void free_problem(problem *p) {
  for (int i = 0; i < MATRICES; i++)
    free_matrix(&p->m[i]);
  free(p->first);
  free(p->bias);
  free(p->dbias);
  free(p->wanted_dbias);
}

/* ---- The reference ---- */

static double factor_of(const problem *p, int64_t sample, int64_t h, int64_t i,
                        int64_t j) {
  if (p->s.rate == 0)
    return 1;
  int64_t e = (h * p->s.q_length + i) * p->s.k_length + j;
  uint32_t counter[4] = {(uint32_t) (e / 4), p->dropout.site,
                         p->dropout.first_sample + (uint32_t) sample,
                         p->dropout.step};
  uint32_t words[4];
  zt_philox(p->dropout.key, counter, words);
  bool gone = (double) words[e % 4] < (double) p->s.rate * 0x1p32;
  return gone ? 0 : 1 / (1 - (double) p->s.rate);
}

static double dot(const float *a, const float *b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; i++)
    sum += (double) a[i] * (double) b[i];
  return sum;
}

static const float *row_of(const matrix *m, int64_t row, int64_t column) {
  return m->data + row * m->ld + column;
}

static double *wanted_of(const matrix *m, int64_t row, int64_t column) {
  return m->wanted + row * m->cols + column;
}

static const double scale = 0.4;

/* The keys from .. n - 1 that a query sees, none if that is nothing. */
static void range_of(const problem *p, int64_t sample, int64_t i, int64_t *from,
                     int64_t *n) {
  const shape *s = &p->s;
  *from = s->document ? p->first[sample * s->q_length + i] : 0;
  *n = s->padding ? p->valid[sample] : s->k_length;
  if (s->causal && *n > i + 1)
    *n = i + 1;
  if (s->window && *from < i + 1 - s->window)
    *from = i + 1 - s->window;
}

/* Probabilities of one query row over keys from .. n - 1. */
static void probabilities(const problem *p, int64_t sample, int64_t h,
                          int64_t i, int64_t from, int64_t n, double *prob) {
  int64_t d = p->s.head_dim, kv = h / (p->s.heads / p->s.kv_heads);
  const float *q = row_of(&p->m[Q], sample * p->s.q_length + i, h * d);
  double most = -INFINITY, sum = 0;
  for (int64_t j = from; j < n; j++) {
    prob[j] = (double) (float) scale *
              dot(q, row_of(&p->m[K], sample * p->s.k_length + j, kv * d), d);
    if (p->s.bias)
      prob[j] += (double) p->bias[h * p->offsets + j - i + p->s.q_length - 1];
    most = fmax(most, prob[j]);
  }
  for (int64_t j = from; j < n; j++)
    sum += prob[j] = exp(prob[j] - most);
  for (int64_t j = from; j < n; j++)
    prob[j] /= sum;
}

/* One query row, forward and backward. */
static void reference_row(const problem *p, int64_t sample, int64_t h,
                          int64_t i, double *prob, double *dprob) {
  const shape *s = &p->s;
  int64_t d = s->head_dim, kv = h / (s->heads / s->kv_heads), from, n;
  int64_t row = sample * s->q_length + i, keys = sample * s->k_length;
  range_of(p, sample, i, &from, &n);
  probabilities(p, sample, h, i, from, n, prob);
  const float *dy = row_of(&p->m[DY], row, h * d);
  double *y = wanted_of(&p->m[Y], row, h * d), all = 0;
  for (int64_t j = from; j < n; j++) {
    const float *v = row_of(&p->m[V], keys + j, kv * d);
    double *dv = wanted_of(&p->m[DV], keys + j, kv * d);
    double factor = factor_of(p, sample, h, i, j);
    for (int64_t x = 0; x < d; x++) {
      y[x] += factor * prob[j] * (double) v[x];
      dv[x] += factor * prob[j] * (double) dy[x];
    }
    dprob[j] = factor * dot(dy, v, d);
    all += prob[j] * dprob[j];
  }
  const float *q = row_of(&p->m[Q], row, h * d);
  double *dq = wanted_of(&p->m[DQ], row, h * d);
  for (int64_t j = from; j < n; j++) {
    double ds = prob[j] * (dprob[j] - all);
    const float *k = row_of(&p->m[K], keys + j, kv * d);
    double *dk = wanted_of(&p->m[DK], keys + j, kv * d);
    p->wanted_dbias[h * p->offsets + j - i + s->q_length - 1] += ds;
    for (int64_t x = 0; x < d; x++) {
      dq[x] += scale * ds * (double) k[x];
      dk[x] += scale * ds * (double) q[x];
    }
  }
}

static void reference(const problem *p) {
  double *prob = malloc((size_t) p->s.k_length * 2 * sizeof *prob);
  for (int64_t i = 0; i < p->s.heads * p->offsets; i++)
    p->wanted_dbias[i] = (double) p->bias[i]; /* what run() begins with */
  for (int64_t sample = 0; sample < p->s.samples; sample++)
    for (int64_t h = 0; h < p->s.heads; h++)
      for (int64_t i = 0; i < p->s.q_length; i++)
        reference_row(p, sample, h, i, prob, prob + p->s.k_length);
  free(prob);
}

/* ---- The device ---- */

static void run(const problem *p, int threads) {
  zt_device *dev;
  const shape *s = &p->s;
  size_t rows = (size_t) (s->samples * s->heads * s->q_length);
  ck_zt_ok(zt_device_cpu_create(threads, &dev));
  ck_zt_ok(zt_device_check(dev)); /* fresh memory is NaN */
  zt_attention a = {.samples = s->samples,
                    .heads = s->heads,
                    .kv_heads = s->kv_heads,
                    .head_dim = s->head_dim,
                    .q_length = s->q_length,
                    .k_length = s->k_length,
                    .scale = (float) scale,
                    .causal = s->causal,
                    .window = s->window,
                    .k_first = s->document ? p->first : NULL,
                    .k_valid = s->padding ? p->valid : NULL,
                    .bias = s->bias ? p->bias : NULL,
                    .dbias = s->bias ? p->dbias : NULL,
                    .dropout = p->dropout,
                    .q = operand(&p->m[Q]),
                    .k = operand(&p->m[K]),
                    .v = operand(&p->m[V]),
                    .y = operand(&p->m[Y]),
                    .dy = operand(&p->m[DY]),
                    .dq = operand(&p->m[DQ]),
                    .dk = operand(&p->m[DK]),
                    .dv = operand(&p->m[DV])};
  size_t workspace = zt_device_attention_workspace(dev, &a);
  void *memory, *stats;
  ck_zt_ok(zt_device_allocate(dev, workspace, &memory));
  ck_zt_ok(zt_device_allocate(dev, 2 * rows * sizeof(float), &stats));
  a.workspace = memory;
  a.stats = stats;
  memcpy(p->dbias, p->bias,
         (size_t) (s->heads * p->offsets) * sizeof *p->dbias);
  ck_zt_ok(zt_attention_forward(dev, &a));
  memset(memory, 0xFF, workspace);
  ck_zt_ok(zt_attention_backward(dev, &a));
  zt_device_release(dev, memory, workspace);
  zt_device_release(dev, stats, 2 * rows * sizeof(float));
  zt_device_destroy(&dev);
}

static double distance(const matrix *m) {
  float *dense = malloc((size_t) (m->rows * m->cols) * sizeof *dense);
  for (int64_t r = 0; r < m->rows; r++) {
    memcpy(dense + r * m->cols, m->data + r * m->ld,
           (size_t) m->cols * sizeof *dense);
    for (int64_t i = m->cols; i < m->ld; i++)
      if (!isnan(m->data[r * m->ld + i]))
        ck_abort_msg("row %ld is written behind its end", (long) r);
  }
  double error = numbers_distance(dense, m->wanted, m->rows * m->cols);
  free(dense);
  return error;
}

static double check(const shape *s) {
  static const int results[] = {Y, DQ, DK, DV};
  static const char *const names[] = {"y", "dq", "dk", "dv"};
  problem p = make_problem(s);
  float *first[4], *dbias = NULL;
  double worst = 0;
  reference(&p);
  for (int t = 1; t <= THREADS; t++) {
    run(&p, t);
    for (int i = 0; i < 4; i++) {
      const matrix *m = &p.m[results[i]];
      size_t bytes = (size_t) (m->rows * m->ld) * sizeof(float);
      double error = distance(m);
      if (!(error <= 1e-5))
        ck_abort_msg("%s: %g (heads %ld/%ld, %ld x %ld)", names[i], error,
                     (long) s->heads, (long) s->kv_heads, (long) s->q_length,
                     (long) s->k_length);
      worst = fmax(worst, error);
      if (t == 1)
        first[i] = memcpy(malloc(bytes), m->data, bytes);
      else if (numbers_differ(m->data, first[i], m->rows * m->ld) >= 0)
        ck_abort_msg("%s: other bits with %d threads", names[i], t);
    }
    int64_t n = s->heads * p.offsets;
    ck_assert_double_le(
        s->bias ? numbers_distance(p.dbias, p.wanted_dbias, n) : 0, 1e-5);
    if (!dbias)
      dbias = memcpy(malloc((size_t) n * sizeof *dbias), p.dbias,
                     (size_t) n * sizeof *dbias);
    ck_assert_mem_eq(dbias, p.dbias, (size_t) n * sizeof *dbias);
  }
  for (int i = 0; i < 4; i++)
    free(first[i]);
  free(dbias);
  free_problem(&p);
  return worst;
}

/* All lengths up to 70, each with other features. */
START_TEST(short_lengths) {
  double worst = 0;
  int step = numbers_long() ? 1 : 3;
  for (int64_t q = 1; q <= 70; q++)
    for (int64_t k = 1 + q % step; k <= 70; k += 23 * step / 3 + 1) {
      int64_t mix = q * 71 + k;
      shape s = {.samples = 1 + mix % 3,
                 .heads = 4,
                 .kv_heads = 4 >> mix % 3,
                 .head_dim = 1 + mix % 9,
                 .q_length = q,
                 .k_length = k,
                 .causal = mix & 1,
                 .bias = mix & 2,
                 .rate = mix % 5 < 2 ? 0.3f : 0,
                 .padding = mix % 7 < 4,
                 .window = mix & 1 && mix % 3 ? 1 + mix % 30 : 0,
                 .document = mix % 11 < 6 ? 1 + mix % 40 : 0};
      worst = fmax(worst, check(&s));
    }
  printf("short lengths: within %.1e relative L2\n", worst);
}
END_TEST

/* Query rows in several blocks of 16, of 128 and of what lies between. */
START_TEST(several_blocks) {
  static const int64_t lengths[][2] = {{70, 2100}, {17, 2049}, {129, 128},
                                       {257, 40},  {128, 256}, {100, 600}};
  const int64_t *length = lengths[_i];
  for (int mix = 0; mix < 4; mix++) {
    shape s = {.samples = 2,
               .heads = 2,
               .kv_heads = 1 + mix % 2,
               .head_dim = 16,
               .q_length = length[0],
               .k_length = length[1],
               .causal = mix & 1,
               .bias = mix & 2,
               .rate = mix == 3 ? 0.1f : 0,
               .padding = mix == 2};
    check(&s);
    s.document = mix > 1 ? 33 + mix : 0;
    s.window = s.causal ? 90 : 0;
    check(&s);
  }
}
END_TEST

int main(int argc, char **argv) {
  (void) argc;
  zt_device_cpu_prepare(argv); /* short spinning */
  Suite *suite = suite_create("attention");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 120);
  tcase_add_test(all, short_lengths);
  tcase_add_loop_test(all, several_blocks, 0, 6);
  suite_add_tcase(suite, all);
  return unit_main(suite, CK_NOFORK);
}
