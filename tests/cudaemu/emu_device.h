/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The device side of CUDA for a host C++17 compiler: what a kernel file sees
 *  instead of nvcc's built-ins.  `cuda/cuda_launch.h` includes it when the
 * compiler is not nvcc.  One CUDA thread is one fiber of the calling host
 * thread; the functions with the prefix emu_ are in emu_fiber.cpp and
 * emu_tile.cpp.
 *
 *  Rules for kernel files
 *  - include it through cuda_launch.h (types come from NVIDIA's own headers);
 *  - ZT_LAUNCH(kernel, grid, block, shared bytes, stream, arguments...) in
 * place of <<<>>>; a template with commas goes into parentheses;
 *  - ZT_SHARED(float, s, [32]) and ZT_DYN_SMEM(float, s) in place of __shared__
 *    (inside templates a section attribute would be lost);
 *  - ZT_MACS(n) where a thread does n multiply-adds of a matrix product outside
 *    the tensor cores, so that they are counted;
 *  - of the intrinsics those below; no floating-point atomics (they do not
 *    compile), no inline assembly. */
#ifndef ZT_CUDAEMU_EMU_DEVICE_H
#define ZT_CUDAEMU_EMU_DEVICE_H

#include <cuda_runtime_api.h>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <vector_functions.h>

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <tuple>
#include <type_traits>

/* Constant while a kernel runs in one thread, so one call serves all uses. */
uint3 emu_thread_idx() __attribute__((const));
uint3 emu_block_idx() __attribute__((const));
uint3 emu_block_dim() __attribute__((const));
uint3 emu_grid_dim() __attribute__((const));
unsigned emu_lane() __attribute__((const));

/** Barrier of the block; `site` tells call sites apart.
 *  \return number of threads that gave a true value. */
int emu_syncthreads(int site, bool value);
/** Meeting of the lanes in `mask` that gives memory order. */
void emu_syncwarp(unsigned mask, int site);
/** Meeting without memory order: value of lane `from`. */
uint64_t emu_shuffle(unsigned mask, uint64_t value, unsigned from, int site);
/** Meeting without memory order: bit l is set if lane l gave true. */
unsigned emu_ballot(unsigned mask, bool value, int site);
/** Storage of one shared variable of the running block. */
void *emu_shared(const void *key, size_t bytes, size_t alignment);
void *emu_dynamic_shared();
/** Accesses that the compiler does not instrument. */
void emu_atomic(const void *p, size_t bytes);
void *emu_copy_bytes(void *to, const void *from, size_t bytes);
void *emu_set_bytes(void *to, int value, size_t bytes);
void emu_count_macs(uint64_t macs);
/** Queue a kernel; `parameters` are freed by `release` in the end. */
void emu_launch_raw(const char *name, const void *kernel, dim3 grid, dim3 block,
                    size_t shared_bytes, cudaStream_t stream,
                    void (*call)(void *), void *parameters, size_t bytes,
                    void (*release)(void *));

#undef __shared__
#undef __constant__
#undef __launch_bounds__
#define __shared__ static_assert(false, "use ZT_SHARED or ZT_DYN_SMEM");
#define __constant__ __attribute__((section("zt_constant")))
#define __launch_bounds__(...)

#define threadIdx (emu_thread_idx())
#define blockIdx (emu_block_idx())
#define blockDim (emu_block_dim())
#define gridDim (emu_grid_dim())
static constexpr int warpSize = 32;

#define ZT_SHARED(T, name, ...)                                                \
  typedef T zt_type_##name __VA_ARGS__;                                        \
  static char zt_key_##name;                                                   \
  zt_type_##name &name = *static_cast<zt_type_##name *>(emu_shared(            \
      &zt_key_##name, sizeof(zt_type_##name), alignof(zt_type_##name)))
#define ZT_DYN_SMEM(T, name) T *name = static_cast<T *>(emu_dynamic_shared())
#define ZT_MACS(n) emu_count_macs(n)

template <class... P> struct emu_call {
  void (*kernel)(P...);
  std::tuple<P...> parameters;
};

template <class... P, class... A>
void emu_launch(const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                size_t shared_bytes, cudaStream_t stream, A... arguments) {
  static_assert((std::is_trivially_copyable<P>::value && ...),
                "kernel parameters are copied as bytes");
  typedef emu_call<P...> call;
  emu_launch_raw(
      name, (const void *) kernel, grid, block, shared_bytes, stream,
      [](void *p) {
        call *c = static_cast<call *>(p);
        std::apply(c->kernel, c->parameters);
      },
      new call{kernel, std::tuple<P...>(arguments...)}, sizeof(call),
      [](void *p) { delete static_cast<call *>(p); });
}
#define ZT_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)              \
  emu_launch(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__)

/* Meetings of a block and of a warp. */
#define __syncthreads() ((void) emu_syncthreads(__COUNTER__ + 1, false))
#define __syncthreads_count(p) emu_syncthreads(__COUNTER__ + 1, (p) != 0)
#define __syncthreads_or(p) (emu_syncthreads(__COUNTER__ + 1, (p) != 0) != 0)
#define __syncthreads_and(p) (emu_syncthreads(__COUNTER__ + 1, (p) == 0) == 0)
#define __syncwarp(...) emu_syncwarp_at(__COUNTER__ + 1, ##__VA_ARGS__)
static inline void emu_syncwarp_at(int site, unsigned mask = 0xffffffffu) {
  emu_syncwarp(mask, site);
}

enum { EMU_SHFL = -1, EMU_SHFL_XOR = -2, EMU_SHFL_UP = -3, EMU_SHFL_DOWN = -4 };

template <class T>
static inline T emu_shuffle_as(unsigned mask, T value, int from, int segment,
                               int width, int site) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  if (from < segment || from >= segment + width)
    from = (int) emu_lane(); /* outside: the own value */
  uint64_t bits = 0;
  memcpy(&bits, &value, sizeof(T));
  bits = emu_shuffle(mask, bits, (unsigned) from, site);
  memcpy((void *) &value, &bits, sizeof(T));
  return value;
}
#define EMU_SEGMENT(width) ((int) emu_lane() & ~((width) -1))

