// SPDX-License-Identifier: BSD-3-Clause
// cuBLASLt: descriptors, heuristics and the call.  What is not done here is
// refused, not ignored.
#include "emu_gemm.h"

#include <string.h>

extern "C" void openblas_set_num_threads(int) __attribute__((weak));

struct cublasLtContext {
  int magic;
};

namespace emu {
namespace {

template <class T> bool take(T *to, const void *from, size_t bytes) {
  if (bytes != sizeof(T))
    return false;
  memcpy(to, from, bytes);
  return true;
}

cublasStatus_t taken(bool ok, const char *what, int attribute) {
  if (ok)
    return CUBLAS_STATUS_SUCCESS;
  report("%s: attribute %d is not known to the double, or of another size",
         what, attribute);
  return CUBLAS_STATUS_NOT_SUPPORTED;
}

/* What an API call names, with the defaults filled in. */
Product product_of(cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                   cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
                   cublasLtMatrixLayout_t out) {
  Product x = {};
  x.d = *(Description *) d;
  x.a = *(Layout *) a;
  x.b = *(Layout *) b;
  x.c = *(Layout *) c;
  x.out = *(Layout *) out;
  x.m = (int) (x.d.trans_a ? x.a.columns : x.a.rows);
  x.k = (int) (x.d.trans_a ? x.a.rows : x.a.columns);
  x.n = (int) (x.d.trans_b ? x.b.rows : x.b.columns);
  if (x.d.bias_type < 0)
    x.d.bias_type = x.out.type;
  if (x.d.aux_type < 0)
    x.d.aux_type = x.out.type;
  return x;
}

} // namespace
} // namespace emu

