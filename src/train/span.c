/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/span.h"

#include "base/random.h"

#include <math.h>
#include <string.h>

/* Word 1 of the counter; dropout sites are small numbers. */
enum { SITE_SPAN = 0x5350414E };

zt_span_lengths zt_span_measure(int64_t raw) {
  zt_span_lengths l = {.source = raw + 1, .target = 1};
  if (raw < 2)
    return l;
  /* Python's round() and NumPy's are ties to even, as rint() is. */
  l.noise = (int64_t) rint((double) raw * 0.15);
  if (l.noise < 1)
    l.noise = 1;
  l.spans = (int64_t) rint((double) l.noise / 3.0);
  if (l.spans < 1)
    l.spans = 1;
  l.source = raw - l.noise + l.spans + 1;
  l.target = l.noise + l.spans + 1;
  return l;
}

int64_t zt_span_raw_length(int64_t source_length) {
  /* The source grows by 0 or 1 a token, and is never longer than the text by
   * more than its sentinel and end id. */
  int64_t low = 2, high = 2 * source_length;
  while (low < high) {
    int64_t middle = low + (high - low + 1) / 2;
    if (zt_span_measure(middle).source <= source_length)
      low = middle;
    else
      high = middle - 1;
  }
  return low;
}

/* Draw `index` of a sample, uniform in [0, n): two words of a Philox block. */
static int64_t draw_below(const zt_span_draw *draw, int64_t index, int64_t n) {
  uint32_t counter[4] = {(uint32_t) (index / 2), SITE_SPAN, draw->sample,
                         draw->step};
  uint32_t r[4];
  zt_philox(draw->seed, counter, r);
  int half = (int) (index % 2) * 2;
  return (int64_t) zt_below(r[half], r[half + 1], (uint64_t) n);
}

/* Cut `items` into `segments` non-empty parts, every way equally likely: choose
 * segments - 1 of the items - 1 places by Knuth's selection sampling, which
 * meets them in order.  Writes to every second element of lengths.  Returns the
 * index of the next unused draw. */
static int64_t segment(const zt_span_draw *draw, int64_t index, int64_t items,
                       int64_t segments, int32_t *lengths) {
  int64_t open = segments - 1, begin = 0;
  for (int64_t place = 1; place < items; place++, index++)
    if (draw_below(draw, index, items - place) < open) {
      *lengths = (int32_t) (place - begin);
      lengths += 2;
      begin = place;
      open--;
    }
  *lengths = (int32_t) (items - begin);
  return index;
}

static int32_t *append(int32_t *to, const int32_t *from, int64_t n) {
  memcpy(to, from, (size_t) n * sizeof *to);
  return to + n;
}

void zt_span_corrupt(const zt_span_draw *draw, const int32_t *raw, int64_t n,
                     int32_t sentinel, int32_t eos, int32_t *lengths,
                     int32_t *source, int32_t *target) {
  zt_span_lengths l = zt_span_measure(n);
  if (l.spans == 0) {
    source = append(source, raw, n);
  } else {
    int64_t used = segment(draw, 0, l.noise, l.spans, lengths + 1);
    segment(draw, used, n - l.noise, l.spans, lengths);
  }
  for (int64_t k = 0; k < l.spans; k++) {
    int32_t mark = sentinel - (int32_t) k;
    source = append(source, raw, lengths[2 * k]);
    raw += lengths[2 * k];
    *source++ = mark;
    *target++ = mark;
    target = append(target, raw, lengths[2 * k + 1]);
    raw += lengths[2 * k + 1];
  }
  *source = eos;
  *target = eos;
}