template <class T>
static inline T __shfl_sync(unsigned mask, T v, int from, int width = 32) {
  int segment = EMU_SEGMENT(width);
  return emu_shuffle_as(mask, v, segment + (from & (width - 1)), segment, width,
                        EMU_SHFL);
}
/* Unlike up and down, xor may read from a segment before its own. */
template <class T>
static inline T __shfl_xor_sync(unsigned mask, T v, int bits, int width = 32) {
  int segment = EMU_SEGMENT(width);
  return emu_shuffle_as(mask, v, (int) emu_lane() ^ bits, 0, segment + width,
                        EMU_SHFL_XOR);
}
template <class T>
static inline T __shfl_up_sync(unsigned mask, T v, unsigned by,
                               int width = 32) {
  return emu_shuffle_as(mask, v, (int) emu_lane() - (int) by,
                        EMU_SEGMENT(width), width, EMU_SHFL_UP);
}
template <class T>
static inline T __shfl_down_sync(unsigned mask, T v, unsigned by,
                                 int width = 32) {
  return emu_shuffle_as(mask, v, (int) (emu_lane() + by), EMU_SEGMENT(width),
                        width, EMU_SHFL_DOWN);
}
#define __ballot_sync(mask, p) emu_ballot(mask, (p) != 0, __COUNTER__ + 1)
#define __any_sync(mask, p) (__ballot_sync(mask, p) != 0)
#define __all_sync(mask, p) (__ballot_sync(mask, (p) == 0) == 0)

/* Atomics on integers; the order of additions of floats would be open. */
#define EMU_ATOMIC(name, expression)                                           \
  template <class T>                                                           \
  __attribute__((no_sanitize("thread"))) static inline T name(                 \
      T *p, std::common_type_t<T> v) {                                         \
    static_assert(std::is_integral<T>::value, "integers only");                \
    emu_atomic(p, sizeof(T));                                                  \
    T old = *(volatile T *) p;                                                 \
    *(volatile T *) p = (T) (expression);                                      \
    return old;                                                                \
  }
