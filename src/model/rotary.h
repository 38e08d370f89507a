/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Rotary position embedding: which angles a model turns by.  All functions are
 *  Local. */
#ifndef ZT_MODEL_ROTARY_H
#define ZT_MODEL_ROTARY_H

#include "base/status.h"

#include <jansson.h>
#include <stdint.h>

typedef enum zt_rotary_kind {
  ZT_ROTARY_NONE,
  ZT_ROTARY_DEFAULT,
  ZT_ROTARY_LINEAR, /* all frequencies / factor */
  ZT_ROTARY_LLAMA3  /* low frequencies / factor, high ones as they are */
} zt_rotary_kind;

typedef struct zt_rotary {
  zt_rotary_kind kind;
  double theta, factor;
  double low, high; /* llama3: low_freq_factor, high_freq_factor */
  double original;  /* llama3: positions of the first training */
} zt_rotary;

/** Read rope_parameters as Transformers 5 writes them, or rope_theta and
 *  rope_scaling as older files have them.
 *  \return ZT_ERR_DATA naming a kind of scaling that is not supported. */
zt_status zt_rotary_read(json_t *config, const char *path, zt_rotary *rotary);

/** Angles for positions 0 .. positions - 1, as zt_rope takes them.
 *  \param[out] table  [positions, head_dim] */
void zt_rotary_fill(const zt_rotary *rotary, int64_t head_dim,
                    int64_t positions, float *table);

#endif
