/* SPDX-License-Identifier: BSD-3-Clause */
/* Each operation of the CUDA device against the processor's: odd sizes, both
 * number formats, threads in three orders. */
#include "base/grid.h"
#include "cuda_unit.h"
#include "numbers.h"

#include <pthread.h>
#include <stdio.h>

static const int64_t sizes[] = {1, 2, 31, 33, 64, 130};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- Matrix products ---- */

static void check_product(int variant, int form, int64_t m, int64_t n,
                          int64_t k) {
  zt_dtype dtype = cuda_dtype(variant);
  bool ta = form & 1, tb = form & 2;
  int64_t gap = form & 4 ? 5 : 0;
  int64_t lda = (ta ? m : k) + gap, ldb = (tb ? k : n) + gap, ldc = n + gap;
  zt_dtype dtype_c = form & 8 ? ZT_FP32 : dtype;
  cuda_array a = cuda_numbers(dtype, (ta ? k : m) * lda, 1, 1);
  cuda_array b = cuda_numbers(dtype, (tb ? n : k) * ldb, 2, 1);
  cuda_array c = cuda_numbers(dtype_c, m * ldc, 3, 1);
  zt_gemm call = {.transpose_a = ta,
                  .transpose_b = tb,
                  .m = m,
                  .n = n,
                  .k = k,
                  .alpha = form & 8 ? 0.5f : 1,
                  .beta = form & 8 ? 1 : 0,
                  .a = {a.cpu, lda, ZT_FP32},
                  .b = {b.cpu, ldb, ZT_FP32},
                  .c = {c.cpu, ldc, ZT_FP32}};
  ck_zt_ok(zt_gemm_run(cuda_cpu(), &call));
  call.a = (zt_matrix){a.gpu, lda, dtype};
  call.b = (zt_matrix){b.gpu, ldb, dtype};
  call.c = (zt_matrix){c.gpu, ldc, dtype_c};
  ck_zt_ok(zt_gemm_run(cuda_gpu(variant), &call));
  cuda_compare(&c, "product", cuda_tolerance(dtype));
  cuda_free(&a);
  cuda_free(&b);
}

START_TEST(products) {
  for (int form = 0; form < 16; form++) {
    check_product(_i, form, 33, 31, 65);
    check_product(_i, form, 1 + form, 64, 1);
  }
}
END_TEST

/* Bias and residual: neither what C held nor what lies around is used. */
static void check_adding(int variant, bool biased, bool from_other,
                         bool rows_alone) {
  enum { ROWS = 33, COLUMNS = 31, DEPTH = 65 };
  zt_dtype dtype = rows_alone ? ZT_FP32 : cuda_dtype(variant);
  cuda_array a = cuda_numbers(dtype, ROWS * DEPTH, 1, 1);
  cuda_array b = cuda_numbers(dtype, COLUMNS * DEPTH, 2, 1);
  cuda_array c = cuda_numbers(dtype, ROWS * COLUMNS, 3, NAN);
  cuda_array from = cuda_numbers(dtype, ROWS * COLUMNS, 4, 1);
  cuda_array bias = cuda_numbers(dtype, COLUMNS + 1, 5, 1);
  const char *unaligned = (const char *) bias.gpu + zt_dtype_size(dtype);
  zt_gemm call = {.transpose_b = variant % 2,
                  .m = ROWS,
                  .n = COLUMNS,
                  .k = DEPTH,
                  .alpha = 1,
                  .a = {a.cpu, DEPTH, ZT_FP32},
                  .b = {b.cpu, variant % 2 ? DEPTH : COLUMNS, ZT_FP32},
                  .c = {c.cpu, COLUMNS, ZT_FP32},
                  .from = from_other ? from.cpu : NULL,
                  .bias = biased ? bias.cpu + 1 : NULL,
                  .rows_alone = rows_alone};
  ck_zt_ok(zt_gemm_run(cuda_cpu(), &call));
  call.a = (zt_matrix){a.gpu, DEPTH, dtype};
  call.b = (zt_matrix){b.gpu, call.b.ld, dtype};
  call.c = (zt_matrix){c.gpu, COLUMNS, dtype};
  call.from = from_other ? from.gpu : NULL;
  call.bias = biased ? unaligned : NULL;
  ck_zt_ok(zt_gemm_run(cuda_gpu(variant), &call));
  cuda_compare(&c, "product and more", cuda_tolerance(dtype));
  cuda_free(&a);
  cuda_free(&b);
  cuda_free(&from);
  cuda_free(&bias);
}