EMU_ATOMIC(atomicAdd, old + v)
EMU_ATOMIC(atomicSub, old - v)
EMU_ATOMIC(atomicMax, old > v ? old : v)
EMU_ATOMIC(atomicMin, old < v ? old : v)
EMU_ATOMIC(atomicAnd, old &v)
EMU_ATOMIC(atomicOr, old | v)
EMU_ATOMIC(atomicXor, old ^ v)
EMU_ATOMIC(atomicExch, v)
#undef EMU_ATOMIC
template <class T>
__attribute__((no_sanitize("thread"))) static inline T
atomicCAS(T *p, std::common_type_t<T> expected, std::common_type_t<T> v) {
  static_assert(std::is_integral<T>::value, "integers only");
  emu_atomic(p, sizeof(T));
  T old = *(volatile T *) p;
  if (old == expected)
    *(volatile T *) p = v;
  return old;
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}

/* Memory with a hint for the cache. */
template <class T> static inline T __ldg(const T *p) {
  return *p;
}
template <class T> static inline T __ldcs(const T *p) {
  return *p;
}
template <class T> static inline T __ldcg(const T *p) {
  return *p;
}
template <class T> static inline void __stcs(T *p, T v) {
  *p = v;
}
template <class T> static inline void __stcg(T *p, T v) {
  *p = v;
}

/* Arithmetic. */
template <class T> static inline T min(T a, T b) {
  return b < a ? b : a;
}
template <class T> static inline T max(T a, T b) {
  return a < b ? b : a;
}
static inline float rsqrtf(float x) {
  return 1.0f / sqrtf(x);
}
static inline double rsqrt(double x) {
  return 1.0 / sqrt(x);
}
#define __expf(x) expf(x)
#define __logf(x) logf(x)
#define __fdividef(a, b) ((float) (a) / (float) (b))
#define __frcp_rn(x) (1.0f / (float) (x))
#define __fsqrt_rn(x) sqrtf(x)
#define __frsqrt_rn(x) rsqrtf(x)
#define __fmaf_rn(a, b, c) fmaf(a, b, c)
#define __fma_rn(a, b, c) fma(a, b, c)
/* Rounded on their own, never contracted to an FMA. */
#define EMU_ROUNDED(name, T, op)                                               \
  static inline T name(T a, T b) {                                             \
    volatile T r = a op b;                                                     \
    return r;                                                                  \
  }
EMU_ROUNDED(__fadd_rn, float, +)
EMU_ROUNDED(__fsub_rn, float, -)
EMU_ROUNDED(__fmul_rn, float, *)
EMU_ROUNDED(__fdiv_rn, float, /)
EMU_ROUNDED(__dadd_rn, double, +)
EMU_ROUNDED(__dsub_rn, double, -)
EMU_ROUNDED(__dmul_rn, double, *)
EMU_ROUNDED(__ddiv_rn, double, /)
#undef EMU_ROUNDED
static inline unsigned __umulhi(unsigned a, unsigned b) {
  return (unsigned) ((uint64_t) a * b >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a,
                                            unsigned long long b) {
  return (unsigned long long) ((unsigned __int128) a * b >> 64);
}
static inline int __popc(unsigned x) {
  return __builtin_popcount(x);
}
static inline int __clz(int x) {
  return x ? __builtin_clz((unsigned) x) : 32;
}
static inline int __ffs(int x) {
  return __builtin_ffs(x);
}
template <class To, class From> static inline To emu_bits_as(From v) {
  static_assert(sizeof(To) == sizeof(From), "as many bits");
  To to;
  memcpy(&to, &v, sizeof to);
  return to;
}
static inline float __int_as_float(int x) {
  return emu_bits_as<float>(x);
}
static inline int __float_as_int(float x) {
  return emu_bits_as<int>(x);
}
static inline float __uint_as_float(unsigned x) {
  return emu_bits_as<float>(x);
}
static inline unsigned __float_as_uint(float x) {
  return emu_bits_as<unsigned>(x);
}
static inline double __longlong_as_double(long long x) {
  return emu_bits_as<double>(x);
}
static inline long long __double_as_longlong(double x) {
  return emu_bits_as<long long>(x);
}

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
/* The compiler instruments a memcpy only if it makes one move of it. */
__attribute__((always_inline)) static inline void *
emu_memcpy(void *to, const void *from, size_t bytes) {
  if (__builtin_constant_p(bytes) && bytes <= 8)
    return __builtin_memcpy(to, from, bytes);
  return emu_copy_bytes(to, from, bytes);
}
#define memcpy(to, from, bytes) emu_memcpy(to, from, bytes)
#define memset(to, value, bytes) emu_set_bytes(to, value, bytes)
#endif

#include "emu_mma.h"

#endif
