/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/exact.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* Two limbs of 34 bits: 2^28 numbers can be added before one overflows. */
enum { LIMB = 34 };

static void find_largest(const double *values, const int *of, int64_t n,
                         int64_t *largest) {
  for (int64_t i = 0; i < n; i++) {
    int64_t *most = &largest[of ? of[i] : 0];
    int exponent = INT_MIN;
    if (!isfinite(values[i]))
      exponent = INT_MAX;
    else if (values[i] > 0)
      frexp(values[i], &exponent);
    if (exponent > *most)
      *most = exponent;
  }
}

static void add_limbs(const double *values, const int *of, int64_t n,
                      const int64_t *largest, int64_t *limbs) {
  for (int64_t i = 0; i < n; i++) {
    int s = of ? of[i] : 0;
    if (largest[s] == INT_MAX || largest[s] == INT_MIN)
      continue;
    double scaled = ldexp(values[i], LIMB - (int) largest[s]); /* <= 2^34 */
    double high = floor(scaled);
    limbs[2 * s] += (int64_t) high;
    limbs[2 * s + 1] += (int64_t) ldexp(scaled - high, LIMB);
  }
}

zt_status zt_exact_sums(zt_comm *comm, const double *values, const int *of,
                        int64_t n, int n_sums, int64_t *work, double *sums) {
  int64_t *largest = work; /* exponents; INT_MAX: not finite, INT_MIN: zero */
  int64_t *limbs = work + n_sums;
  for (int s = 0; s < n_sums; s++)
    largest[s] = INT_MIN;
  find_largest(values, of, n, largest);
  ZT_TRY(zt_comm_all_reduce(comm, largest, n_sums, ZT_MAX));
  memset(limbs, 0, 2 * (size_t) n_sums * sizeof *limbs);
  add_limbs(values, of, n, largest, limbs);
  ZT_TRY(zt_comm_all_reduce(comm, limbs, 2 * n_sums, ZT_SUM));
  for (int s = 0; s < n_sums; s++)
    if (largest[s] == INT_MAX)
      sums[s] = NAN;
    else if (largest[s] == INT_MIN)
      sums[s] = 0;
    else
      sums[s] =
          ldexp((double) limbs[2 * s] + ldexp((double) limbs[2 * s + 1], -LIMB),
                (int) largest[s] - LIMB);
  return ZT_OK;
}

zt_status zt_exact_sum(zt_comm *comm, const double *values, int64_t n,
                       double *sum) {
  int64_t work[3];
  return zt_exact_sums(comm, values, NULL, n, 1, work, sum);
}
