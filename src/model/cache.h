/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Generation: what a pass keeps of the tokens it has seen, and how rows of
 *  many texts go through the stages together.
 *
 *  A cache has slots; a slot holds the keys and values of one text for every
 *  layer, and those of its source.  A step is a list of tokens, each with the
 *  slot and the position it has there: prompts and single new tokens side by
 *  side.  Every row is computed by itself, so a text has the same bits in any
 *  slot and in any company.  All functions are Local. */
#ifndef ZT_MODEL_CACHE_H
#define ZT_MODEL_CACHE_H

#include "model/ops.h"

struct zt_pass;

/** Sizes of a cache: all that memory depends on. */
typedef struct zt_cache_shape {
  int64_t slots;
  int64_t source_length; /* most tokens of a slot; 0 without an encoder */
  int64_t target_length;
  int64_t source_rows; /* most tokens of a step */
  int64_t target_rows;
  bool shared; /* texts go on from one another: steps give `origin` */
} zt_cache_shape;

/** Tokens of a step, host. */
typedef struct zt_cache_rows {
  int64_t count;
  const int32_t *id, *slot, *position; /* [count] */
} zt_cache_rows;

typedef struct zt_cache_step {
  zt_cache_rows source; /* whole sources, the tokens of each in order */
  zt_cache_rows target; /* positions of a slot come in order, none missing */
  const int32_t *source_count; /* [slots] tokens of the source in a slot */
  const int32_t *source_slot;  /* [slots] where a slot's source is */
  /* Shared: [slots, target_length] the slot whose token a text has at each
   * position. */
  const int32_t *origin;
  const int32_t *chosen; /* [choices] rows of the target that choose a token */
  int64_t choices;       /* at most `slots` */
} zt_cache_step;

/** Which keys an attention is about. */
typedef enum zt_attend_kind {
  ZT_ATTEND_SOURCE, /* rows of the source with each other */
  ZT_ATTEND_TARGET, /* of the target with those before them */
  ZT_ATTEND_CROSS   /* of the target with the source */
} zt_attend_kind;

enum { ZT_ATTEND_KINDS = 3 };

/** In device memory; for families. */
typedef struct zt_cache {
  zt_cache_shape shape;
  int64_t source_count, target_count, choices; /* of this step */
  int32_t *source, *target;                    /* ids */
  int32_t *position[ZT_ATTEND_KINDS];          /* of the query rows, by kind */
  int32_t *base[ZT_ATTEND_KINDS], *keys[ZT_ATTEND_KINDS];
  int32_t *place[ZT_ATTEND_KINDS]; /* of new keys; not of ZT_ATTEND_SOURCE */
  int32_t *origin;                 /* row of each position of a slot */
  int32_t *chosen, *next;          /* [choices] rows; best ids */
  float *logits;                   /* [slots, vocabulary] */
  /* [layers] keys and, behind them, values: [slots * length, 2 * width] */
  zt_value *kept[ZT_ATTEND_KINDS];
  struct zt_cache_inside *inside;
} zt_cache;

/** Memory from the pass's fixed arena.
 *  \return ZT_ERR_MEMORY. */
zt_status zt_cache_create(struct zt_pass *pass, const zt_cache_shape *shape,
                          zt_cache **cache);
/** Sets *cache to NULL; NULL is allowed. */
void zt_cache_destroy(zt_cache **cache);

/** Begin a step of generation in place of zt_pass_begin().  On a device that
 *  only counts, the step may lack all but the counts. */
zt_status zt_pass_begin_step(struct zt_pass *pass, const zt_cache_step *step);

/** Attention of a family: zt_op_attention() or, in generation, attention with
 *  what the cache has.
 *  \param[in] attend  cross: k and v are NULL in a step without sources */
zt_status zt_cache_attend(struct zt_pass *pass, zt_attend_kind kind, int layer,
                          const zt_attend *attend, zt_value **y);
/** Logits, and the best id, for the rows that choose: the last stage. */
zt_status zt_cache_head(struct zt_pass *pass, const zt_value *h, zt_weight w,
                        double scale);

/** The best id of each row that chooses, the first of equals.
 *  \param[out] next  [choices], host */
zt_status zt_cache_best(struct zt_pass *pass, int32_t *next);
/** Their logits.
 *  \param[out] logits  [choices, vocabulary], host */
zt_status zt_cache_logits(struct zt_pass *pass, float *logits);

#endif