START_TEST(products_and_more) {
  for (int form = 1; form < 8; form++)
    if (form & 3)
      check_adding(_i, form & 1, form & 2, form & 4);
}
END_TEST

/* ---- Norms ---- */

static void check_norm(int variant, zt_norm_kind kind, int64_t rows,
                       int64_t d) {
  zt_dtype dtype = cuda_dtype(variant);
  zt_device *on[] = {cuda_cpu(), cuda_gpu(variant)};
  bool layer = kind == ZT_LAYER_NORM;
  cuda_array x = cuda_numbers(dtype, rows * d, 1, 3);
  cuda_array w = cuda_numbers(ZT_FP32, d, 2, 1);
  cuda_array b = cuda_numbers(ZT_FP32, d, 3, 1);
  cuda_array y = cuda_numbers(dtype, rows * d, 4, NAN);
  cuda_array dy = cuda_numbers(dtype, rows * d, 5, 1);
  cuda_array dx = cuda_numbers(dtype, rows * d, 6, 1);
  cuda_array stats = cuda_numbers(ZT_FP32, 2 * rows, 7, 0);
  cuda_array dw = cuda_numbers(ZT_FP32, d, 8, 1);
  cuda_array db = cuda_numbers(ZT_FP32, d, 9, 1);
  for (int i = 0; i < 2; i++) {
    zt_norm call = {.kind = kind,
                    .rows = rows,
                    .d = d,
                    .eps = 1e-6f,
                    .accumulate_dx = rows % 2,
                    .dtype = i ? dtype : ZT_FP32};
    size_t bytes = zt_device_norm_workspace(on[i], &call);
    call.x = i ? x.gpu : x.cpu;
    call.w = i ? w.gpu : w.cpu;
    call.b = !layer ? NULL : i ? b.gpu : b.cpu;
    call.y = i ? y.gpu : y.cpu;
    call.stats = i ? stats.gpu : stats.cpu;
    ck_zt_ok(zt_norm_forward(on[i], &call));
    call.dy = i ? dy.gpu : dy.cpu;
    call.dx = i ? dx.gpu : dx.cpu;
    call.dw = i ? dw.gpu : dw.cpu;
    call.db = !layer ? NULL : i ? db.gpu : db.cpu;
    ck_zt_ok(zt_device_allocate(on[i], bytes, &call.workspace));
    ck_zt_ok(zt_norm_backward(on[i], &call));
    ck_zt_ok(zt_device_wait(on[i]));
    zt_device_release(on[i], call.workspace, bytes);
  }
  double most = cuda_tolerance(dtype);
  cuda_compare(&y, "norm", most);
  cuda_compare(&stats, "norm: statistics", 1e-6);
  cuda_compare(&dx, "norm: dx", most);
  cuda_compare(&dw, "norm: dw", 2e-6);
  cuda_compare(&db, "norm: db", 2e-6);
  cuda_free(&x);
  cuda_free(&w);
  cuda_free(&b);
  cuda_free(&dy);
}

START_TEST(norms) {
  for (int s = 0; s < SIZES; s++)
    for (int layer = 0; layer < 2; layer++) {
      check_norm(_i, layer ? ZT_LAYER_NORM : ZT_RMS_NORM, 17, sizes[s] + 1);
      check_norm(_i, layer ? ZT_LAYER_NORM : ZT_RMS_NORM, sizes[s], 40);
    }
}
END_TEST

/* ---- Activations and dropout ---- */

