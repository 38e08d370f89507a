/* SPDX-License-Identifier: BSD-3-Clause */
/* The double of cuBLASLt against products in double precision. */
#include "emu.h"
#include "unit.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <math.h>
#include <string.h>

enum { M = 24, N = 17, K = 33, BATCH = 3, LD = 40, AUX_LD = 128 };

#define ck_zero(call) ck_assert_msg((call) == 0, "%s failed", #call)

typedef struct operand {
  cudaDataType type;
  int rows, columns;
  void *device;
  float host[BATCH * LD * LD]; /* as the device rounded it */
} operand;

static cublasLtHandle_t lt;
static cudaStream_t stream;
static void *workspace;
static operand a, b, c, bias, aux;

static float round_to(float x, cudaDataType type) {
  union {
    float f;
    uint32_t u;
  } v = {.f = x};
  if (type == CUDA_R_32F)
    return x;
  v.u = (v.u + 0x7fff + (v.u >> 16 & 1)) & 0xffff0000u;
  return v.f;
}

static size_t size_of(cudaDataType type) {
  return type == CUDA_R_32F ? 4 : 2;
}

static void send(operand *o) {
  static char bytes[sizeof o->host];
  int n = BATCH * LD * LD;
  for (int i = 0; i < n; i++) {
    o->host[i] = round_to(o->host[i], o->type);
    if (o->type == CUDA_R_32F)
      memcpy(bytes + 4 * i, &o->host[i], 4);
    else
      memcpy(bytes + 2 * i, (char *) &o->host[i] + 2, 2);
  }
  ck_zero(cudaMemcpyAsync(o->device, bytes, (size_t) n * size_of(o->type),
                          cudaMemcpyHostToDevice, stream));
}

static void receive(operand *o) {
  static char bytes[sizeof o->host];
  int n = BATCH * LD * LD;
  memset(o->host, 0, sizeof o->host);
  ck_zero(cudaMemcpyAsync(bytes, o->device, (size_t) n * size_of(o->type),
                          cudaMemcpyDeviceToHost, stream));
  ck_zero(cudaStreamSynchronize(stream));
  for (int i = 0; i < n; i++)
    memcpy(o->type == CUDA_R_32F ? (char *) &o->host[i]
                                 : (char *) &o->host[i] + 2,
           bytes + (size_t) i * size_of(o->type), size_of(o->type));
}

static void make(operand *o, cudaDataType type, int rows, int columns,
                 int seed) {
  o->type = type;
  o->rows = rows;
  o->columns = columns;
  for (int i = 0; i < BATCH * LD * LD; i++)
    o->host[i] = (float) ((i * 37 + seed * 101) % 61 - 30) / 16;
  send(o);
}

