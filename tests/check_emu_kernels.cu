/* SPDX-License-Identifier: BSD-3-Clause */
/* Kernels with one bug each, and their twins without. */
#include "cuda/cuda_launch.h"
#include "emu_cases.h"

using namespace nvcuda;
typedef __nv_bfloat16 bf16;

/* ---- Order within a block ---- */

template <bool BUG>
static __global__ void barrier(float *out, const float *in) {
  ZT_DYN_SMEM(float, s);
  int t = threadIdx.x, n = blockDim.x;
  s[t] = in[t];
  if (!BUG)
    __syncthreads();
  out[t] = s[(t + 1) % n];
}

template <bool BUG> static __global__ void warp(float *out, const float *in) {
  ZT_SHARED(float, s, [64]);
  int t = threadIdx.x;
  s[t] = in[t];
  if (!BUG)
    __syncwarp();
  out[t] = s[t ^ 1];
}

template <bool BUG>
static __global__ void half_warp(float *out, const float *in) {
  ZT_SHARED(float, s, [64]);
  int t = threadIdx.x;
  unsigned mask = t % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  s[t] = in[t];
  __syncwarp(mask);
  float x = s[t ^ (BUG ? 16 : 8)];
  __syncwarp(mask);
  s[t ^ 8] = x;
  __syncwarp(mask);
  out[t] = s[t];
}

template <bool BUG>
static __global__ void shuffle_orders(float *out, const float *in) {
  ZT_SHARED(float, s, [64]);
  int t = threadIdx.x;
  s[t] = in[t];
  float x = __shfl_xor_sync(0xffffffffu, in[t], 1);
  if (!BUG)
    __syncwarp();
  out[t] = s[t ^ 1] + x;
}

template <bool BUG>
static __global__ void readers(float *out, const float *in) {
  ZT_SHARED(float, s, [1]);
  int t = threadIdx.x;
  if (t == 0)
    s[0] = in[0];
  __syncthreads();
  out[t] = s[0];
  if (!BUG)
    __syncthreads();
  if (t == (int) blockDim.x - 1) /* its own read was the last one */
    s[0] = 2;
}

template <bool BUG>
static __global__ void warp_readers(float *out, const float *in) {
  ZT_SHARED(float, s, [2]);
  int t = threadIdx.x, w = t / 32;
  if (t % 32 == 0)
    s[w] = in[0];
  __syncwarp();
  out[t] = s[w];
  if (!BUG)
    __syncwarp();
  if (t % 32 == 31)
    s[w] = 2;
}

template <bool BUG> static __global__ void global(float *out, const float *in) {
  int t = threadIdx.x;
  out[t] = in[t];
  if (!BUG)
    __syncthreads();
  float x = out[t ^ 33];
  __syncthreads();
  out[t] = x;
}

template <bool BUG>
static __global__ void global_readers(float *out, const float *in) {
  int t = threadIdx.x;
  out[t] = in[t];
  __syncthreads();
  float x = out[3];
  if (!BUG)
    __syncthreads();
  out[t] = x + 1;
}

/* ---- Blocks ---- */

template <bool BUG> static __global__ void blocks(float *out, const float *in) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  int n = gridDim.x * blockDim.x;
  out[i] = in[i];
  if (BUG && blockIdx.x > 0)
    out[i] += out[(i + n - (int) blockDim.x) % n];
}

template <bool BUG>
static __global__ void block_readers(float *out, const float *in) {
  float *shared_by_all = (float *) in; /* two blocks read, the third writes */
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  out[i] = in[0];
  if (BUG && i == (int) (gridDim.x * blockDim.x) - 1)
    shared_by_all[0] = 7;
}

/* ---- Memory ---- */

template <bool BUG>
static __global__ void shared_unset(float *out, const float *in) {
  ZT_SHARED(float, s, [64]);
  int t = threadIdx.x, i = blockIdx.x * blockDim.x + t;
  if (!BUG || t != 5 || blockIdx.x == 0)
    s[t] = in[i];
  __syncthreads();
  out[i] = s[t];
}

template <bool BUG> static __global__ void unset(float *out, const float *in) {
  int t = threadIdx.x;
  if (!BUG)
    out[t] = 0;
  out[t] += in[t];
}

template <bool BUG> static __global__ void bounds(float *out, const float *in) {
  int t = threadIdx.x;
  out[BUG ? t + 1 : t] = in[t];
}