static zt_dropout dropout_of(double rate, int64_t rows_per_sample) {
  return (zt_dropout){.rate = (float) rate,
                      .key = 0x123456789ABCDEF,
                      .step = 7,
                      .site = 3,
                      .first_sample = 11,
                      .rows_per_sample = rows_per_sample};
}

static void check_activation(int variant, zt_activation_kind kind, bool gated,
                             double rate, int64_t d) {
  enum { SAMPLES = 3, LENGTH = 5, ROWS = SAMPLES * LENGTH };
  zt_dtype dtype = cuda_dtype(variant);
  zt_device *gpu = cuda_gpu(variant);
  int64_t width = gated ? 2 * d : d;
  cuda_array x = cuda_numbers(dtype, ROWS * width, 1, 6);
  cuda_array y = cuda_numbers(dtype, ROWS * d, 2, NAN);
  cuda_array dy = cuda_numbers(dtype, ROWS * d, 3, 1);
  cuda_array dx = cuda_numbers(dtype, ROWS * width, 4, NAN);
  zt_activation call = {.kind = kind,
                        .gated = gated,
                        .rows = ROWS,
                        .d = d,
                        .dropout = dropout_of(rate, LENGTH),
                        .x = x.cpu,
                        .y = y.cpu,
                        .dy = dy.cpu,
                        .dx = dx.cpu};
  ck_zt_ok(zt_activation_forward(cuda_cpu(), &call));
  ck_zt_ok(zt_activation_backward(cuda_cpu(), &call));
  call.x = x.gpu;
  call.y = y.gpu;
  call.dy = dy.gpu;
  call.dx = dx.gpu;
  call.dtype = dtype;
  ck_zt_ok(zt_activation_forward(gpu, &call));
  ck_zt_ok(zt_activation_backward(gpu, &call));
  cuda_compare(&y, "activation", cuda_tolerance(dtype));
  cuda_compare(&dx, "activation: dx", cuda_tolerance(dtype));
  cuda_free(&x);
  cuda_free(&dy);
}

START_TEST(activations) {
  for (int kind = ZT_RELU; kind <= ZT_SILU; kind++)
    for (int form = 0; form < 4; form++) {
      check_activation(_i, (zt_activation_kind) kind, form & 1,
                       form & 2 ? 0.3 : 0, 33);
      check_activation(_i, (zt_activation_kind) kind, form & 1,
                       form & 2 ? 0.1 : 0, 64);
    }
}
END_TEST

/* What is dropped is the same to the bit, and so is what is kept. */
START_TEST(dropout) {
  zt_dtype dtype = cuda_dtype(_i);
  for (int s = 0; s < SIZES; s++)
    for (int residual = 0; residual < 2; residual++) {
      int64_t d = sizes[s], rows = 12;
      cuda_array x = cuda_numbers(dtype, rows * d, 1, 1);
      cuda_array r = cuda_numbers(dtype, rows * d, 2, 1);
      zt_drop call = {.rows = rows,
                      .d = d,
                      .x = x.cpu,
                      .residual = residual ? r.cpu : NULL,
                      .y = x.cpu,
                      .dropout = dropout_of(0.25, 4)};
      ck_zt_ok(zt_drop_run(cuda_cpu(), &call));
      call.x = call.y = x.gpu;
      call.residual = residual ? r.gpu : NULL;
      call.dtype = dtype;
      ck_zt_ok(zt_drop_run(cuda_gpu(_i), &call));
      if (dtype == ZT_FP32)
        cuda_same(&x, "dropout");
      else
        cuda_compare(&x, "dropout", cuda_tolerance(dtype));
      cuda_free(&r);
    }
}
END_TEST

