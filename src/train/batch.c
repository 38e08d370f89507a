/* SPDX-License-Identifier: BSD-3-Clause */
#include "train/batch.h"

#include "base/memory.h"
#include "base/random.h"
#include "train/samples.h"
#include "train/split.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 1 << 16 }; /* running indices in which all have their shares */

/* What random numbers are for; the epochs' orders have their own counters. */
enum { FOR_SPLIT = 1, FOR_ORDER, FOR_MIX };

typedef struct part {
  const zt_tokens *tokens;
  zt_samples *samples;
  zt_split split;
  int64_t count; /* of our side of the split */
  int64_t first; /* of our sides, one after the other */
  int64_t begin; /* of all samples, one after the other */
  uint64_t key;  /* of its epochs' orders */
  int64_t quota; /* of a block */
} part;

struct zt_batch {
  zt_batch_spec spec;
  part *parts;
  int n;
  int64_t samples;
  bool weighted;
  /* Of the block that was looked at last: the file of each running index, and
   * how many of the file are before it. */
  int64_t block; /* -1: none yet */
  uint64_t mix_key;
  uint8_t *file;   /* [BLOCK] */
  uint16_t *order; /* [BLOCK] */
};

static uint64_t derive(uint64_t seed, uint32_t purpose, int number) {
  const uint32_t counter[4] = {(uint32_t) number, purpose, 0x64617461, 0};
  uint32_t bits[4];
  zt_philox(seed, counter, bits);
  return (uint64_t) bits[1] << 32 | bits[0];
}

/* ---- Creation ---- */

/* All must be read alike. */
static zt_status check_alike(const zt_tokens *a, const zt_tokens *b) {
  const zt_tokens_info *x = zt_tokens_about(a), *y = zt_tokens_about(b);
  const char *differs = NULL;
  if (x->pairs != y->pairs || x->masked != y->masked)
    differs = "kind of documents (text, pairs or conversations)";
  else if (strcmp(x->tokenizer, y->tokenizer))
    differs = "tokenizer";
  else if (x->vocabulary != y->vocabulary)
    differs = "vocabulary";
  else if (x->eos != y->eos || x->sentinel != y->sentinel)
    differs = x->eos != y->eos ? "end id" : "first sentinel";
  if (!differs)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA, "%.80s: another %s than %.60s has",
                 zt_tokens_path(b), differs, zt_tokens_path(a));
}

static zt_status create_part(zt_batch *b, int i, const zt_tokens *tokens) {
  const zt_batch_spec *spec = &b->spec;
  part *p = &b->parts[i];
  p->tokens = tokens;
  p->key = derive(spec->seed, FOR_ORDER, i);
  if (i > 0)
    ZT_TRY(check_alike(b->parts[0].tokens, tokens));
  ZT_TRY(zt_samples_create(spec, tokens, &p->samples));
  int64_t all = zt_samples_count(p->samples);
  p->split =
      zt_split_of(all, spec->hold_out, derive(spec->split_seed, FOR_SPLIT, i));
  p->count = zt_split_count(&p->split, spec->held_out);
  if (p->count < 1)
    return zt_fail(ZT_ERR_DATA,
                   "%.100s: all of its %" PRId64 " samples are held out; a "
                   "smaller data.valid_fraction or more text",
                   zt_tokens_path(tokens), all);
  p->first = b->samples;
  p->begin = i > 0 ? p[-1].begin + p[-1].split.samples : 0;
  b->samples += p->count;
  return ZT_OK;
}

/* Shares of a block in whole numbers, none of them 0; the largest takes what
 * rounding leaves. */
static zt_status share_out(zt_batch *b, const double *weights) {
  double total = 0;
  int64_t left = BLOCK;
  int largest = 0;
  for (int i = 0; i < b->n; i++) {
    total += weights[i];
    largest = weights[i] > weights[largest] ? i : largest;
  }
  for (int i = 0; i < b->n; i++) {
    int64_t quota = (int64_t) (weights[i] / total * BLOCK + 0.5);
    b->parts[i].quota = quota > 0 ? quota : 1;
    left -= b->parts[i].quota;
  }
  b->parts[largest].quota += left;
  b->mix_key = derive(b->spec.seed, FOR_MIX, 0);
  b->file = zt_calloc(BLOCK, sizeof *b->file);
  b->order = zt_calloc(BLOCK, sizeof *b->order);
  return b->file && b->order ? ZT_OK : ZT_ERR_MEMORY;
}

static zt_status create(zt_batch *b, zt_tokens *const *tokens,
                        const double *weights) {
  b->parts = zt_calloc((size_t) b->n, sizeof *b->parts);
  if (!b->parts)
    return ZT_ERR_MEMORY;
  for (int i = 0; i < b->n; i++)
    ZT_TRY(create_part(b, i, tokens[i]));
  return b->weighted ? share_out(b, weights) : ZT_OK;
}