using namespace emu;

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle) {
  Call call("cublasLtCreate");
  if (call.fails || settings().devices <= 0)
    return CUBLAS_STATUS_NOT_INITIALIZED;
  if (openblas_set_num_threads)
    openblas_set_num_threads(1);
  *handle = new cublasLtContext{1};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

size_t cublasLtGetVersion(void) {
  return CUBLAS_VERSION;
}

const char *cublasLtGetStatusString(cublasStatus_t status) {
  return status ? "cuBLASLt error of the double" : "CUBLAS_STATUS_SUCCESS";
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *d,
                                        cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  if (scale != CUDA_R_32F || (compute != CUBLAS_COMPUTE_32F &&
                              compute != CUBLAS_COMPUTE_32F_PEDANTIC &&
                              compute != CUBLAS_COMPUTE_32F_FAST_TF32))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  Description *x = new Description;
  x->compute = compute;
  *d = (cublasLtMatmulDesc_t) x;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) {
  delete (Description *) d;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d,
                                              cublasLtMatmulDescAttributes_t a,
                                              const void *p, size_t n) {
  Description *x = (Description *) d;
  bool ok = false;
  switch (a) {
  case CUBLASLT_MATMUL_DESC_TRANSA:
    ok = take(&x->trans_a, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_TRANSB:
    ok = take(&x->trans_b, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_EPILOGUE:
    ok = take(&x->epilogue, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
    ok = take(&x->bias, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
    ok = take(&x->bias_stride, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
    ok = take(&x->bias_type, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
    ok = take(&x->aux, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
    ok = take(&x->aux_ld, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE:
    ok = take(&x->aux_stride, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
    ok = take(&x->aux_type, p, n);
    break;
  case CUBLASLT_MATMUL_DESC_POINTER_MODE:
    ok = take(&x->pointer_mode, p, n) &&
         x->pointer_mode == CUBLASLT_POINTER_MODE_HOST;
    break;
  default:
    break;
  }
  return taken(ok, "cublasLtMatmulDescSetAttribute", a);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *l,
                                          cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t ld) {
  Layout *x = new Layout;
  x->type = type;
  x->rows = rows;
  x->columns = columns;
  x->ld = ld;
  *l = (cublasLtMatrixLayout_t) x;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) {
  delete (Layout *) l;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l,
                                 cublasLtMatrixLayoutAttribute_t a,
                                 const void *p, size_t n) {
  Layout *x = (Layout *) l;
  int32_t order = CUBLASLT_ORDER_COL;
  bool ok = false;
  switch (a) {
  case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
    ok = take(&x->batch, p, n);
    break;
  case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
    ok = take(&x->stride, p, n);
    break;
  case CUBLASLT_MATRIX_LAYOUT_LD:
    ok = take(&x->ld, p, n);
    break;
  case CUBLASLT_MATRIX_LAYOUT_ORDER:
    ok = take(&order, p, n) && order == CUBLASLT_ORDER_COL;
    break;
  default:
    break;
  }
  return taken(ok, "cublasLtMatrixLayoutSetAttribute", a);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *p) {
  *p = (cublasLtMatmulPreference_t) new Preference;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) {
  delete (Preference *) p;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t
cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                     cublasLtMatmulPreferenceAttributes_t a,
                                     const void *p, size_t n) {
  Preference *x = (Preference *) preference;
  uint32_t mask;
  bool ok = false;
  switch (a) {
  case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
    ok = take(&x->workspace, p, n);
    break;
  case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
    ok = take(&mask, p, n);
    break;
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
    ok = take(&x->align[0], p, n);
    break;
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
    ok = take(&x->align[1], p, n);
    break;
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
    ok = take(&x->align[2], p, n);
    break;
  case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
    ok = take(&x->align[3], p, n);
    break;
  default:
    break;
  }
  return taken(ok, "cublasLtMatmulPreferenceSetAttribute", a);
}

/* As many algorithms as asked for; the first wants the most workspace. */
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(
    cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
    cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c,
    cublasLtMatrixLayout_t out, cublasLtMatmulPreference_t preference,
    int wanted, cublasLtMatmulHeuristicResult_t *results, int *found) {
  Call call("cublasLtMatmulAlgoGetHeuristic");
  Product x = product_of(d, a, b, c, out);
  const Preference *p = (Preference *) preference;
  *found = 0;
  if (call.fails)
    return CUBLAS_STATUS_NOT_SUPPORTED;
  for (; *found < wanted && *found < 3; ++*found) {
    cublasLtMatmulHeuristicResult_t *r = &results[*found];
    uint64_t bytes = 4 * (uint64_t) x.m * (uint64_t) x.n >> *found;
    memset(r, 0, sizeof *r);
    r->state = CUBLAS_STATUS_SUCCESS;
    r->workspaceSize = bytes < p->workspace ? bytes : p->workspace;
    r->wavesCount = 1;
    r->algo.data[0] = ALGORITHM_MAGIC;
    r->algo.data[1] = product_shape(x.m, x.n, x.k);
    r->algo.data[2] = r->workspaceSize;
    for (int i = 0; i < 4; i++)
      r->algo.data[3] |= (uint64_t) p->align[i] << 16 * i;
    r->algo.data[4] = (uint64_t) *found;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t d,
                              const void *alpha, const void *a,
                              cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta,
                              const void *c, cublasLtMatrixLayout_t lc,
                              void *out, cublasLtMatrixLayout_t lout,
                              const cublasLtMatmulAlgo_t *algo, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  Call call("cublasLtMatmul");
  Product x = product_of(d, la, lb, lc, lout);
  x.pa = (const char *) a;
  x.pb = (const char *) b;
  x.pc = (const char *) c;
  x.po = (char *) out;
  x.workspace = (char *) workspace;
  x.workspace_bytes = workspace ? workspace_bytes : 0;
  x.alpha = *(const float *) alpha;
  x.beta = *(const float *) beta;
  if (call.fails)
    return CUBLAS_STATUS_EXECUTION_FAILED;
  const char *wrong = product_error(x, algo);
  if (!wrong && !(on_device(a) && on_device(b) && on_device(out)))
    wrong = "pointers: not of the device";
  if (wrong) {
    report("cublasLtMatmul refuses this: %s", wrong);
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  /* Of the workspace only what the algorithm may use. */
  if (algo && algo->data[2] < x.workspace_bytes)
    x.workspace_bytes = algo->data[2];
  enqueue(
      "cublasLtMatmul", stream,
      [=] {
        product_run(x);
        return true;
      },
      product_ranges(x));
  enqueued();
  return CUBLAS_STATUS_SUCCESS;
}

} // extern "C"