template <bool BUG>
static __global__ void shared_bounds(float *out, const float *in) {
  ZT_SHARED(float, s, [64]);
  int t = threadIdx.x, past = BUG && in[0] > 0 ? 1 : 0;
  float *p = s;
  p[t + past] = in[t];
  out[t] = p[t + past];
}

template <bool BUG>
static __global__ void dynamic_bounds(float *out, const float *in) {
  ZT_DYN_SMEM(float, s);
  int t = threadIdx.x;
  s[BUG ? t + 1 : t] = in[t];
  out[t] = s[BUG ? t + 1 : t];
}

template <bool BUG> static __global__ void local(float *out, const float *in) {
  ZT_SHARED(float *, shared, [1]);
  volatile float mine[4];
  int t = threadIdx.x;
  mine[t & 3] = in[t];
  if (t == 0)
    shared[0] = (float *) mine;
  __syncthreads();
  out[t] = BUG ? *(volatile float *) shared[0] : mine[t & 3];
  __syncthreads();
}

/* ---- Meetings ---- */

template <bool BUG>
static __global__ void divergent(float *out, const float *in) {
  int t = threadIdx.x;
  if (BUG && t < 32) {
    out[t] = in[t];
    __syncthreads();
  } else {
    out[t] = in[t] + 1;
    if (BUG)
      __syncthreads();
  }
  __syncthreads();
}

template <bool BUG> static __global__ void mask(float *out, const float *in) {
  int t = threadIdx.x;
  unsigned lanes = BUG || t % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  out[t] = __shfl_xor_sync(lanes, in[t], 1);
}

template <bool BUG>
static __global__ void disagree(float *out, const float *in) {
  int t = threadIdx.x;
  unsigned lanes = BUG && t % 2 ? 0x7fffffffu : 0xffffffffu;
  out[t] = __shfl_xor_sync(lanes, in[t], 1);
}

template <bool BUG>
static __global__ void outside(float *out, const float *in) {
  int t = threadIdx.x;
  out[t] = in[t];
  if (t % 32 < 16)
    out[t] = __shfl_sync(0x0000ffffu, in[t], BUG ? 20 : 12);
}

template <bool BUG>
static __global__ void deadlock(float *out, const float *in) {
  int t = threadIdx.x;
  out[t] = in[t];
  if (!BUG || t % 32 < 16)
    out[t] = __shfl_xor_sync(0xffffffffu, in[t], 1);
  else
    __syncthreads();
}

template <bool BUG> static __global__ void atomic(float *out, const float *in) {
  ZT_SHARED(int, count, [1]);
  int t = threadIdx.x;
  if (t == 0)
    count[0] = 0;
  __syncthreads();
  if (BUG && t == 40)
    count[0] += 1;
  else
    atomicAdd(&count[0], 1);
  __syncthreads();
  out[t] = in[t] + (float) count[0];
}

template <bool BUG> static __global__ void tile(float *out, const float *in) {
  ZT_SHARED(float, s, [2][256]);
  float *mine = s[threadIdx.x / 32];
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> f;
  wmma::fill_fragment(f, in[0]);
  wmma::store_matrix_sync(mine, f, 16, wmma::mem_row_major);
  if (!BUG)
    __syncwarp();
  wmma::load_matrix_sync(f, mine, 16, wmma::mem_col_major);
  out[threadIdx.x] = f.x[0];
}

/* ---- The table ---- */

typedef void kernel(float *, const float *);
struct entry {
  emu_case_info info;
  kernel *twins[2];
};

#define ENTRY(name, blocks, threads, report)                                   \
  {                                                                            \
    {#name, blocks, threads, report}, {                                        \
      name<false>, name<true>                                                  \
    }                                                                          \
  }