zt_status zt_batch_create(const zt_batch_spec *spec, zt_tokens *const *tokens,
                          const double *weights, int n, zt_batch **batch) {
  *batch = NULL;
  zt_batch *b = zt_calloc(1, sizeof *b);
  if (!b)
    return ZT_ERR_MEMORY;
  b->spec = *spec;
  b->n = n;
  b->weighted = weights && spec->shuffled;
  b->block = -1;
  zt_status status = create(b, tokens, weights);
  if (status != ZT_OK)
    zt_batch_destroy(&b);
  *batch = b;
  return status;
}

void zt_batch_destroy(zt_batch **batch) {
  zt_batch *b = *batch;
  *batch = NULL;
  if (!b)
    return;
  for (int i = 0; b->parts && i < b->n; i++)
    zt_samples_destroy(&b->parts[i].samples);
  free(b->parts);
  free(b->file);
  free(b->order);
  free(b);
}

/* ---- Which sample ---- */

int64_t zt_batch_samples(const zt_batch *batch) {
  return batch->samples;
}

int zt_batch_files(const zt_batch *batch) {
  return batch->n;
}

zt_batch_share zt_batch_share_of(const zt_batch *b, int file) {
  const part *p = &b->parts[file];
  return (zt_batch_share){.path = zt_tokens_path(p->tokens),
                          .samples = p->count,
                          .share = b->weighted ? (double) p->quota / BLOCK
                                               : (double) p->count /
                                                     (double) b->samples};
}

/* A sample of a file. */
typedef struct chosen {
  part *from;
  int64_t sample;
} chosen;

static void lay_out_block(zt_batch *b, int64_t block) {
  int64_t seen[UINT8_MAX + 1] = {0};
  for (int64_t i = 0; i < BLOCK; i++) {
    int64_t at =
        (int64_t) zt_permute(b->mix_key, (uint64_t) block, BLOCK, (uint64_t) i);
    int file = 0;
    for (; at >= b->parts[file].quota; file++)
      at -= b->parts[file].quota;
    b->file[i] = (uint8_t) file;
    b->order[i] = (uint16_t) seen[file]++;
  }
  b->block = block;
}

int64_t zt_batch_places(zt_batch *b, int64_t steps, int file) {
  int64_t g = steps * b->spec.batch, places;
  if (!b->weighted)
    return -1;
  if (b->block != g / BLOCK)
    lay_out_block(b, g / BLOCK);
  places = b->block * b->parts[file].quota;
  for (int64_t i = 0; i < g % BLOCK; i++)
    places += b->file[i] == file;
  return places;
}

static chosen choose_by_weight(zt_batch *b, int64_t g) {
  if (b->block != g / BLOCK)
    lay_out_block(b, g / BLOCK);
  part *p = &b->parts[b->file[g % BLOCK]];
  int64_t k = b->block * p->quota + b->order[g % BLOCK];
  return (chosen){p, (int64_t) zt_permute(p->key, (uint64_t) (k / p->count),
                                          (uint64_t) p->count,
                                          (uint64_t) (k % p->count))};
}

static chosen choose(zt_batch *b, int64_t step, int64_t place) {
  int64_t g = (step - 1) * b->spec.batch + place, n = b->samples, at = g % n;
  chosen c;
  if (b->weighted) {
    c = choose_by_weight(b, g);
  } else {
    if (b->spec.shuffled)
      at = (int64_t) zt_permute(b->spec.seed, (uint64_t) (g / n), (uint64_t) n,
                                (uint64_t) at);
    int file = b->n - 1;
    while (at < b->parts[file].first)
      file--;
    c = (chosen){&b->parts[file], at - b->parts[file].first};
  }
  c.sample = zt_split_sample(&c.from->split, b->spec.held_out, c.sample);
  return c;
}

int64_t zt_batch_sample(zt_batch *b, int64_t step, int64_t place) {
  chosen c = choose(b, step, place);
  return c.from->begin + c.sample;
}

/* ---- Filling ---- */

zt_status zt_batch_fill(zt_batch *b, int64_t step, int64_t first,
                        int64_t samples, zt_micro_batch *micro) {
  const zt_batch_spec *spec = &b->spec;
  micro->tokens = micro->targets = 0;
  for (int64_t i = 0; i < samples; i++) {
    int64_t at = i * spec->target_length;
    chosen c = choose(b, step, first + i);
    zt_span_draw draw = {.seed = spec->seed,
                         .step = (uint32_t) step,
                         .sample = (uint32_t) (first + i)};
    zt_sample_row r = {.source = micro->source + i * spec->source_length,
                       .target = micro->target + at,
                       .labels = micro->labels + at,
                       .first = micro->first ? micro->first + at : NULL};
    ZT_TRY(zt_samples_read(c.from->samples, c.sample, &draw, &r));
    micro->source_valid[i] = (int32_t) r.sources;
    micro->tokens += r.tokens;
    micro->targets += r.targets;
  }
  return ZT_OK;
}
