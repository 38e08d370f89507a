/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Small kernels with a bug and without, for the tests of the double. */
#ifndef ZT_TESTS_EMU_CASES_H
#define ZT_TESTS_EMU_CASES_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum emu_case {
  CASE_BARRIER,        /* shared memory read without __syncthreads */
  CASE_WARP,           /* the same within a warp, without __syncwarp */
  CASE_HALF_WARP,      /* half warps on their own, with the wrong mask */
  CASE_SHUFFLE_ORDERS, /* a shuffle taken for __syncwarp */
  CASE_READERS,        /* shared memory written while others may read */
  CASE_WARP_READERS,   /* the same within a warp */
  CASE_GLOBAL,         /* global memory exchanged without a barrier */
  CASE_GLOBAL_READERS, /* global memory written while others may read */
  CASE_BLOCKS,         /* what another block writes is read */
  CASE_BLOCK_READERS,  /* what an earlier block reads is written */
  CASE_SHARED_UNSET,   /* shared memory read before it is written */
  CASE_UNSET,          /* global memory read before it is written */
  CASE_BOUNDS,         /* one past the end */
  CASE_SHARED_BOUNDS,  /* one past the end of a shared array */
  CASE_DYNAMIC_BOUNDS, /* one past the shared memory of the launch */
  CASE_DIVERGENT,      /* two __syncthreads for one barrier */
  CASE_MASK,           /* a lane calls a shuffle that its mask lacks */
  CASE_DISAGREE,       /* lanes with different masks */
  CASE_OUTSIDE,        /* a shuffle reads a lane outside its mask */
  CASE_DEADLOCK,       /* lanes wait for others that wait at a barrier */
  CASE_LOCAL,          /* a variable of another thread is read */
  CASE_ATOMIC,         /* a counter is changed with and without atomics */
  CASE_TILE,           /* a tile stored and loaded without __syncwarp */
  CASES
} emu_case;

/** Name and configuration of a case. */
typedef struct emu_case_info {
  const char *name;
  int blocks, threads;
  const char *report; /* part of what is reported */
} emu_case_info;
const emu_case_info *emu_case_get(emu_case which);

/** out, in: [blocks * threads] floats on the device; out not initialised. */
cudaError_t emu_case_launch(emu_case which, bool bug, float *out,
                            const float *in, cudaStream_t stream);

cudaError_t emu_fill(float *p, float value, int n, cudaStream_t stream);
/** y += a * x */
cudaError_t emu_axpy(float *y, const float *x, float a, int n,
                     cudaStream_t stream);
/** Copies 32 * n bytes by each of the ways that a kernel has: bytes, 2, 4, 8,
 * 16 bytes, structs of 12 and 32, memcpy; one block. */
enum { EMU_WAYS = 8 };
cudaError_t emu_copy(int way, void *to, const void *from, int n,
                     cudaStream_t stream);
/** C = A B by wmma, a warp for each tile.  bf16, or fp16 if `half`; A or B by
 *  columns if asked; shape 0, 1, 2: tiles of 16 x 16, 32 x 8, 8 x 32. */
cudaError_t emu_matmul(float *c, const uint16_t *a, const uint16_t *b, int m,
                       int n, int k, int shape, bool half, bool a_by_column,
                       bool b_by_column, cudaStream_t stream);
/** out[t] = sum over the warp of in, by one of: xor, down, up, ballot count. */
cudaError_t emu_warp_sum(int way, float *out, const float *in, int threads,
                         cudaStream_t stream);
/** Needs so many bytes of dynamic shared memory. */
cudaError_t emu_large_shared(float *out, size_t bytes, bool allow,
                             cudaStream_t stream);

#ifdef __cplusplus
}
#endif

#endif