START_TEST(sums) {
  zt_dtype dtype = cuda_dtype(_i);
  const int64_t lengths[] = {1, 31, 33, 1000};
  for (int s = 0; s < 4; s++) {
    cuda_array x = cuda_numbers(dtype, lengths[s], 1, 1);
    cuda_array y = cuda_numbers(dtype, lengths[s], 2, 1);
    ck_zt_ok(zt_add(cuda_cpu(), ZT_FP32, lengths[s], y.cpu, x.cpu));
    ck_zt_ok(zt_add(cuda_gpu(_i), dtype, lengths[s], y.gpu, x.gpu));
    cuda_compare(&y, "sum", cuda_tolerance(dtype));
    cuda_free(&x);
  }
}
END_TEST

/* The same bits, for ties, subnormal numbers and infinities too. */
START_TEST(conversions) {
  static const float special[] = {
      0.0f,          -0.0f,      0x1.01p0f,  0x1.03p0f,    0x1.010002p0f,
      0x1.00fffep0f, -0x1.01p0f, 0x1p-149f,  0x1.01p-133f, 0x1.ffffp127f,
      INFINITY,      -INFINITY,  0x1.fep127f};
  enum { SPECIAL = sizeof special / sizeof *special };
  const int64_t lengths[] = {1, 31, 33, 1000};
  zt_device *gpu = cuda_gpu(_i);
  for (int s = 0; s < 4; s++) {
    int64_t n = lengths[s];
    cuda_array wide = cuda_numbers(ZT_FP32, n, 1, 3);
    cuda_array narrow = cuda_numbers(ZT_BF16, n, 2, NAN);
    cuda_array back = cuda_numbers(ZT_FP32, n, 3, NAN);
    uint16_t *bits = malloc((size_t) n * sizeof *bits);
    ck_assert_ptr_nonnull(bits);
    memcpy(wide.cpu, special,
           sizeof *special * (size_t) (n < SPECIAL ? n : SPECIAL));
    ck_zt_ok(zt_device_upload(gpu, wide.gpu, wide.cpu,
                              (size_t) n * sizeof *wide.cpu));
    ck_zt_ok(zt_convert(cuda_cpu(), n, ZT_FP32, wide.cpu, ZT_BF16, bits));
    ck_zt_ok(zt_convert(gpu, n, ZT_FP32, wide.gpu, ZT_BF16, narrow.gpu));
    ck_zt_ok(zt_convert(cuda_cpu(), n, ZT_BF16, bits, ZT_FP32, back.cpu));
    ck_zt_ok(zt_convert(gpu, n, ZT_BF16, narrow.gpu, ZT_FP32, back.gpu));
    memcpy(narrow.cpu, back.cpu, (size_t) n * sizeof *back.cpu);
    cuda_same(&narrow, "narrowed");
    cuda_same(&back, "widened");
    cuda_free(&wide);
    free(bits);
  }
}
END_TEST

/* ---- Positions, biases ---- */

START_TEST(rotary_positions) {
  enum { ROWS = 9, HEADS = 3, POSITIONS = 12 };
  zt_dtype dtype = cuda_dtype(_i);
  const int32_t positions[ROWS] = {0, 1, 2, 11, 4, 0, 7, 7, 3};
  for (int64_t d = 2; d <= 34; d += 16) {
    int64_t ld = HEADS * d + 4;
    cuda_array x = cuda_numbers(dtype, ROWS * ld, 1, 1);
    cuda_array table = cuda_numbers(ZT_FP32, POSITIONS * d, 2, 1);
    cuda_array position = cuda_indices(positions, ROWS);
    zt_rope call = {.rows = ROWS,
                    .heads = HEADS,
                    .head_dim = d,
                    .x = {x.cpu, ld, ZT_FP32},
                    .position = positions,
                    .table = table.cpu,
                    .inverse = d == 18};
    ck_zt_ok(zt_rope_run(cuda_cpu(), &call));
    call.x = (zt_matrix){x.gpu, ld, dtype};
    call.position = position.gpu;
    call.table = table.gpu;
    ck_zt_ok(zt_rope_run(cuda_gpu(_i), &call));
    cuda_compare(&x, "rotary positions", cuda_tolerance(dtype));
    cuda_free(&table);
    cuda_free(&position);
  }
}
END_TEST

