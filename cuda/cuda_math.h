/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What kernels share: number formats, sums over a warp and a block, the
 *  exponential, dropout.  Included by .cu files alone. */
#ifndef ZT_CUDA_CUDA_MATH_H
#define ZT_CUDA_CUDA_MATH_H

#include "cuda/cuda_kernels.h"
#include "cuda/cuda_launch.h"

typedef __nv_bfloat16 bf16;

static __device__ __host__ __forceinline__ int64_t at_most(int64_t x,
                                                           int64_t most) {
  return x < most ? x : most;
}

/* ---- Number formats ---- */

static __device__ __forceinline__ float widen(float x) {
  return x;
}

static __device__ __forceinline__ float widen(bf16 x) {
  return __bfloat162float(x);
}

template <class T> static __device__ __forceinline__ T narrow(float x);

template <> __device__ __forceinline__ float narrow<float>(float x) {
  return x;
}

template <> __device__ __forceinline__ bf16 narrow<bf16>(float x) {
  return __float2bfloat16_rn(x);
}

/* ---- Sums in a fixed order ---- */

static __device__ __forceinline__ float warp_sum(float x) {
  for (int step = 16; step > 0; step /= 2)
    x += __shfl_xor_sync(0xffffffffu, x, step);
  return x;
}

static __device__ __forceinline__ float warp_max(float x) {
  for (int step = 16; step > 0; step /= 2)
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

/* Of the whole block, to all its threads; `memory` is [32] and may be used
 * again at once.  A block is of whole warps. */
static __device__ __forceinline__ float block_sum(float x, float *memory) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int warps = blockDim.x / 32;
  x = warp_sum(x);
  if (lane == 0)
    memory[warp] = x;
  __syncthreads();
  x = warp_sum(lane < warps ? memory[lane] : 0);
  __syncthreads();
  return x;
}

static __device__ __forceinline__ float block_max(float x, float *memory) {
  int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  int warps = blockDim.x / 32;
  x = warp_max(x);
  if (lane == 0)
    memory[warp] = x;
  __syncthreads();
  x = warp_max(lane < warps ? memory[lane] : -INFINITY);
  __syncthreads();
  return x;
}

/* ---- Exponential ---- */

/* exp(x), operation by operation as the CPU device computes it: 0 below -87.3,
 * at most exp(88.3), NaN of NaN. */
static __device__ __forceinline__ float exp_of(float x) {
  const float magic = 0x1.8p23f;
  float clamped = x < 88.3f ? x : 88.3f;
  clamped = clamped > -87.3f ? clamped : -87.3f;
  float n = (clamped * 1.44269504f + magic) - magic;
  float r = (clamped - n * 0.693359375f) - n * -2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * (r * r) + r + 1.0f;
  p = __int_as_float(__float_as_int(p) + (int) n * (1 << 23));
  p = x < -87.3f ? 0.0f : p;
  return x == x ? p : x;
}

/* ---- Dropout ---- */

/* Decides about elements of one sample, neighbours best one after another: four
 * of them share a Philox block. */
struct dropper {
  uint32_t key[2], site, sample, step, limit;
  float factor;
  int64_t block; /* whose words these are */
  uint32_t words[4];

  __device__ __forceinline__ dropper(const zt_dropout &d, int64_t s)
      : key{(uint32_t) d.key, (uint32_t) (d.key >> 32)}, site(d.site),
        sample(d.first_sample + (uint32_t) s), step(d.step),
        limit((uint32_t) ((double) d.rate * 0x1p32)), factor(1 / (1 - d.rate)),
        block(-1) {}

  /* Philox4x32-10.  Source: Salmon et al. 2011, Random123. */
  __device__ __forceinline__ void draw() {
    uint32_t k0 = key[0], k1 = key[1];
    uint32_t c0 = (uint32_t) block, c1 = site, c2 = sample, c3 = step;
    for (int round = 0; round < 10; round++) {
      uint64_t p0 = (uint64_t) 0xD2511F53u * c0;
      uint64_t p1 = (uint64_t) 0xCD9E8D57u * c2;
      c0 = (uint32_t) (p1 >> 32) ^ c1 ^ k0;
      c1 = (uint32_t) p1;
      c2 = (uint32_t) (p0 >> 32) ^ c3 ^ k1;
      c3 = (uint32_t) p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
  }

  /* 0 or x / (1 - rate). */
  __device__ __forceinline__ float operator()(int64_t element, float x) {
    if (element / 4 != block) {
      block = element / 4;
      draw();
    }
    uint32_t low = element & 1 ? words[1] : words[0];
    uint32_t high = element & 1 ? words[3] : words[2];
    return (element & 2 ? high : low) < limit ? 0 : x * factor;
  }
};

/* Blocks of `size` that cover n. */
static inline unsigned blocks_of(int64_t n, int64_t size) {
  return (unsigned) ((n + size - 1) / size);
}

#endif