static const entry entries[CASES] = {
    ENTRY(barrier, 1, 64, "race in shared memory"),
    ENTRY(warp, 1, 64, "race in shared memory"),
    ENTRY(half_warp, 1, 64, "race in shared memory"),
    ENTRY(shuffle_orders, 1, 64, "race in shared memory"),
    ENTRY(readers, 1, 64, "race in shared memory"),
    ENTRY(warp_readers, 1, 64, "race in shared memory"),
    ENTRY(global, 1, 64, "race in global memory"),
    ENTRY(global_readers, 1, 64, "race in global memory"),
    ENTRY(blocks, 3, 64, "race between blocks"),
    ENTRY(block_readers, 3, 64, "race "),
    ENTRY(shared_unset, 2, 64, "shared memory that was never written"),
    ENTRY(unset, 1, 64, "device memory that was never written"),
    ENTRY(bounds, 1, 64, "out of bounds"),
    ENTRY(shared_bounds, 1, 64, "shared memory out of bounds"),
    ENTRY(dynamic_bounds, 1, 64, "shared memory out of bounds"),
    ENTRY(divergent, 1, 64, "divergent __syncthreads"),
    ENTRY(mask, 1, 64, "without itself"),
    ENTRY(disagree, 1, 64, "disagree"),
    ENTRY(outside, 1, 64, "which takes no part"),
    ENTRY(deadlock, 1, 64, "deadlock in a kernel"),
    ENTRY(local, 1, 64, "variable of another thread"),
    ENTRY(atomic, 1, 64, "race in shared memory"),
    ENTRY(tile, 1, 64, "race in shared memory"),
};

const emu_case_info *emu_case_get(emu_case which) {
  return &entries[which].info;
}

cudaError_t emu_case_launch(emu_case which, bool bug, float *out,
                            const float *in, cudaStream_t stream) {
  const entry &e = entries[which];
  size_t shared = which == CASE_BARRIER || which == CASE_DYNAMIC_BOUNDS
                      ? (size_t) e.info.threads * sizeof(float)
                      : 0;
  kernel *k = e.twins[bug];
  ZT_LAUNCH(k, dim3(e.info.blocks), dim3(e.info.threads), shared, stream, out,
            in);
  return cudaGetLastError();
}

/* ---- Other kernels ---- */

static __global__ void fill(float *p, float value, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    p[i] = value;
}

static __global__ void axpy(float *y, const float *x, float a, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n)
    y[i] += a * x[i];
}

cudaError_t emu_fill(float *p, float value, int n, cudaStream_t stream) {
  ZT_LAUNCH(fill, dim3((n + 127) / 128), dim3(128), 0, stream, p, value, n);
  return cudaGetLastError();
}

cudaError_t emu_axpy(float *y, const float *x, float a, int n,
                     cudaStream_t stream) {
  ZT_LAUNCH(axpy, dim3((n + 127) / 128), dim3(128), 0, stream, y, x, a, n);
  return cudaGetLastError();
}

struct twelve {
  float a;
  int b, c;
};

struct thirty_two {
  float x[8];
};

template <class T>
static __global__ void copy_as(T *to, const T *from, int bytes) {
  for (int i = threadIdx.x; i < bytes / (int) sizeof(T); i += blockDim.x)
    to[i] = from[i];
}

static __global__ void copy_memory(char *to, const char *from, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    memcpy(to + 32 * i, from + 32 * i, 32);
}

template <class T>
static void launch_copy(void *to, const void *from, int n, cudaStream_t s) {
  ZT_LAUNCH(copy_as<T>, dim3(1), dim3(96), 0, s, (T *) to, (const T *) from,
            32 * n);
}

cudaError_t emu_copy(int way, void *to, const void *from, int n,
                     cudaStream_t s) {
  switch (way) {
  case 0:
    launch_copy<char>(to, from, n, s);
    break;
  case 1:
    launch_copy<bf16>(to, from, n, s);
    break;
  case 2:
    launch_copy<float>(to, from, n, s);
    break;
  case 3:
    launch_copy<double>(to, from, n, s);
    break;
  case 4:
    launch_copy<float4>(to, from, n, s);
    break;
  case 5:
    launch_copy<twelve>(to, from, n, s);
    break;
  case 6:
    launch_copy<thirty_two>(to, from, n, s);
    break;
  default:
    ZT_LAUNCH(copy_memory, dim3(1), dim3(96), 0, s, (char *) to,
              (const char *) from, n);
  }
  return cudaGetLastError();
}

/* ---- Tensor cores ---- */

