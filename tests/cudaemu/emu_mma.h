/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  nvcuda::wmma for bf16 and fp16 with fp32 accumulators, all three shapes.
 *
 *  Which lane holds which element is not specified by CUDA, and is not here as
 *  on any real device; an index into `x` has a meaning only between fragments
 *  of one kind.  A tile of n elements is cut into 32 runs of n/32 in the order
 *  of memory (accumulators: row by row); lane l holds run l. */
#ifndef ZT_CUDAEMU_EMU_MMA_H
#define ZT_CUDAEMU_EMU_MMA_H

#include "emu_device.h"

/** A tile in memory: `bytes` of an element; whether columns are contiguous in
 *  memory, and whether lanes hold runs of columns. */
struct emu_tile {
  int rows, columns, bytes;
  bool by_column, lanes_by_column;
};
enum emu_element { EMU_BF16, EMU_FP16 };

/* In emu_tile.cpp; the whole warp takes part. */
void emu_tile_load(emu_tile tile, void *x, const void *from, unsigned ld);
void emu_tile_store(emu_tile tile, const void *x, void *to, unsigned ld);
void emu_tile_mma(int m, int n, int k, emu_element element, bool a_by_column,
                  bool b_by_column, float *d, const void *a, const void *b,
                  const float *c);

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
enum layout_t { mem_row_major, mem_col_major };

template <class Use, int M, int N, int K> struct emu_shape;
template <int M, int N, int K> struct emu_shape<matrix_a, M, N, K> {
  static constexpr int rows = M, columns = K;
};
template <int M, int N, int K> struct emu_shape<matrix_b, M, N, K> {
  static constexpr int rows = K, columns = N;
};
template <int M, int N, int K> struct emu_shape<accumulator, M, N, K> {
  static constexpr int rows = M, columns = N;
};

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static_assert(K == 16 && M * N == 256 && (M == 8 || M == 16 || M == 32),
                "m16n16k16, m32n8k16 or m8n32k16");
  typedef emu_shape<Use, M, N, K> shape;
  static constexpr int num_elements = shape::rows * shape::columns / 32;
  T x[num_elements];
};

template <class T> struct emu_element_of;
template <> struct emu_element_of<__nv_bfloat16> {
  static constexpr emu_element value = EMU_BF16;
};
template <> struct emu_element_of<__half> {
  static constexpr emu_element value = EMU_FP16;
};

template <class Use, int M, int N, int K, class T, class L, class V>
static inline void fill_fragment(fragment<Use, M, N, K, T, L> &f, V value) {
  for (int i = 0; i < f.num_elements; i++)
    f.x[i] = (T) value;
}

template <class Use, int M, int N, int K, class T, class L>
static inline void load_matrix_sync(fragment<Use, M, N, K, T, L> &f,
                                    const T *from, unsigned ld) {
  typedef emu_shape<Use, M, N, K> shape;
  static_assert(!std::is_void<L>::value, "an accumulator needs a layout");
  emu_tile_load({shape::rows, shape::columns, (int) sizeof(T),
                 std::is_same<L, col_major>::value,
                 std::is_same<L, col_major>::value},
                f.x, from, ld);
}
template <int M, int N, int K, class T>
static inline void load_matrix_sync(fragment<accumulator, M, N, K, T> &f,
                                    const T *from, unsigned ld,
                                    layout_t layout) {
  emu_tile_load({M, N, (int) sizeof(T), layout == mem_col_major, false}, f.x,
                from, ld);
}
template <int M, int N, int K, class T>
static inline void store_matrix_sync(T *to,
                                     const fragment<accumulator, M, N, K, T> &f,
                                     unsigned ld, layout_t layout) {
  emu_tile_store({M, N, (int) sizeof(T), layout == mem_col_major, false}, f.x,
                 to, ld);
}

template <int M, int N, int K, class T, class LA, class LB>
static inline void mma_sync(fragment<accumulator, M, N, K, float> &d,
                            const fragment<matrix_a, M, N, K, T, LA> &a,
                            const fragment<matrix_b, M, N, K, T, LB> &b,
                            const fragment<accumulator, M, N, K, float> &c) {
  emu_tile_mma(M, N, K, emu_element_of<T>::value,
               std::is_same<LA, col_major>::value,
               std::is_same<LB, col_major>::value, d.x, a.x, b.x, c.x);
}

} // namespace wmma
} // namespace nvcuda

#endif