START_TEST(biases) {
  zt_dtype dtype = cuda_dtype(_i);
  for (int s = 0; s < SIZES; s++) {
    int64_t n = sizes[s], rows = 70;
    cuda_array x = cuda_numbers(dtype, rows * n, 1, 1);
    cuda_array b = cuda_numbers(dtype, n, 2, 1);
    cuda_array y = cuda_numbers(dtype, rows * n, 3, NAN);
    cuda_array db = cuda_numbers(ZT_FP32, n, 4, 1);
    zt_row_bias call = {.rows = rows,
                        .n = n,
                        .x = s % 2 ? x.cpu : NULL,
                        .b = b.cpu,
                        .y = y.cpu,
                        .dy = x.cpu,
                        .db = db.cpu};
    ck_zt_ok(zt_row_bias_forward(cuda_cpu(), &call));
    ck_zt_ok(zt_row_bias_backward(cuda_cpu(), &call));
    call = (zt_row_bias){.rows = rows,
                         .n = n,
                         .x = s % 2 ? x.gpu : NULL,
                         .b = b.gpu,
                         .y = y.gpu,
                         .dy = x.gpu,
                         .db = db.gpu,
                         .dtype = dtype};
    ck_zt_ok(zt_row_bias_forward(cuda_gpu(_i), &call));
    ck_zt_ok(zt_row_bias_backward(cuda_gpu(_i), &call));
    cuda_compare(&y, "bias", cuda_tolerance(dtype));
    cuda_compare(&db, "bias: db", 2e-6);
    cuda_free(&x);
    cuda_free(&b);
  }
}
END_TEST

START_TEST(position_bias) {
  enum { HEADS = 3, OFFSETS = 41, BUCKETS = 8 };
  zt_dtype dtype = cuda_dtype(_i);
  int32_t buckets[OFFSETS];
  for (int o = 0; o < OFFSETS; o++)
    buckets[o] = o * 5 % 7;
  cuda_array bucket = cuda_indices(buckets, OFFSETS);
  cuda_array table = cuda_numbers(dtype, BUCKETS * HEADS, 1, 1);
  cuda_array bias = cuda_numbers(ZT_FP32, HEADS * OFFSETS, 2, NAN);
  cuda_array dbias = cuda_numbers(ZT_FP32, HEADS * OFFSETS, 3, 1);
  cuda_array dtable = cuda_numbers(ZT_FP32, BUCKETS * HEADS, 4, 1);
  zt_bias call = {.heads = HEADS,
                  .offsets = OFFSETS,
                  .buckets = BUCKETS,
                  .bucket = buckets,
                  .table = table.cpu,
                  .bias = bias.cpu,
                  .dbias = dbias.cpu,
                  .dtable = dtable.cpu};
  ck_zt_ok(zt_bias_forward(cuda_cpu(), &call));
  ck_zt_ok(zt_bias_backward(cuda_cpu(), &call));
  call.bucket = bucket.gpu;
  call.table = table.gpu;
  call.bias = bias.gpu;
  call.dbias = dbias.gpu;
  call.dtable = dtable.gpu;
  call.dtype = dtype;
  ck_zt_ok(zt_bias_forward(cuda_gpu(_i), &call));
  ck_zt_ok(zt_bias_backward(cuda_gpu(_i), &call));
  cuda_same(&bias, "position bias");
  cuda_same(&dtable, "position bias: gradient");
  cuda_free(&bucket);
  cuda_free(&table);
  cuda_free(&dbias);
}
END_TEST

/* ---- Embedding ---- */

