/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/split.h"

#include "base/random.h"

#include <math.h>

zt_split zt_split_of(int64_t samples, double share, uint64_t key) {
  double held = share > 0 ? floor((double) samples * share + 0.5) : 0;
  if (share > 0 && held < 1)
    held = 1;
  return (zt_split){.samples = samples, .held = (int64_t) held, .key = key};
}

int64_t zt_split_count(const zt_split *split, bool held_out) {
  return held_out ? split->held : split->samples - split->held;
}

/* The first sample of a stretch. */
static int64_t begin(const zt_split *s, int64_t stretch) {
  return (int64_t) ((__int128) stretch * s->samples / s->held);
}

/* The sample of a stretch that is held out. */
static int64_t held(const zt_split *s, int64_t stretch) {
  const uint32_t counter[4] = {(uint32_t) stretch,
                               (uint32_t) ((uint64_t) stretch >> 32), 0, 0};
  uint32_t bits[4];
  int64_t first = begin(s, stretch);
  zt_philox(s->key, counter, bits);
  return first + (int64_t) zt_below(bits[0], bits[1],
                                    (uint64_t) (begin(s, stretch + 1) - first));
}

int64_t zt_split_sample(const zt_split *s, bool held_out, int64_t i) {
  if (s->held == 0)
    return i;
  if (held_out)
    return held(s, i);
  /* The last stretch with no more than i others before it.  A guess by the
   * shares is off by one at most. */
  int64_t stretch = (int64_t) ((__int128) i * s->held / (s->samples - s->held));
  while (stretch > 0 && begin(s, stretch) - stretch > i)
    stretch--;
  while (stretch + 1 < s->held && begin(s, stretch + 1) - (stretch + 1) <= i)
    stretch++;
  int64_t sample = i + stretch;
  return sample + (sample >= held(s, stretch));
}
