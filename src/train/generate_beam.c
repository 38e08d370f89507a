/* SPDX-License-Identifier: BSD-3-Clause */
/* Beam search as Transformers 5 does it: of the best continuations of all beams
 * those that end are kept aside, the others go on.  No key or value is moved:
 * a beam that goes on from another reads its tokens where that one has them.
 * Scores are fp32, as the reference's. */
#include "base/memory.h"
#include "train/generate_inside.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct candidate {
  float score;
  int32_t beam, id;
} candidate;

/* A text that has ended. */
typedef struct ended {
  float score; /* with the length penalty */
  int64_t n;
  int32_t *ids; /* [max_new_tokens] */
} ended;

typedef struct zt_beams {
  float *score;           /* [slots] sums of log probabilities */
  ended *ended;           /* [slots] the best of each prompt, best first */
  int64_t *ends;          /* [slots / beams] how many there are */
  candidate *best, *next; /* [most], [beams] */
  int64_t most, count;
  int32_t *ids, *origin; /* [beams, target_length + 1] what parents have */
  int64_t n_ended;       /* texts that were made */
} zt_beams;

/* ---- Creation ---- */

static zt_status make_ended(zt_generator *g, zt_beams *b) {
  for (int64_t i = 0; i < g->shape.slots; i++) {
    size_t n = (size_t) g->spec->max_new_tokens;
    if (!(b->ended[i].ids = zt_calloc(n, sizeof *b->ended[i].ids)))
      return ZT_ERR_MEMORY;
    b->n_ended++;
  }
  return ZT_OK;
}

zt_status zt_beams_create(zt_generator *g) {
  const size_t slots = (size_t) g->shape.slots, beams = (size_t) g->beams;
  const size_t length = (size_t) g->shape.target_length + 1;
  const int64_t stops = g->model->shape.n_stop_ids + g->spec->n_stop_ids;
  zt_beams *b = zt_calloc(1, sizeof *b);
  if (!(g->beam = b))
    return ZT_ERR_MEMORY;
  /* So many that as many as there are beams do not end. */
  b->most = (stops > 0 ? 1 + stops : 2) * g->beams;
  if (b->most > g->model->shape.vocabulary)
    return zt_fail(ZT_ERR_DATA,
                   "%" PRId64 " beams are too many for a vocabulary of "
                   "%" PRId64 " tokens",
                   g->beams, g->model->shape.vocabulary);
  b->score = zt_calloc(slots, sizeof *b->score);
  b->ended = zt_calloc(slots, sizeof *b->ended);
  b->ends = zt_calloc(slots, sizeof *b->ends);
  b->best = zt_calloc((size_t) b->most, sizeof *b->best);
  b->next = zt_calloc(beams, sizeof *b->next);
  b->ids = zt_calloc(beams * length, sizeof *b->ids);
  b->origin = zt_calloc(beams * length, sizeof *b->origin);
  g->origin = zt_calloc(slots * length, sizeof *g->origin);
  return b->score && b->ended && b->ends && b->best && b->next && b->ids &&
                 b->origin && g->origin
             ? make_ended(g, b)
             : ZT_ERR_MEMORY;
}

void zt_beams_destroy(zt_beams **beams) {
  zt_beams *b = *beams;
  if (!b)
    return;
  for (int64_t i = 0; i < b->n_ended; i++)
    free(b->ended[i].ids);
  free(b->score);
  free(b->ended);
  free(b->ends);
  free(b->best);
  free(b->next);
  free(b->ids);
  free(b->origin);
  free(b);
  *beams = NULL;
}

/* ---- Candidates ---- */

static void offer(zt_beams *b, candidate c) {
  int64_t at = b->count;
  if (at == b->most && !(c.score > b->best[at - 1].score))
    return;
  if (at == b->most)
    at--;
  else
    b->count++;
  for (; at > 0 && c.score > b->best[at - 1].score; at--)
    b->best[at] = b->best[at - 1];
  b->best[at] = c;
}

/* All continuations of a beam; `ending` says whether it may end yet. */
static void offer_all(const zt_generator *g, const float *logits, float score,
                      int32_t beam, bool ending) {
  const int64_t n = g->model->shape.vocabulary;
  double largest = -INFINITY, sum = 0;
  for (int64_t i = 0; i < n; i++)
    largest = logits[i] > largest ? logits[i] : largest;
  for (int64_t i = 0; i < n; i++)
    sum += exp(logits[i] - largest);
  const double shift = largest + log(sum);
  for (int32_t id = 0; id < n; id++)
    if (ending || !zt_generate_is_stop(g, id))
      offer(g->beam,
            (candidate){(float) (logits[id] - shift) + score, beam, id});
}

