/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/sample.h"

#include "base/random.h"

#include <math.h>
#include <stdbool.h>

/* ---- The best ids, one after the other: a heap ---- */

static bool before(const float *logits, int32_t a, int32_t b) {
  return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
}

static void sink(const float *logits, int32_t *heap, int64_t n, int64_t at) {
  int32_t id = heap[at];
  for (int64_t child; (child = 2 * at + 1) < n; at = child) {
    if (child + 1 < n && before(logits, heap[child + 1], heap[child]))
      child++;
    if (!before(logits, heap[child], id))
      break;
    heap[at] = heap[child];
  }
  heap[at] = id;
}

/* Takes the best of n ids out, to the place behind the others. */
static int32_t pop(const float *logits, int32_t *heap, int64_t n) {
  int32_t best = heap[0];
  heap[0] = heap[n - 1];
  heap[n - 1] = best;
  if (n > 1)
    sink(logits, heap, n - 1, 0);
  return best;
}

/* ---- Choosing ---- */

static int32_t best_of(const float *logits, int64_t n) {
  int32_t best = 0;
  for (int32_t i = 1; i < n; i++)
    if (before(logits, i, best))
      best = i;
  return best;
}

/* Of a draw in [0, 1). */
static double draw(uint64_t seed, int64_t prompt, int64_t token) {
  const uint32_t counter[4] = {(uint32_t) token, (uint32_t) prompt,
                               (uint32_t) ((uint64_t) prompt >> 32), 0};
  uint32_t bits[4];
  zt_philox(seed, counter, bits);
  return (double) (((uint64_t) bits[1] << 32 | bits[0]) >> 11) * 0x1p-53;
}

/* How many ids stay; they are the last of the heap, the best behind all. */
static int64_t cut(const zt_sampling *s, const float *logits, int32_t *heap,
                   int64_t n, double scale) {
  int64_t most = s->top_k > 0 && s->top_k < n ? s->top_k : n, kept = 0;
  double largest = logits[best_of(logits, n)], total = 0, sum = 0;
  for (int64_t i = 0; i < n; i++)
    heap[i] = (int32_t) i;
  for (int64_t i = n / 2 - 1; i >= 0; i--)
    sink(logits, heap, n, i);
  for (; most < n && kept < most; kept++)
    total += exp((logits[pop(logits, heap, n - kept)] - largest) * scale);
  if (s->top_p >= 1)
    return most;
  if (most < n) {
    for (kept = 0; kept < most && (kept == 0 || sum < s->top_p * total); kept++)
      sum += exp((logits[heap[n - 1 - kept]] - largest) * scale);
    return kept;
  }
  for (int64_t i = 0; i < n; i++)
    total += exp((logits[i] - largest) * scale);
  for (; kept < n && (kept == 0 || sum < s->top_p * total); kept++)
    sum += exp((logits[pop(logits, heap, n - kept)] - largest) * scale);
  return kept;
}

int32_t zt_sample(const zt_sampling *s, float *logits, int64_t n, int32_t *room,
                  int64_t prompt, int64_t token) {
  int32_t best = best_of(logits, n);
  if (s->temperature <= 0)
    return best;
  const double scale = 1 / s->temperature, largest = logits[best];
  bool cuts = s->top_p < 1 || (s->top_k > 0 && s->top_k < n);
  int64_t kept = cuts ? cut(s, logits, room, n, scale) : n;
  double total = 0, sum = 0;
  for (int64_t i = 0; i < kept; i++)
    total += exp((logits[cuts ? room[n - 1 - i] : i] - largest) * scale);
  double wanted = draw(s->seed, prompt, token) * total;
  for (int64_t i = 0; i < kept; i++) {
    int32_t id = cuts ? room[n - 1 - i] : (int32_t) i;
    sum += exp((logits[id] - largest) * scale);
    if (sum > wanted)
      return id;
  }
  return best; /* rounding, or no number among them */
}
