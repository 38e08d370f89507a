/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  A matrix product as cuBLASLt's descriptors say it. */
#ifndef ZT_CUDAEMU_EMU_GEMM_H
#define ZT_CUDAEMU_EMU_GEMM_H

#include "emu_core.h"

#include <cublasLt.h>

namespace emu {

/** The first word of an algorithm; then a hash of the shape, the workspace in
 *  bytes, and the alignments of A, B, C, D, 16 bits each. */
enum : uint64_t { ALGORITHM_MAGIC = 0x7a746c74 };

struct Description {
  cublasComputeType_t compute;
  int32_t trans_a = CUBLAS_OP_N, trans_b = CUBLAS_OP_N;
  uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  char *bias = NULL, *aux = NULL;
  int32_t bias_type = -1, aux_type = -1, pointer_mode = 0;
  int64_t aux_ld = 0, aux_stride = 0, bias_stride = 0;
};

struct Layout {
  cudaDataType type;
  uint64_t rows, columns;
  int64_t ld;
  int32_t batch = 1;
  int64_t stride = 0; /* elements */
};

struct Preference {
  uint64_t workspace = 0;
  uint32_t align[4] = {256, 256, 256, 256}; /* of A, B, C, D */
};

struct Product {
  Description d;
  Layout a, b, c, out;
  const char *pa, *pb, *pc;
  char *po, *workspace;
  size_t workspace_bytes;
  float alpha, beta;
  int m, n, k;
};

/** What is wrong with it, NULL: nothing. */
const char *product_error(const Product &x, const cublasLtMatmulAlgo_t *algo);
uint64_t product_shape(int m, int n, int k);
/** All that it touches. */
std::vector<Range> product_ranges(const Product &x);
void product_run(const Product &x);

} // namespace emu

#endif
