/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What a model is before any memory is spent on it: its configuration, its
 *  parameters, and the stages that a forward pass consists of. */
#ifndef ZT_MODEL_MODEL_H
#define ZT_MODEL_MODEL_H

#include "base/status.h"
#include "device/device.h"
#include "layout/params.h"
#include "model/rotary.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct zt_model zt_model;
struct zt_pass;

/** One step of the forward pass: needs one unit gathered, reads and replaces
 *  values of the pass.  A unit may serve several stages. */
typedef struct zt_stage {
  int unit;
  bool source; /* works on the source alone: once a sequence is enough */
  /* What it is, in the family's terms. */
  int kind, stack, layer;
} zt_stage;

/** What a model family is: one table entry, one file. */
typedef struct zt_family {
  const char *name;
  const char *const *model_types; /* config.json "model_type", NULL-ended */
  const char *embedding;          /* canonical name of the input embedding */
  const char *const *embedding_aliases; /* in order of preference, NULL-ended */
  const char *head; /* name of the output matrix when it is not tied */
  /* Whether a configuration that says nothing means a tied head, and whether
   * one that says no may still come without a matrix for it. */
  bool tied_by_default, tied_by_absence;
  /* Tensors of old files that are no parameters, as suffixes, NULL-ended. */
  const char *const *ignored;
  bool encoder; /* has a source beside the target */
  /** Read the configuration into model->shape and so on. */
  zt_status (*configure)(zt_model *model, json_t *config, const char *path);
  /** Fill model->params and model->stages. */
  zt_status (*build)(zt_model *model);
  /** Make the tables that stages need; NULL: none. */
  zt_status (*prepare)(struct zt_pass *pass);
  /** Queue one stage on the pass's tape. */
  zt_status (*forward)(struct zt_pass *pass, const zt_stage *stage);
} zt_family;

enum { ZT_MAX_STOP_IDS = 8 };

/** Sizes and choices that families share; the names are Hugging Face's. */
typedef struct zt_model_shape {
  int64_t vocabulary, d_model, d_ff, heads, kv_heads, head_dim;
  int64_t encoder_layers, layers; /* layers: of the decoder */
  int64_t buckets, max_distance;  /* T5's relative bias */
  double norm_eps, dropout, init_factor;
  zt_activation_kind activation;
  bool gated;
  bool tied;         /* head = input embedding; from the tensors */
  bool scale_logits; /* decoder output times d_model^-0.5 */
  int64_t pad_id, eos_id, start_id;  /* -1: none */
  int32_t stop_ids[ZT_MAX_STOP_IDS]; /* that end a text; eos_id is the first */
  int n_stop_ids;
  /* Families without an encoder. */
  zt_norm_kind norm;
  bool in_out;   /* matrices are stored [in, out] */
  int qkv_parts; /* matrices of queries, keys and values: 3, or 1 for all */
  bool qkv_bias, out_bias, ff_bias; /* which linear maps have a bias */
  bool drop_all;            /* dropout everywhere, not in attention alone */
  bool scale_by_layer;      /* attention of layer n is divided by n + 1 */
  double attention_scale;   /* of the products of queries and keys */
  int64_t positions;        /* rows of a learned table, 0: there is none */
  zt_rotary rotary;         /* or angles */
  int64_t window;           /* keys that a query sees, 0: all before it */
  int64_t window_from;      /* first layer with the window */
  int32_t embedding_frozen; /* id whose input embedding learns nothing, -1 */
} zt_model_shape;

struct zt_model {
  const zt_family *family;
  char model_type[32];
  bool byte_tokenizer; /* config.json names ByT5Tokenizer */
  zt_model_shape shape;
  zt_params params;
  zt_stage *stages; /* forward order; the last one is the loss */
  int n_stages;
  int64_t unit_limit; /* elements, 0: whole units */
};

/** Family of a config.json.  Local.
 *  \return ZT_ERR_DATA naming an unknown model_type. */
zt_status zt_family_find(json_t *config, const char *path,
                         const zt_family **family);

/** A model from the bytes of its config.json.
 *  Local.
 *  \param[in]  path        for messages
 *  \param[in]  tied        whether the head is the input embedding; decided
 *                          from the tensors, never from the configuration
 *  \param[in]  unit_limit  most elements of a unit, 0: no limit
 *  \return ZT_ERR_DATA for a configuration we cannot honour, ZT_ERR_CONFIG if
 *          unit_limit is too small, ZT_ERR_MEMORY. */
zt_status zt_model_create(const char *config, size_t size, const char *path,
                          bool tied, int64_t unit_limit, zt_model **model);
/** Whether config.json alone asks for a tied head: for `init`, and where there
 *  are no tensors to ask.  Local.
 *  \return ZT_ERR_DATA, also for an unknown model_type. */
zt_status zt_config_tied(json_t *config, const char *path, bool *tied);
/** Sets *model to NULL; NULL is allowed. */
void zt_model_destroy(zt_model **model);

/** For families: append a stage. */
zt_status zt_model_add_stage(zt_model *model, zt_stage stage);

extern const zt_family zt_family_t5, zt_family_llama, zt_family_gpt2;

#endif
