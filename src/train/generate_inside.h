/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Inside of generation, for its own files. */
#ifndef ZT_TRAIN_GENERATE_INSIDE_H
#define ZT_TRAIN_GENERATE_INSIDE_H

#include "model/pass.h"
#include "train/generate.h"
#include "train/queue.h"
#include "train/zero3.h"

/* A text under way. */
typedef struct zt_text_slot {
  int64_t prompt; /* -1: free */
  int64_t known;  /* its tokens: the target's, with the prompt or start id */
  int64_t read;   /* of them are in the cache */
  int64_t given;  /* of them were not made here */
  int32_t *ids;   /* [target_length + 1] */
} zt_text_slot;

/* Rows of a step, host. */
typedef struct zt_text_rows {
  int64_t count;
  int32_t *id, *slot, *position;
} zt_text_rows;

typedef struct zt_generator {
  const zt_model *model;
  zt_comm *comm;
  const zt_generate_spec *spec;
  const zt_sequences *prompts;
  zt_zero3 *zero3;
  zt_pass *pass;
  zt_cache_shape shape;
  zt_queue queue;
  zt_text_slot *slots;
  int *visits; /* [stages] */
  zt_text_rows source, target;
  int32_t *source_count;     /* [slots] */
  int32_t *source_slot;      /* [slots] the first of its prompt */
  int32_t *chosen, *chooser; /* [slots] rows that choose, and their slots */
  int32_t *next;             /* [slots] what they chose */
  int64_t choices;
  int64_t *shared; /* [ranks + 1] what ranks tell each other */
  int64_t *taken;  /* [slots] */
  float *logits;   /* [slots, vocabulary] host; NULL: the best ids suffice */
  int32_t *room;   /* [vocabulary] */
  /* What this rank has made: where in `made`, and how much, by prompt. */
  int64_t *at, *lengths;
  int32_t *made;
  size_t made_capacity;
  int64_t made_count, busy, steps;
  int64_t stopped; /* why */
  int64_t beams;   /* slots of a prompt, neighbours */
  int32_t *origin; /* [slots, target_length] with beams, as in zt_cache_step */
  struct zt_beams *beam;
} zt_generator;

/** Whether an id ends a text. */
bool zt_generate_is_stop(const zt_generator *g, int32_t id);
/** Keep what a slot has made, and free it. */
zt_status zt_generate_end(zt_generator *g, zt_text_slot *slot);

/** What beam search needs.  \return ZT_ERR_MEMORY, ZT_ERR_DATA. */
zt_status zt_beams_create(zt_generator *g);
void zt_beams_destroy(struct zt_beams **beams);
/** Next tokens of all prompts that choose, by their logits: the beams that go
 *  on, in their slots, or the end of the prompt. */
zt_status zt_beams_take(zt_generator *g);

#endif
