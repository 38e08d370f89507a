/* SPDX-License-Identifier: BSD-3-Clause */
/* Matrix products by cuBLASLt.
 *
 * The algorithm for a shape is the first that the library's heuristic names: a
 * function of library, GPU and shape, never of a measurement.  Reductions that
 * split k are added in a fixed order (no atomics, no rounding to the output's
 * format in between).  fp32 is computed in fp32, not in TF32.  cuBLASLt counts
 * by columns: our row-major C = op(A) op(B) is its C^T = op(B)^T op(A)^T.
 *
 * Of the epilogues that of the bias is used, and C and D may be two matrices:
 * each saves a pass that would write C and one that would read it.  Those of
 * activations would save reading their input once, since the backward pass
 * wants it kept in any case, and would have other bits than the processor's:
 * GELU only in its tanh form and without dropout after it, ReLU with a mask in
 * a layout of its own.  Those of bias gradients overwrite where ours are added
 * to, and their order of summation is not said. */
#include "cuda/cuda_inside.h"
#include "cuda/cuda_kernels.h"

#include "base/memory.h"

#include <stdlib.h>
#include <string.h>

static zt_status check(cublasStatus_t status, const char *what) {
  if (status == CUBLAS_STATUS_SUCCESS)
    return ZT_OK;
  return zt_fail(status == CUBLAS_STATUS_ALLOC_FAILED ? ZT_ERR_MEMORY
                                                      : ZT_ERR_UNAVAILABLE,
                 "cuBLASLt failed in %s (status %d)", what, (int) status);
}

/* Bytes, up to 16, that all rows of a matrix are aligned to. */
static uint32_t alignment_of(const zt_matrix *matrix) {
  uintptr_t bits = (uintptr_t) matrix->data |
                   (uintptr_t) matrix->ld * zt_dtype_size(matrix->dtype);
  uint32_t most = 16;
  while (bits % most != 0)
    most /= 2;
  return most;
}