static void check_embedding(int variant, int64_t rows, int64_t d,
                            int32_t vocabulary) {
  zt_dtype dtype = cuda_dtype(variant);
  int32_t *ids = malloc((size_t) rows * sizeof *ids);
  for (int64_t i = 0; i < rows; i++) /* many of one, some of none */
    ids[i] =
        i % 3
            ? (int32_t) (numbers_bits(1, (uint64_t) i) % (uint64_t) vocabulary)
            : 0;
  cuda_array id = cuda_indices(ids, rows);
  cuda_array table = cuda_numbers(dtype, vocabulary * d, 1, 1);
  cuda_array y = cuda_numbers(dtype, rows * d, 2, 1);
  cuda_array dy = cuda_numbers(dtype, rows * d, 3, 1);
  cuda_array dtable = cuda_numbers(ZT_FP32, vocabulary * d, 4, 1);
  zt_embedding call = {.rows = rows,
                       .d = d,
                       .vocabulary = vocabulary,
                       .accumulate = rows % 2,
                       .padding = rows % 2 ? 1 : -1,
                       .ids = ids,
                       .table = table.cpu,
                       .y = y.cpu,
                       .dy = dy.cpu,
                       .dtable = dtable.cpu};
  ck_zt_ok(zt_embedding_forward(cuda_cpu(), &call));
  ck_zt_ok(zt_embedding_backward(cuda_cpu(), &call));
  call.ids = id.gpu;
  call.table = table.gpu;
  call.y = y.gpu;
  call.dy = dy.gpu;
  call.dtable = dtable.gpu;
  call.dtype = dtype;
  ck_zt_ok(zt_embedding_forward(cuda_gpu(variant), &call));
  ck_zt_ok(zt_embedding_backward(cuda_gpu(variant), &call));
  cuda_compare(&y, "embedding", cuda_tolerance(dtype));
  cuda_same(&dtable, "embedding: gradient"); /* the same order of rows */
  cuda_free(&id);
  cuda_free(&table);
  cuda_free(&dy);
  free(ids);
}

START_TEST(embeddings) {
  check_embedding(_i, 1, 33, 3);
  check_embedding(_i, 31, 1, 2);
  check_embedding(_i, 290, 31, 40);
  check_embedding(_i, 257, 8, 1000);
}
END_TEST

/* ---- Loss, choice ---- */

static void check_loss(int variant, int64_t rows, int64_t vocabulary,
                       bool gradient, float smoothing, float z_loss) {
  int32_t labels[64];
  for (int64_t i = 0; i < rows; i++)
    labels[i] = i % 5 == 3 ? -100 : (int32_t) (i * 7 % vocabulary);
  cuda_array label = cuda_indices(labels, rows);
  cuda_array logits = cuda_numbers(ZT_FP32, rows * vocabulary, 1, 20);
  const bool terms = smoothing > 0 || z_loss > 0;
  cuda_array row_loss = cuda_numbers(ZT_FP32, terms ? 2 * rows : rows, 2, NAN);
  double wanted[2] = {1.25, 0.5}, loss[2] = {1.25, 0.5};
  zt_cross_entropy call = {.rows = rows,
                           .vocabulary = vocabulary,
                           .logits = logits.cpu,
                           .labels = labels,
                           .row_loss = row_loss.cpu,
                           .loss = wanted,
                           .smoothing = smoothing,
                           .z_loss = z_loss,
                           .gradient = gradient};
  ck_zt_ok(zt_cross_entropy_run(cuda_cpu(), &call));
  zt_device *gpu = cuda_gpu(variant);
  void *sum;
  ck_zt_ok(zt_device_allocate(gpu, sizeof loss, &sum));
  ck_zt_ok(zt_device_upload(gpu, sum, loss, sizeof loss));
  call.logits = logits.gpu;
  call.labels = label.gpu;
  call.row_loss = row_loss.gpu;
  call.loss = sum;
  ck_zt_ok(zt_cross_entropy_run(gpu, &call));
  ck_zt_ok(zt_device_download(gpu, loss, sum, sizeof loss));
  zt_device_release(gpu, sum, sizeof loss);
  for (int i = 0; i < 2; i++)
    ck_assert_double_le(fabs(loss[i] - wanted[i]), 1e-6 * fabs(wanted[i]));
  cuda_compare(&row_loss, "loss", 1e-6);
  if (gradient)
    cuda_compare(&logits, "loss: gradient", 2e-6);
  else
    cuda_free(&logits);
  cuda_free(&label);
}

