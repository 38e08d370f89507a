// SPDX-License-Identifier: BSD-3-Clause
// Tiles of the tensor cores.  Loads and stores are accesses of the lanes; the
// last lane that comes to a product computes all of it.
#include "emu_core.h"
#include "emu_device.h"

#include <string.h>

namespace emu {
namespace {

enum { SITE_LOAD = -11, SITE_STORE = -12, SITE_MMA = -13 };

struct Place {
  const void *p;
  unsigned ld;
};

struct Product {
  int m, n, k;
  emu_element element;
  bool a_by_column, b_by_column;
  float *d;
  const void *a, *b;
  const float *c;
};

/* All lanes must name the same tile. */
void same_place(const uint64_t *mail) {
  const Place *first = (const Place *) mail[0];
  for (int l = 1; l < 32; l++) {
    const Place *p = (const Place *) mail[l];
    if (p->p != first->p || p->ld != first->ld) {
      report("lanes of a warp give different places of a tile");
      return;
    }
  }
}

void check_place(const emu_tile &tile, const void *p, unsigned ld, int site) {
  if ((uintptr_t) p % 32)
    report("a tile that does not start at a multiple of 32 bytes");
  if ((size_t) ld * (size_t) tile.bytes % 16)
    report("the rows of a tile are not multiples of 16 bytes apart");
  Place place = {p, ld};
  warp_meeting(&place, site, same_place);
}

/* Over the lane's elements, as long as they are contiguous in memory at once:
 * visit(first element, offset in memory, count), in elements. */
template <class F> void each_run(const emu_tile &tile, unsigned ld, F visit) {
  size_t count = (size_t) (tile.rows * tile.columns / 32);
  size_t minor = (size_t) (tile.lanes_by_column ? tile.rows : tile.columns);
  size_t first = emu_lane() * count, start = 0, at = 0;
  for (size_t i = 0; i <= count; i++) {
    size_t major = (first + i) / minor, rest = (first + i) % minor;
    size_t here = tile.lanes_by_column == tile.by_column ? major * ld + rest
                                                         : rest * ld + major;
    if (i == 0)
      at = here;
    else if (i == count || here != at + (i - start)) {
      visit(start, at, i - start);
      start = i;
      at = here;
    }
  }
}

float widen(const void *x, int i, emu_element element) {
  uint16_t bits = ((const uint16_t *) x)[i];
  if (element == EMU_FP16) {
    __half h;
    memcpy((void *) &h, &bits, 2);
    return __half2float(h);
  }
  uint32_t wide = (uint32_t) bits << 16;
  float f;
  memcpy(&f, &wide, 4);
  return f;
}

/* Row by row from the lanes' runs. */
void gather(float *to, int rows, int columns, bool by_column,
            emu_element element, const void *const *x) {
  int count = rows * columns / 32;
  for (int e = 0; e < rows * columns; e++) {
    float v = widen(x[e / count], e % count, element);
    to[by_column ? e % rows * columns + e / rows : e] = v;
  }
}

void multiply(const uint64_t *mail) {
  const Product *p[32];
  const void *a[32], *b[32];
  for (int l = 0; l < 32; l++) {
    p[l] = (const Product *) mail[l];
    a[l] = p[l]->a;
    b[l] = p[l]->b;
  }
  const int m = p[0]->m, n = p[0]->n, k = p[0]->k;
  float fa[32 * 16], fb[16 * 32], sum[256];
  gather(fa, m, k, p[0]->a_by_column, p[0]->element, a);
  gather(fb, k, n, p[0]->b_by_column, p[0]->element, b);
  for (int e = 0; e < m * n; e++)
    sum[e] = p[e / 8]->c[e % 8];
  for (int i = 0; i < m; i++)
    for (int q = 0; q < k; q++) {
      float x = fa[i * k + q];
      for (int j = 0; j < n; j++)
        sum[i * n + j] += x * fb[q * n + j];
    }
  for (int e = 0; e < m * n; e++)
    p[e / 8]->d[e % 8] = sum[e];
  counts->tensor_macs += (uint64_t) (m * n * k);
}

} // namespace
} // namespace emu

using namespace emu;

void emu_tile_load(emu_tile tile, void *x, const void *from, unsigned ld) {
  check_place(tile, from, ld, SITE_LOAD);
  size_t bytes = (size_t) tile.bytes;
  each_run(tile, ld, [&](size_t i, size_t at, size_t n) {
    const char *p = (const char *) from + at * bytes;
    access(p, n * bytes, false, false);
    memcpy((char *) x + i * bytes, p, n * bytes);
  });
}

void emu_tile_store(emu_tile tile, const void *x, void *to, unsigned ld) {
  check_place(tile, to, ld, SITE_STORE);
  size_t bytes = (size_t) tile.bytes;
  each_run(tile, ld, [&](size_t i, size_t at, size_t n) {
    char *p = (char *) to + at * bytes;
    access(p, n * bytes, true, false);
    memcpy(p, (const char *) x + i * bytes, n * bytes);
  });
}

void emu_tile_mma(int m, int n, int k, emu_element element, bool a_by_column,
                  bool b_by_column, float *d, const void *a, const void *b,
                  const float *c) {
  Product product = {m, n, k, element, a_by_column, b_by_column, d, a, b, c};
  warp_meeting(&product, SITE_MMA, multiply);
}