template <int M, int N, class T, class LA, class LB>
static __global__ void matmul(float *c, const T *a, const T *b, int m, int n,
                              int k) {
  int row = blockIdx.y * M, column = blockIdx.x * N;
  constexpr bool ca = std::is_same<LA, wmma::col_major>::value;
  constexpr bool cb = std::is_same<LB, wmma::col_major>::value;
  wmma::fragment<wmma::matrix_a, M, N, 16, T, LA> fa;
  wmma::fragment<wmma::matrix_b, M, N, 16, T, LB> fb;
  wmma::fragment<wmma::accumulator, M, N, 16, float> fc;
  wmma::load_matrix_sync(fc, c + row + column * m, m, wmma::mem_col_major);
  for (int q = 0; q < k; q += 16) {
    wmma::load_matrix_sync(fa, ca ? a + q * m + row : a + row * k + q,
                           ca ? m : k);
    wmma::load_matrix_sync(fb, cb ? b + column * k + q : b + q * n + column,
                           cb ? k : n);
    wmma::mma_sync(fc, fa, fb, fc);
  }
  for (int i = 0; i < fc.num_elements; i++)
    fc.x[i] *= 2;
  wmma::store_matrix_sync(c + row + column * m, fc, m, wmma::mem_col_major);
}

template <int M, int N, class T>
static void launch_matmul(float *c, const uint16_t *a, const uint16_t *b, int m,
                          int n, int k, bool ca, bool cb, cudaStream_t s) {
  typedef wmma::row_major row;
  typedef wmma::col_major column;
  auto kernel =
      ca   ? cb ? matmul<M, N, T, column, column> : matmul<M, N, T, column, row>
        : cb ? matmul<M, N, T, row, column>
           : matmul<M, N, T, row, row>;
  ZT_LAUNCH(kernel, dim3(n / N, m / M), dim3(32), 0, s, c, (const T *) a,
            (const T *) b, m, n, k);
}

cudaError_t emu_matmul(float *c, const uint16_t *a, const uint16_t *b, int m,
                       int n, int k, int shape, bool half, bool ca, bool cb,
                       cudaStream_t s) {
  auto launch =
      shape == 0
          ? half ? launch_matmul<16, 16, __half> : launch_matmul<16, 16, bf16>
      : shape == 1
          ? half ? launch_matmul<32, 8, __half> : launch_matmul<32, 8, bf16>
      : half ? launch_matmul<8, 32, __half>
             : launch_matmul<8, 32, bf16>;
  launch(c, a, b, m, n, k, ca, cb, s);
  return cudaGetLastError();
}

/* ---- Primitives ---- */

template <int WAY>
static __global__ void warp_sum(float *out, const float *in) {
  int t = threadIdx.x;
  float x = in[t];
  if (WAY == 0)
    for (int o = 16; o > 0; o /= 2)
      x += __shfl_xor_sync(0xffffffffu, x, o);
  if (WAY == 1) {
    for (int o = 16; o > 0; o /= 2)
      x += __shfl_down_sync(0xffffffffu, x, o);
    x = __shfl_sync(0xffffffffu, x, 0);
  }
  if (WAY == 2) {
    for (int o = 1; o < 32; o *= 2) {
      float y = __shfl_up_sync(0xffffffffu, x, o);
      x += t % 32 >= o ? y : 0;
    }
    x = __shfl_sync(0xffffffffu, x, 31);
  }
  if (WAY == 3)
    x = (float) __popc(__ballot_sync(0xffffffffu, x > 0)) +
        (float) __any_sync(0xffffffffu, t == 5) -
        (float) __all_sync(0xffffffffu, t < 64);
  out[t] = x;
}

cudaError_t emu_warp_sum(int way, float *out, const float *in, int threads,
                         cudaStream_t s) {
  auto kernel = way == 0   ? warp_sum<0>
                : way == 1 ? warp_sum<1>
                : way == 2 ? warp_sum<2>
                           : warp_sum<3>;
  ZT_LAUNCH(kernel, dim3(1), dim3(threads), 0, s, out, in);
  return cudaGetLastError();
}

static __global__ void large_shared(float *out, int n) {
  ZT_DYN_SMEM(float, s);
  for (int i = threadIdx.x; i < n; i += blockDim.x)
    s[i] = (float) i;
  __syncthreads();
  out[threadIdx.x] = s[n - 1 - threadIdx.x];
}

cudaError_t emu_large_shared(float *out, size_t bytes, bool allow,
                             cudaStream_t s) {
  if (allow) {
    cudaError_t error = cudaFuncSetAttribute(
        (const void *) large_shared,
        cudaFuncAttributeMaxDynamicSharedMemorySize, (int) bytes);
    if (error)
      return error;
  }
  ZT_LAUNCH(large_shared, dim3(1), dim3(64), bytes, s, out,
            (int) (bytes / sizeof(float)));
  return cudaGetLastError();
}