static cudaDataType_t type_of(zt_dtype dtype) {
  return dtype == ZT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

/* ---- Plans ---- */

/* Where it lies changes from call to call. */
static zt_status set_bias(const zt_cublaslt *lt, zt_cuda_plan *plan,
                          const void *bias) {
  if (!bias)
    return ZT_OK;
  return check(lt->cublasLtMatmulDescSetAttribute(
                   plan->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias,
                   sizeof bias),
               "a description");
}

static zt_status describe(const zt_cublaslt *lt, const void *bias,
                          zt_cuda_plan *plan) {
  const struct zt_cuda_shape *s = &plan->shape;
  cublasOperation_t left = s->transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  cublasOperation_t right = s->transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  ZT_TRY(check(lt->cublasLtMatmulDescCreate(&plan->operation,
                                            CUBLAS_COMPUTE_32F, CUDA_R_32F),
               "a description"));
  ZT_TRY(check(lt->cublasLtMatmulDescSetAttribute(plan->operation,
                                                  CUBLASLT_MATMUL_DESC_TRANSA,
                                                  &left, sizeof left),
               "a description"));
  ZT_TRY(check(lt->cublasLtMatmulDescSetAttribute(plan->operation,
                                                  CUBLASLT_MATMUL_DESC_TRANSB,
                                                  &right, sizeof right),
               "a description"));
  const uint32_t epilogue = CUBLASLT_EPILOGUE_BIAS;
  if (s->biased)
    ZT_TRY(check(lt->cublasLtMatmulDescSetAttribute(
                     plan->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue,
                     sizeof epilogue),
                 "a description"));
  ZT_TRY(set_bias(lt, plan, bias));
  uint64_t m = (uint64_t) s->m, n = (uint64_t) s->n, k = (uint64_t) s->k;
  ZT_TRY(check(lt->cublasLtMatrixLayoutCreate(&plan->b, type_of(s->dtype),
                                              s->transpose_b ? k : n,
                                              s->transpose_b ? n : k, s->ldb),
               "a layout"));
  ZT_TRY(check(lt->cublasLtMatrixLayoutCreate(&plan->a, type_of(s->dtype),
                                              s->transpose_a ? m : k,
                                              s->transpose_a ? k : m, s->lda),
               "a layout"));
  return check(lt->cublasLtMatrixLayoutCreate(&plan->c, type_of(s->dtype_c), n,
                                              m, s->ldc),
               "a layout");
}

static zt_status prefer(const zt_cublaslt *lt, cublasLtMatmulPreference_t p,
                        cublasLtMatmulPreferenceAttributes_t what,
                        const void *value, size_t bytes) {
  return check(lt->cublasLtMatmulPreferenceSetAttribute(p, what, value, bytes),
               "a preference");
}

static zt_status set_preferences(const zt_cublaslt *lt,
                                 cublasLtMatmulPreference_t p,
                                 const struct zt_cuda_shape *s) {
  const uint64_t scratch = ZT_CUDA_SCRATCH;
  const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
  ZT_TRY(prefer(lt, p, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &scratch,
                sizeof scratch));
  ZT_TRY(prefer(lt, p, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes,
                sizeof schemes));
  ZT_TRY(prefer(lt, p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &s->align_b,
                sizeof s->align_b));
  ZT_TRY(prefer(lt, p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &s->align_a,
                sizeof s->align_a));
  ZT_TRY(prefer(lt, p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
                &s->align_from, sizeof s->align_from));
  return prefer(lt, p, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &s->align_c,
                sizeof s->align_c);
}

static zt_status choose_algorithm(const zt_cuda_device *cuda,
                                  zt_cuda_plan *plan) {
  const zt_cublaslt *lt = cuda->lt;
  const struct zt_cuda_shape *s = &plan->shape;
  cublasLtMatmulPreference_t preference;
  cublasLtMatmulHeuristicResult_t found;
  int count = 0;
  ZT_TRY(
      check(lt->cublasLtMatmulPreferenceCreate(&preference), "a preference"));
  zt_status status = set_preferences(lt, preference, s);
  if (status == ZT_OK)
    status = check(lt->cublasLtMatmulAlgoGetHeuristic(
                       cuda->handle, plan->operation, plan->b, plan->a, plan->c,
                       plan->c, preference, 1, &found, &count),
                   "the choice of an algorithm");
  lt->cublasLtMatmulPreferenceDestroy(preference);
  ZT_TRY(status);
  if (count == 0)
    return zt_fail(ZT_ERR_UNAVAILABLE,
                   "cuBLASLt has no way for a product of %ld x %ld x %ld",
                   (long) s->m, (long) s->n, (long) s->k);
  plan->algorithm = found.algo;
  plan->workspace = found.workspaceSize;
  return ZT_OK;
}

static void forget(const zt_cublaslt *lt, zt_cuda_plan *plan) {
  if (plan->a)
    lt->cublasLtMatrixLayoutDestroy(plan->a);
  if (plan->b)
    lt->cublasLtMatrixLayoutDestroy(plan->b);
  if (plan->c)
    lt->cublasLtMatrixLayoutDestroy(plan->c);
  if (plan->operation)
    lt->cublasLtMatmulDescDestroy(plan->operation);
  memset(plan, 0, sizeof *plan);
}

/* A model has some tens of shapes; should there ever be more than there is room
 * for, the last place is used again. */
static zt_status find_plan(zt_cuda_device *cuda,
                           const struct zt_cuda_shape *shape, const void *bias,
                           zt_cuda_plan **plan) {
  for (int i = 0; i < cuda->n_plans; i++)
    if (!memcmp(&cuda->plans[i].shape, shape, sizeof *shape)) {
      *plan = &cuda->plans[i];
      return ZT_OK;
    }
  if (cuda->n_plans == ZT_CUDA_PLANS)
    forget(cuda->lt, &cuda->plans[--cuda->n_plans]);
  zt_cuda_plan *made = &cuda->plans[cuda->n_plans];
  memcpy(&made->shape, shape, sizeof *shape);
  zt_status status = describe(cuda->lt, bias, made);
  if (status == ZT_OK)
    status = choose_algorithm(cuda, made);
  if (status != ZT_OK) {
    forget(cuda->lt, made);
    return status;
  }
  cuda->n_plans++;
  *plan = made;
  return ZT_OK;
}

zt_status zt_cuda_gemm(zt_device *dev, const zt_gemm *call) {
  zt_cuda_device *cuda = (zt_cuda_device *) dev;
  struct zt_cuda_shape shape;
  zt_cuda_plan *plan;
  zt_matrix from = call->c, bias = {(void *) call->bias, 0, call->c.dtype};
  const float beta = call->from ? 1 : call->beta;
  if (call->rows_alone)
    return zt_cuda_gemm_rows_alone(call, cuda->compute);
  if (call->from)
    from.data = (void *) call->from;
  memset(&shape, 0, sizeof shape); /* compared as bytes */
  shape.transpose_a = call->transpose_a;
  shape.transpose_b = call->transpose_b;
  shape.dtype = call->a.dtype;
  shape.dtype_c = call->c.dtype;
  shape.align_a = alignment_of(&call->a);
  shape.align_b = alignment_of(&call->b);
  shape.align_c = alignment_of(&call->c);
  shape.align_from = alignment_of(&from);
  shape.biased = call->bias != NULL;
  if (alignment_of(&bias) < shape.align_c) /* cuBLASLt has no other place */
    shape.align_c = alignment_of(&bias);
  shape.m = call->m;
  shape.n = call->n;
  shape.k = call->k;
  shape.lda = call->a.ld;
  shape.ldb = call->b.ld;
  shape.ldc = call->c.ld;
  ZT_TRY(find_plan(cuda, &shape, call->bias, &plan));
  ZT_TRY(set_bias(cuda->lt, plan, call->bias));
  return check(cuda->lt->cublasLtMatmul(
                   cuda->handle, plan->operation, &call->alpha, call->b.data,
                   plan->b, call->a.data, plan->a, &beta, from.data, plan->c,
                   call->c.data, plan->c, &plan->algorithm, cuda->scratch,
                   plan->workspace, cuda->compute),
               "a matrix product");
}

/* ---- Opening ---- */

zt_status zt_cuda_gemm_open(zt_cuda_device *cuda) {
  cuda->plans = zt_calloc(ZT_CUDA_PLANS, sizeof *cuda->plans);
  if (!cuda->plans)
    return ZT_ERR_MEMORY;
  return check(cuda->lt->cublasLtCreate(&cuda->handle), "its start");
}

void zt_cuda_gemm_close(zt_cuda_device *cuda) {
  for (int i = 0; i < cuda->n_plans; i++)
    forget(cuda->lt, &cuda->plans[i]);
  free(cuda->plans);
  if (cuda->handle)
    cuda->lt->cublasLtDestroy(cuda->handle);
}