static void setup(void) {
  emu_configure(1, EMU_RANDOM, EMU_ORDER_FIFO);
  ck_zero(cublasLtCreate(&lt));
  ck_zero(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  ck_zero(cudaMalloc(&workspace, 1 << 20));
  for (operand **o = (operand *[]){&a, &b, &c, &bias, &aux, NULL}; *o; o++)
    ck_zero(cudaMalloc(&(*o)->device, sizeof a.host));
}

static void teardown(void) {
  for (operand **o = (operand *[]){&a, &b, &c, &bias, &aux, NULL}; *o; o++)
    ck_zero(cudaFree((*o)->device));
  ck_zero(cudaFree(workspace));
  ck_zero(cudaStreamDestroy(stream));
  ck_zero(cublasLtDestroy(lt));
  ck_assert_msg(emu_take_reports() == 0, "%s", emu_last_report());
}

typedef struct product {
  cublasLtMatmulDesc_t d;
  cublasLtMatrixLayout_t a, b, c;
  float alpha, beta;
} product;

static void set(product *p, cublasLtMatmulDescAttributes_t what,
                const void *value, size_t bytes) {
  ck_zero(cublasLtMatmulDescSetAttribute(p->d, what, value, bytes));
}

static cublasLtMatrixLayout_t layout(const operand *o, int batch) {
  cublasLtMatrixLayout_t l;
  int32_t count = batch;
  int64_t stride = LD * LD;
  ck_zero(cublasLtMatrixLayoutCreate(&l, o->type, (uint64_t) o->rows,
                                     (uint64_t) o->columns, LD));
  ck_zero(cublasLtMatrixLayoutSetAttribute(
      l, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count));
  ck_zero(cublasLtMatrixLayoutSetAttribute(
      l, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride));
  return l;
}

static product describe(bool ta, bool tb, int batch, uint32_t epilogue) {
  product p = {.alpha = 0.5f, .beta = 2};
  cublasOperation_t opa = ta ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasOperation_t opb = tb ? CUBLAS_OP_T : CUBLAS_OP_N;
  int64_t aux_ld = AUX_LD;
  ck_zero(cublasLtMatmulDescCreate(&p.d, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  set(&p, CUBLASLT_MATMUL_DESC_TRANSA, &opa, sizeof opa);
  set(&p, CUBLASLT_MATMUL_DESC_TRANSB, &opb, sizeof opb);
  set(&p, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue);
  set(&p, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias.device, sizeof(void *));
  if (epilogue & 128) {
    set(&p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, &aux.device,
        sizeof(void *));
    set(&p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &aux_ld, sizeof aux_ld);
  }
  p.a = layout(&a, batch);
  p.b = layout(&b, batch);
  p.c = layout(&c, batch);
  return p;
}

static cublasStatus_t run(const product *p, const cublasLtMatmulAlgo_t *algo,
                          size_t bytes) {
  return cublasLtMatmul(lt, p->d, &p->alpha, a.device, p->a, b.device, p->b,
                        &p->beta, c.device, p->c, c.device, p->c, algo,
                        workspace, bytes, stream);
}

static void forget(product *p) {
  cublasLtMatmulDescDestroy(p->d);
  cublasLtMatrixLayoutDestroy(p->a);
  cublasLtMatrixLayoutDestroy(p->b);
  cublasLtMatrixLayoutDestroy(p->c);
}

static double dot(bool ta, bool tb, int q, int i, int j) {
  double sum = 0;
  const float *x = a.host + q * LD * LD, *y = b.host + q * LD * LD;
  for (int k = 0; k < K; k++)
    sum += (double) x[ta ? i * LD + k : k * LD + i] *
           (double) y[tb ? k * LD + j : j * LD + k];
  return sum;
}

/* ---- Products ---- */

START_TEST(all_forms) {
  bool ta = _i & 1, tb = _i & 2, low = _i & 4, low_out = _i & 8;
  cudaDataType in = low ? CUDA_R_16BF : CUDA_R_32F;
  cudaDataType out = low && low_out ? CUDA_R_16BF : CUDA_R_32F;
  static float before[sizeof c.host / sizeof(float)];
  make(&a, in, ta ? K : M, ta ? M : K, 1);
  make(&b, in, tb ? N : K, tb ? K : N, 2);
  make(&c, out, M, N, 3);
  memcpy(before, c.host, sizeof before);
  product p = describe(ta, tb, BATCH, CUBLASLT_EPILOGUE_DEFAULT);
  emu_reset_counts();
  ck_zero(run(&p, NULL, 1 << 20));
  receive(&c);
  for (int q = 0; q < BATCH; q++)
    for (int j = 0; j < LD; j++)
      for (int i = 0; i < LD; i++) {
        int at = q * LD * LD + j * LD + i;
        double want = before[at];
        if (i < M && j < N)
          want = 0.5 * dot(ta, tb, q, i, j) + 2 * want;
        ck_assert_double_eq_tol(c.host[at], want,
                                out == CUDA_R_32F ? 1e-4 : 0.3);
      }
  emu_counts counts = emu_count("cublasLtMatmul");
  ck_assert_uint_eq(low ? counts.tensor_macs : counts.other_macs,
                    M * N * K * BATCH);
  ck_assert_uint_eq(low ? counts.other_macs : counts.tensor_macs, 0);
  forget(&p);
}
END_TEST

static const uint32_t epilogues[] = {
    CUBLASLT_EPILOGUE_RELU,      CUBLASLT_EPILOGUE_BIAS,
    CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_GELU,
    CUBLASLT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
    CUBLASLT_EPILOGUE_DGELU,     CUBLASLT_EPILOGUE_DGELU_BGRAD,
    CUBLASLT_EPILOGUE_RELU_AUX,  CUBLASLT_EPILOGUE_DRELU_BGRAD,
    CUBLASLT_EPILOGUE_BGRADA,    CUBLASLT_EPILOGUE_BGRADB,
};

static double gelu(double x) {
  return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

START_TEST(all_epilogues) {
  uint32_t e = epilogues[_i % 12];
  cudaDataType type = _i < 12 ? CUDA_R_32F : CUDA_R_16BF;
  double tolerance = _i < 12 ? 1e-3 : 0.5;
  make(&a, type, M, K, 1);
  make(&b, type, K, N, 2);
  make(&c, type, M, N, 3);
  make(&bias, type, 1, 1, 4);
  make(&aux, type, 1, 1, 5);
  product p = describe(false, false, 1, e);
  p.beta = 0;
  ck_zero(run(&p, NULL, 0));
  receive(&c);
  double gradient[M] = {0};
  /* Bits of masks as they went to the device. */
  const unsigned char *mask = (const unsigned char *) aux.host;
  static uint16_t halves[BATCH * LD * LD];
  for (int i = 0; type == CUDA_R_16BF && i < BATCH * LD * LD; i++)
    memcpy(&halves[i], (char *) &aux.host[i] + 2, 2);
  if (type == CUDA_R_16BF)
    mask = (const unsigned char *) halves;
  for (int j = 0; j < N; j++)
    for (int i = 0; i < M; i++) {
      double v = 0.5 * dot(false, false, 0, i, j);
      int at = j * AUX_LD + i;
      if (e == CUBLASLT_EPILOGUE_BIAS || e == CUBLASLT_EPILOGUE_RELU_BIAS ||
          e == CUBLASLT_EPILOGUE_GELU_BIAS ||
          e == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
        v += bias.host[i];
      if (e == CUBLASLT_EPILOGUE_RELU || e == CUBLASLT_EPILOGUE_RELU_BIAS ||
          e == CUBLASLT_EPILOGUE_RELU_AUX)
        v = v > 0 ? v : 0;
      if (e == CUBLASLT_EPILOGUE_GELU || e == CUBLASLT_EPILOGUE_GELU_BIAS ||
          e == CUBLASLT_EPILOGUE_GELU_AUX_BIAS)
        v = gelu(v);
      if (e == CUBLASLT_EPILOGUE_DGELU || e == CUBLASLT_EPILOGUE_DGELU_BGRAD)
        v *= (gelu(aux.host[at] + 1e-5) - gelu(aux.host[at] - 1e-5)) / 2e-5;
      if (e == CUBLASLT_EPILOGUE_DRELU_BGRAD)
        v = mask[at / 8] >> at % 8 & 1 ? v : 0;
      gradient[i] += v;
      ck_assert_double_eq_tol(c.host[j * LD + i], v, tolerance);
    }
  if (e == CUBLASLT_EPILOGUE_DGELU_BGRAD ||
      e == CUBLASLT_EPILOGUE_DRELU_BGRAD) {
    receive(&bias);
    for (int i = 0; i < M; i++)
      ck_assert_double_eq_tol(bias.host[i], gradient[i], 2 * tolerance);
  }
  if (e == CUBLASLT_EPILOGUE_BGRADA || e == CUBLASLT_EPILOGUE_BGRADB) {
    receive(&bias);
    bool of_a = e == CUBLASLT_EPILOGUE_BGRADA;
    for (int i = 0; i < (of_a ? M : N); i++) {
      double sum = 0;
      for (int k = 0; k < K; k++)
        sum += of_a ? a.host[k * LD + i] : b.host[i * LD + k];
      ck_assert_double_eq_tol(bias.host[i], sum, tolerance);
    }
  }
  if (e == CUBLASLT_EPILOGUE_GELU_AUX_BIAS) {
    receive(&aux);
    ck_assert_double_eq_tol(aux.host[AUX_LD + 3],
                            0.5 * dot(false, false, 0, 3, 1) + bias.host[3],
                            tolerance);
  }
  forget(&p);
}
END_TEST

/* ---- Refusals ---- */

static void ck_refused(cublasStatus_t status, const char *text) {
  ck_assert_int_ne(status, CUBLAS_STATUS_SUCCESS);
  ck_assert_msg(emu_reported(text), "'%s'", emu_last_report());
  emu_take_reports();
}

START_TEST(wrong_arguments) {
  make(&a, CUDA_R_32F, M, K, 1);
  make(&b, CUDA_R_32F, K, N, 2);
  make(&c, CUDA_R_32F, M, N, 3);
  product good = describe(false, false, 1, CUBLASLT_EPILOGUE_DEFAULT);
  product p = describe(true, false, 1, CUBLASLT_EPILOGUE_DEFAULT);
  ck_refused(run(&p, NULL, 0), "shapes");
  forget(&p);
  p = describe(false, false, 1, CUBLASLT_EPILOGUE_GELU_AUX);
  int64_t ld = 12;
  set(&p, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, &ld, sizeof ld);
  ck_refused(run(&p, NULL, 0), "auxiliary leading dimension");
  forget(&p);
  b.type = CUDA_R_16BF;
  p = describe(false, false, 1, CUBLASLT_EPILOGUE_DEFAULT);
  ck_refused(run(&p, NULL, 0), "types");
  forget(&p);
  int32_t value = 1;
  ck_refused(cublasLtMatmulDescSetAttribute(
                 good.d, CUBLASLT_MATMUL_DESC_FILL_MODE, &value, sizeof value),
             "not known");
  forget(&good);
}
END_TEST

START_TEST(algorithms) {
  make(&a, CUDA_R_32F, M, K, 1);
  make(&b, CUDA_R_32F, K, N, 2);
  make(&c, CUDA_R_32F, M, N, 3);
  product p = describe(false, false, 1, CUBLASLT_EPILOGUE_DEFAULT);
  cublasLtMatmulPreference_t preference;
  cublasLtMatmulHeuristicResult_t found[4];
  uint64_t most = 1000;
  int n = 0;
  ck_zero(cublasLtMatmulPreferenceCreate(&preference));
  ck_zero(cublasLtMatmulPreferenceSetAttribute(
      preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most,
      sizeof most));
  ck_zero(cublasLtMatmulAlgoGetHeuristic(lt, p.d, p.a, p.b, p.c, p.c,
                                         preference, 4, found, &n));
  ck_assert_int_ge(n, 2);
  ck_zero(run(&p, &found[0].algo, 1000));
  ck_refused(run(&p, &found[0].algo, 10), "workspace");
  cublasLtMatmulAlgo_t none = {{0}};
  ck_refused(run(&p, &none, 1000), "no heuristic");
  forget(&p);
  a.rows = c.rows = M - 1;
  p = describe(false, false, 1, CUBLASLT_EPILOGUE_DEFAULT);
  ck_refused(run(&p, &found[0].algo, 1000), "another shape");
  forget(&p);
  cublasLtMatmulPreferenceDestroy(preference);
}
END_TEST

/* Two streams use one workspace at a time; only the columns of a matrix count
 * as touched, not what lies between them. */
START_TEST(streams) {
  cudaStream_t other, first = stream;
  ck_zero(cudaStreamCreateWithFlags(&other, cudaStreamNonBlocking));
  make(&a, CUDA_R_32F, M, K, 1);
  make(&b, CUDA_R_32F, K, N, 2);
  make(&c, CUDA_R_32F, M, N, 3);
  product p = describe(false, false, 1, CUBLASLT_EPILOGUE_DEFAULT);
  ck_zero(cudaStreamSynchronize(stream));
  p.beta = 0;
  for (int shared = 0; shared < 2; shared++) {
    float *below = (float *) c.device + M; /* the rows below C */
    void *mine = workspace;
    ck_zero(run(&p, NULL, 4096));
    stream = other;
    workspace = (char *) workspace + (shared ? 0 : 8192);
    ck_zero(cublasLtMatmul(lt, p.d, &p.alpha, a.device, p.a, b.device, p.b,
                           &p.beta, (float *) c.device + LD * LD, p.c,
                           (float *) c.device + LD * LD, p.c, NULL, workspace,
                           4096, stream));
    ck_zero(cudaMemsetAsync(below, 0, (LD - M) * sizeof *below, stream));
    ck_zero(cudaDeviceSynchronize());
    workspace = mine;
    stream = first;
    ck_assert_int_eq(emu_reported("no event orders"), shared);
    if (shared)
      emu_take_reports();
  }
  forget(&p);
  ck_zero(cudaStreamDestroy(other));
}
END_TEST

int main(void) {
  if (!emu_checks())
    return EXIT_FAILURE;
  Suite *s = suite_create("emu_gemm");
  TCase *t = tcase_create("gemm");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_loop_test(t, all_forms, 0, 16);
  tcase_add_loop_test(t, all_epilogues, 0, 24);
  tcase_add_test(t, wrong_arguments);
  tcase_add_test(t, algorithms);
  tcase_add_test(t, streams);
  suite_add_tcase(s, t);
  return unit_main(s, CK_NOFORK);
}