/* ---- Texts ---- */

static float penalty(const zt_generator *g, int64_t n) {
  return (float) pow((double) n, g->spec->length_penalty);
}

/* A continuation that ends a text, if it is one of the best. */
static void keep_ended(zt_generator *g, int64_t first, candidate c, int64_t n) {
  zt_beams *b = g->beam;
  ended *list = b->ended + first;
  int64_t *count = &b->ends[first / g->beams], at = *count;
  const zt_text_slot *from = &g->slots[first + c.beam];
  float score = c.score / penalty(g, n);
  if (at == g->beams && !(score > list[at - 1].score))
    return;
  if (at == g->beams)
    at--;
  else
    ++*count;
  ended e = list[at];
  for (; at > 0 && score > list[at - 1].score; at--)
    list[at] = list[at - 1];
  memcpy(e.ids, from->ids + from->given, (size_t) (n - 1) * sizeof *e.ids);
  e.ids[n - 1] = c.id;
  e.score = score;
  e.n = n;
  list[at] = e;
}

/* The beams go on with `next`: first take from all parents, then write. */
static void go_on(zt_generator *g, int64_t first) {
  zt_beams *b = g->beam;
  const zt_text_slot parent = g->slots[first]; /* alike but for the ids */
  const size_t known = (size_t) parent.known;
  const int64_t length = g->shape.target_length;
  for (int64_t i = 0; i < g->beams; i++) {
    int64_t from = first + b->next[i].beam;
    memcpy(b->ids + i * length, g->slots[from].ids, known * sizeof *b->ids);
    memcpy(b->origin + i * length, g->origin + from * length,
           known * sizeof *b->origin);
  }
  for (int64_t i = 0; i < g->beams; i++) {
    zt_text_slot *s = &g->slots[first + i];
    int32_t *ids = s->ids;
    *s = parent;
    s->ids = ids;
    memcpy(ids, b->ids + i * length, known * sizeof *ids);
    memcpy(g->origin + (first + i) * length, b->origin + i * length,
           known * sizeof *b->origin);
    ids[s->known++] = b->next[i].id;
    b->score[first + i] = b->next[i].score;
  }
}

static zt_status end_prompt(zt_generator *g, int64_t first) {
  zt_text_slot *s = &g->slots[first];
  const ended *best = &g->beam->ended[first];
  memcpy(s->ids + s->given, best->ids, (size_t) best->n * sizeof *s->ids);
  s->known = s->given + best->n;
  g->beam->ends[first / g->beams] = 0;
  for (int64_t i = 1; i < g->beams; i++)
    g->slots[first + i].prompt = -1;
  return zt_generate_end(g, s);
}

/* The prompt in the slots from `first` on; its beams are choices `at` ... */
static zt_status take_prompt(zt_generator *g, int64_t first, int64_t at,
                             int64_t active) {
  zt_beams *b = g->beam;
  const int64_t n = g->slots[first].known - g->slots[first].given + 1;
  const bool last = n == g->spec->max_new_tokens;
  int64_t going = 0;
  b->count = 0;
  if (n == 1)
    b->score[first] = 0;
  for (int64_t i = 0; i < active; i++)
    offer_all(g, g->logits + (at + i) * g->model->shape.vocabulary,
              b->score[first + i], (int32_t) i, n >= g->spec->min_new_tokens);
  for (int64_t i = 0; i < b->count; i++) {
    bool end = last || zt_generate_is_stop(g, b->best[i].id);
    if (end && i < g->beams)
      keep_ended(g, first, b->best[i], n);
    if (!end && going < g->beams)
      b->next[going++] = b->best[i];
  }
  const int64_t ends = b->ends[first / g->beams];
  bool better = going == g->beams &&
                (ends < g->beams || b->next[0].score / penalty(g, n) >
                                        b->ended[first + ends - 1].score);
  if (last || !better)
    return end_prompt(g, first);
  go_on(g, first);
  return ZT_OK;
}

zt_status zt_beams_take(zt_generator *g) {
  for (int64_t at = 0, n; at < g->choices; at += n) {
    int64_t first = g->source_slot[g->chooser[at]];
    for (n = 1; at + n < g->choices && g->chooser[at + n] < first + g->beams;)
      n++;
    ZT_TRY(take_prompt(g, first, at, n));
  }
  return ZT_OK;
}