START_TEST(losses) {
  for (int s = 0; s < SIZES; s++) {
    check_loss(_i, 1 + s * 9, sizes[s], s % 2, 0, 0);
    check_loss(_i, 1 + s * 9, sizes[s], true, s % 2 * 0.1f, 0.01f);
  }
  check_loss(_i, 4, 2100, true, 0, 0);
  check_loss(_i, 4, 2100, false, 0.1f, 0);
}
END_TEST

START_TEST(choices) {
  const int64_t widths[] = {1, 31, 33, 513, 2100};
  for (int w = 0; w < 5; w++) {
    enum { ROWS = 5 };
    int32_t wanted[ROWS], none[ROWS] = {0};
    cuda_array x = cuda_numbers(ZT_FP32, ROWS * widths[w], 1, 1);
    for (int64_t i = 0; i < x.n; i++) /* few values: ties */
      x.cpu[i] = i / widths[w] == 2 ? NAN : truncf(x.cpu[i] * 4);
    ck_zt_ok(zt_device_upload(cuda_gpu(_i), x.gpu, x.cpu,
                              (size_t) x.n * sizeof *x.cpu));
    cuda_array index = cuda_indices(none, ROWS);
    ck_zt_ok(zt_argmax(cuda_cpu(), ROWS, widths[w], x.cpu, wanted));
    ck_zt_ok(zt_argmax(cuda_gpu(_i), ROWS, widths[w], x.gpu, index.gpu));
    memcpy(index.cpu, wanted, sizeof wanted);
    cuda_same(&index, "choice");
    cuda_free(&x);
  }
}
END_TEST

/* ---- Copies beside the run ---- */

static void *upload_beside(void *array) {
  const cuda_array *a = array;
  zt_status status = zt_device_upload(cuda_gpu(0), a->gpu, a->cpu,
                                      (size_t) a->n * sizeof *a->cpu);
  return status == ZT_OK ? array : NULL;
}

/* Another thread's upload comes after what was queued before. */
START_TEST(upload_of_another_thread) {
  pthread_t thread;
  void *ended = NULL;
  cuda_array a = cuda_numbers(ZT_FP32, 1000, 1, 1);
  ck_zt_ok(zt_device_zero(cuda_gpu(_i), a.gpu, (size_t) a.n * sizeof *a.cpu));
  ck_assert_int_eq(pthread_create(&thread, NULL, upload_beside, &a), 0);
  ck_assert_int_eq(pthread_join(thread, &ended), 0);
  ck_assert_ptr_nonnull(ended);
  cuda_same(&a, "upload of another thread");
}
END_TEST

int main(int argc, char **argv) {
  Suite *suite = suite_create("cuda_kernels");
  TCase *formats = tcase_create("both formats");
  TCase *alone = tcase_create("fp32");
  int variants = cuda_variants();
  tcase_set_timeout(formats, 120);
  tcase_set_timeout(alone, 120);
  tcase_add_loop_test(formats, products, 0, variants);
  tcase_add_loop_test(formats, products_and_more, 0, variants);
  tcase_add_loop_test(formats, norms, 0, variants);
  tcase_add_loop_test(formats, activations, 0, variants);
  tcase_add_loop_test(formats, dropout, 0, variants);
  tcase_add_loop_test(formats, sums, 0, variants);
  tcase_add_loop_test(formats, rotary_positions, 0, variants);
  tcase_add_loop_test(formats, biases, 0, variants);
  tcase_add_loop_test(formats, position_bias, 0, variants);
  tcase_add_loop_test(formats, embeddings, 0, variants);
  tcase_add_loop_test(alone, conversions, 0, variants);
  tcase_add_loop_test(alone, upload_of_another_thread, 0, variants);
  tcase_add_loop_test(alone, losses, 0, variants);
  tcase_add_loop_test(alone, choices, 0, variants);
  suite_add_tcase(suite, formats);
  suite_add_tcase(suite, alone);
  return cuda_main(suite, argc, argv);
}
