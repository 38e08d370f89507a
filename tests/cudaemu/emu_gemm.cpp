// SPDX-License-Identifier: BSD-3-Clause
// Matrix products over OpenBLAS: fp32, bf16 and fp16 with fp32 accumulation,
// strided batches, and the epilogues of cuBLASLt.
#include "emu_gemm.h"

#include <cblas.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>
#include <string.h>

namespace emu {
namespace {

size_t size_of(int32_t type) {
  return type == CUDA_R_32F ? 4 : 2;
}

float load(const char *p, int64_t i, int32_t type) {
  float f;
  if (type == CUDA_R_32F) {
    memcpy(&f, p + i * 4, 4);
  } else if (type == CUDA_R_16BF) {
    uint16_t bits;
    memcpy(&bits, p + i * 2, 2);
    uint32_t wide = (uint32_t) bits << 16;
    memcpy(&f, &wide, 4);
  } else {
    __half h;
    memcpy((void *) &h, p + i * 2, 2);
    f = __half2float(h);
  }
  return f;
}

void store(char *p, int64_t i, int32_t type, float f) {
  if (type == CUDA_R_32F) {
    memcpy(p + i * 4, &f, 4);
  } else if (type == CUDA_R_16BF) {
    uint32_t u;
    memcpy(&u, &f, 4);
    uint32_t rounded = (u + 0x7fff + (u >> 16 & 1)) >> 16;
    uint16_t bits = (uint16_t) (f == f ? rounded : u >> 16 | 0x40);
    memcpy(p + i * 2, &bits, 2);
  } else {
    __half h = __float2half_rn(f);
    memcpy(p + i * 2, (const void *) &h, 2);
  }
}

const float *unpack(std::vector<float> &to, const char *p, const Layout &l) {
  to.resize(l.rows * l.columns);
  for (uint64_t j = 0; j < l.columns; j++)
    for (uint64_t i = 0; i < l.rows; i++)
      to[j * l.rows + i] = load(p, (int64_t) (j * (uint64_t) l.ld + i), l.type);
  return to.data();
}

/* The columns of all matrices of a batch, without what lies between. */
void add_ranges(std::vector<Range> &to, const char *p, const Layout &l,
                bool write) {
  size_t size = size_of(l.type), column = l.rows * size;
  for (int32_t q = 0; q < l.batch; q++) {
    const char *first = p + (int64_t) size * q * l.stride;
    if ((uint64_t) l.ld == l.rows) {
      to.push_back({first, column * l.columns, write});
      continue;
    }
    for (uint64_t j = 0; j < l.columns; j++)
      to.push_back({first + size * j * (uint64_t) l.ld, column, write});
  }
}

/* ---- Epilogues ---- */

bool has(uint32_t epilogue, uint32_t what) {
  return (epilogue & what) != 0;
}

enum : uint32_t {
  /* NVIDIA's values are made of these bits. */
  RELU_BIT = 2,
  BIAS_BIT = 4,
  DRELU_BIT = 8,
  BGRAD_BIT = 16,
  GELU_BIT = 32,
  DGELU_BIT = 64,
  AUX_BIT = 128,
  KNOWN_BITS = 255
};
static_assert(CUBLASLT_EPILOGUE_GELU_AUX_BIAS ==
                      (GELU_BIT | BIAS_BIT | AUX_BIT) &&
                  CUBLASLT_EPILOGUE_DRELU_BGRAD ==
                      (DRELU_BIT | BGRAD_BIT | AUX_BIT) &&
                  CUBLASLT_EPILOGUE_DGELU == (DGELU_BIT | AUX_BIT),
              "epilogues are made of bits");

const float ROOT = 0.7978845608f, CUBE = 0.044715f;

float gelu(float x) {
  return 0.5f * x * (1 + tanhf(ROOT * (x + CUBE * x * x * x)));
}

float gelu_slope(float x) {
  float t = tanhf(ROOT * (x + CUBE * x * x * x));
  return 0.5f * (1 + t) +
         0.5f * x * (1 - t * t) * ROOT * (1 + 3 * CUBE * x * x);
}

bool get_bit(const char *p, int64_t i) {
  return p[i / 8] >> (i % 8) & 1;
}

void set_bit(char *p, int64_t i, bool value) {
  char bit = (char) (1 << (i % 8));
  p[i / 8] = (char) (value ? p[i / 8] | bit : p[i / 8] & ~bit);
}

/* One element after the product; i: row, j: column. */
float epilogue(const Product &x, int batch, int i, int j, float v) {
  const Description &d = x.d;
  int64_t at = j * d.aux_ld + i;
  char *aux = d.aux;
  bool masks = has(d.epilogue, RELU_BIT | DRELU_BIT);
  if (aux)
    aux += masks ? batch * d.aux_stride / 8
                 : batch * d.aux_stride * (int64_t) size_of(d.aux_type);
  if (has(d.epilogue, BIAS_BIT))
    v += load(d.bias, batch * d.bias_stride + i, d.bias_type);
  if (has(d.epilogue, GELU_BIT)) {
    if (has(d.epilogue, AUX_BIT))
      store(aux, at, d.aux_type, v);
    return gelu(v);
  }
  if (has(d.epilogue, RELU_BIT)) {
    if (has(d.epilogue, AUX_BIT))
      set_bit(aux, at, v > 0);
    return v > 0 ? v : 0;
  }
  if (has(d.epilogue, DRELU_BIT))
    return get_bit(aux, at) ? v : 0;
  if (has(d.epilogue, DGELU_BIT))
    return v * gelu_slope(load(aux, at, d.aux_type));
  return v;
}

bool sums_operand(const Description &d) {
  return d.epilogue == CUBLASLT_EPILOGUE_BGRADA ||
         d.epilogue == CUBLASLT_EPILOGUE_BGRADB;
}

/* Sum of op(A) or op(B) over k, one value for each row or column of D. */
void sum_operand(const Product &x, const float *a, const float *b, int batch) {
  bool is_a = x.d.epilogue == CUBLASLT_EPILOGUE_BGRADA;
  int count = is_a ? x.m : x.n;
  for (int i = 0; i < count; i++) {
    float sum = 0;
    for (int k = 0; k < x.k; k++) {
      bool k_is_row =
          is_a ? x.d.trans_a != CUBLAS_OP_N : x.d.trans_b == CUBLAS_OP_N;
      uint64_t rows = is_a ? x.a.rows : x.b.rows;
      uint64_t at = k_is_row ? (uint64_t) i * rows + (uint64_t) k
                             : (uint64_t) k * rows + (uint64_t) i;
      sum += (is_a ? a : b)[at];
    }
    store(x.d.bias, batch * x.d.bias_stride + i, x.d.bias_type, sum);
  }
}

void finish(const Product &x, int batch, const std::vector<float> &sums) {
  size_t size = size_of(x.out.type);
  char *out = x.po + (int64_t) size * batch * x.out.stride;
  std::vector<float> gradient((size_t) x.m);
  for (int j = 0; j < x.n; j++)
    for (int i = 0; i < x.m; i++) {
      float v = sums[(size_t) j * (size_t) x.m + (size_t) i];
      if (x.d.epilogue != CUBLASLT_EPILOGUE_DEFAULT && !sums_operand(x.d))
        v = epilogue(x, batch, i, j, v);
      gradient[(size_t) i] += v;
      store(out, j * x.out.ld + i, x.out.type, v);
    }
  if (has(x.d.epilogue, BGRAD_BIT))
    for (int i = 0; i < x.m; i++)
      store(x.d.bias, batch * x.d.bias_stride + i, x.d.bias_type,
            gradient[(size_t) i]);
}

/* ---- Checks ---- */

bool known_type(cudaDataType t) {
  return t == CUDA_R_32F || t == CUDA_R_16BF || t == CUDA_R_16F;
}

const char *wrong_types(const Product &x) {
  if (!known_type(x.a.type) || x.a.type != x.b.type)
    return "types of A and B";
  if (!known_type(x.out.type) || x.c.type != x.out.type ||
      (x.out.type != CUDA_R_32F && x.out.type != x.a.type))
    return "types of C and D";
  return NULL;
}

const char *wrong_layout(const Product &x) {
  for (const Layout *l : {&x.a, &x.b, &x.c, &x.out}) {
    if (l->ld < (int64_t) l->rows)
      return "leading dimension";
    if (l->batch != x.out.batch)
      return "number of matrices in the batch";
  }
  uint64_t k = x.d.trans_b ? x.b.columns : x.b.rows;
  if ((uint64_t) x.k != k || x.out.rows != (uint64_t) x.m ||
      x.out.columns != (uint64_t) x.n || x.c.rows != x.out.rows ||
      x.c.columns != x.out.columns)
    return "shapes";
  if (x.out.batch > 1 && x.out.stride < x.out.ld * (int64_t) x.out.columns)
    return "matrices of D overlap";
  return NULL;
}

const char *wrong_epilogue(const Product &x) {
  const Description &d = x.d;
  if (d.epilogue == CUBLASLT_EPILOGUE_DEFAULT)
    return NULL;
  bool bias = has(d.epilogue, BIAS_BIT | BGRAD_BIT) || sums_operand(d);
  if (!sums_operand(d) && d.epilogue & ~(uint32_t) KNOWN_BITS)
    return "epilogue";
  if (bias && !on_device(d.bias))
    return "bias pointer";
  if (!sums_operand(d) && has(d.epilogue, AUX_BIT)) {
    int64_t step = has(d.epilogue, RELU_BIT | DRELU_BIT) ? 128 : 8;
    if (!on_device(d.aux))
      return "auxiliary pointer";
    if (d.aux_ld % step || d.aux_ld < x.m)
      return "auxiliary leading dimension";
  }
  return NULL;
}

const char *wrong_algorithm(const Product &x,
                            const cublasLtMatmulAlgo_t *algo) {
  if (algo->data[0] != ALGORITHM_MAGIC)
    return "an algorithm that no heuristic gave";
  if (algo->data[1] != product_shape(x.m, x.n, x.k))
    return "an algorithm for another shape";
  if (algo->data[2] > x.workspace_bytes)
    return "a workspace smaller than the algorithm's";
  const void *p[4] = {x.pa, x.pb, x.beta != 0 ? x.pc : x.po, x.po};
  for (int i = 0; i < 4; i++)
    if ((uintptr_t) p[i] % (algo->data[3] >> 16 * i & 0xffff))
      return "less alignment than was promised to the heuristic";
  return NULL;
}

} // namespace

uint64_t product_shape(int m, int n, int k) {
  return (uint64_t) m * 1000003u + (uint64_t) n * 8191u + (uint64_t) k;
}

const char *product_error(const Product &x, const cublasLtMatmulAlgo_t *algo) {
  const char *wrong = wrong_types(x);
  if (!wrong)
    wrong = wrong_layout(x);
  if (!wrong)
    wrong = wrong_epilogue(x);
  if (!wrong && algo)
    wrong = wrong_algorithm(x, algo);
  return wrong;
}

std::vector<Range> product_ranges(const Product &x) {
  std::vector<Range> r;
  add_ranges(r, x.pa, x.a, false);
  add_ranges(r, x.pb, x.b, false);
  if (x.beta != 0)
    add_ranges(r, x.pc, x.c, false);
  add_ranges(r, x.po, x.out, true);
  const Description &d = x.d;
  size_t bias = size_of(d.bias_type) *
                (size_t) (d.epilogue == CUBLASLT_EPILOGUE_BGRADB ? x.n : x.m);
  if (d.epilogue != CUBLASLT_EPILOGUE_DEFAULT) {
    if (sums_operand(d) || has(d.epilogue, BIAS_BIT | BGRAD_BIT))
      r.push_back({d.bias, bias, !has(d.epilogue, BIAS_BIT)});
    bool masks = has(d.epilogue, RELU_BIT | DRELU_BIT);
    bool writes = has(d.epilogue, RELU_BIT | GELU_BIT);
    if (!sums_operand(d) && has(d.epilogue, AUX_BIT))
      for (int j = 0; j < x.n; j++) {
        int64_t at = j * d.aux_ld;
        size_t size = size_of(d.aux_type);
        if (masks)
          r.push_back({d.aux + at / 8, (size_t) (x.m + 7) / 8, writes});
        else
          r.push_back(
              {d.aux + at * (int64_t) size, (size_t) x.m * size, writes});
      }
  }
  /* Two streams must not share a workspace. */
  if (x.workspace_bytes)
    r.push_back({x.workspace, x.workspace_bytes, true});
  return r;
}

void product_run(const Product &x) {
  std::vector<float> a, b, sums;
  if (x.workspace)
    memset(x.workspace, 0xff, x.workspace_bytes);
  for (int q = 0; q < x.out.batch; q++) {
    const float *fa =
        unpack(a, x.pa + q * x.a.stride * (int64_t) size_of(x.a.type), x.a);
    const float *fb =
        unpack(b, x.pb + q * x.b.stride * (int64_t) size_of(x.b.type), x.b);
    if (x.beta != 0)
      unpack(sums, x.pc + q * x.c.stride * (int64_t) size_of(x.c.type), x.c);
    else
      sums.assign((size_t) x.m * (size_t) x.n, 0);
    cblas_sgemm(CblasColMajor, x.d.trans_a ? CblasTrans : CblasNoTrans,
                x.d.trans_b ? CblasTrans : CblasNoTrans, x.m, x.n, x.k, x.alpha,
                fa, (int) x.a.rows, fb, (int) x.b.rows, x.beta, sums.data(),
                x.m);
    if (sums_operand(x.d))
      sum_operand(x, fa, fb, q);
    finish(x, q, sums);
  }
  uint64_t macs =
      (uint64_t) x.m * (uint64_t) x.n * (uint64_t) x.k * (uint64_t) x.out.batch;
  bool tensor =
      x.a.type != CUDA_R_32F || x.d.compute == CUBLAS_COMPUTE_32F_FAST_TF32;
  (tensor ? counts->tensor_macs : counts->other_macs) += macs;
}

} // namespace emu
