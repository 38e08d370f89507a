/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  One micro-batch going forward and backward through the stages of a model.
 *
 *  The caller gathers the unit of a stage, calls forward or backward on it, and
 *  reduces the gradient; the pass keeps what has to live in between.  With
 *  recompute, that is the values between stages, and backward runs a stage
 *  forward again first.  All functions are Local. */
#ifndef ZT_MODEL_PASS_H
#define ZT_MODEL_PASS_H

#include "model/cache.h"
#include "model/model.h"
#include "model/tape.h"

/* Values that live between stages. */
enum {
  ZT_SLOT_SOURCE,   /* residual stream of the encoder */
  ZT_SLOT_TARGET,   /* residual stream of the decoder */
  ZT_SLOT_MEMORY,   /* what the encoder made of the source */
  ZT_SLOT_BIAS_IN,  /* position bias of the encoder */
  ZT_SLOT_BIAS_OUT, /* and of the decoder */
  ZT_SLOTS
};

typedef struct zt_pass_shape {
  int64_t samples;
  int64_t source_length; /* 0 without an encoder */
  int64_t target_length;
  zt_dtype dtype;
  bool training;  /* else forward only, and nothing is dropped */
  bool recompute; /* keep only what lies between stages */
  bool documents; /* inputs say where documents begin; without an encoder */
  double dropout; /* rate at every site */
  double label_smoothing, z_loss; /* added to the loss; 0: not */
  /* Generation instead of samples; NULL: none.  Its lengths and slots are
   * the lengths and samples. */
  const zt_cache_shape *cache;
} zt_pass_shape;

/** Arena sizes in bytes; made by planning. */
typedef struct zt_pass_sizes {
  size_t fixed; /* device: inputs, tables, gradients between stages */
  size_t saved; /* device: values until backward */
  size_t work;  /* device: within one stage */
  size_t host;  /* host: headers and records */
} zt_pass_sizes;

/** Inputs of one micro-batch, host memory, row-major. */
typedef struct zt_pass_input {
  const int32_t *source;       /* [samples, source_length] */
  const int32_t *source_valid; /* [samples] tokens before the padding */
  const int32_t *target;       /* [samples, target_length] decoder input */
  const int32_t *labels;       /* [samples, target_length], negative: none */
  /* Several documents in a sample, if the shape says so: [samples,
   * target_length] the first token of the document that a token is in, as an
   * index in the sample.  Attention and positions begin there. */
  const int32_t *first;
  uint64_t seed; /* of the run */
  uint32_t step;
  uint32_t first_sample; /* index in the global batch */
} zt_pass_input;

enum { ZT_MAX_TABLES = 4 };

/** What a family sees while a stage runs. */
typedef struct zt_pass {
  const zt_model *model;
  zt_pass_shape shape;
  zt_tape tape;
  zt_value *slot[ZT_SLOTS]; /* current values; a stage replaces some */
  /* Inputs on the device, as in zt_pass_input. */
  int32_t *source, *source_valid, *target, *labels;
  /* Without an encoder: [samples, target_length] positions of the tokens in
   * their documents, and zt_pass_input.first or NULL. */
  int32_t *position, *first;
  double *loss;               /* [2], device, as zt_loss.sums */
  void *table[ZT_MAX_TABLES]; /* that the family made in prepare(), device */
  zt_cache *cache;            /* generation; NULL: none */
  struct zt_pass_inside *inside;
} zt_pass;

/** A pass on a device.
 *  \param[in] sizes  what planning found; NULL on a device that only counts
 *  \return ZT_ERR_MEMORY. */
zt_status zt_pass_create(const zt_model *model, zt_device *dev,
                         const zt_pass_shape *shape, const zt_pass_sizes *sizes,
                         zt_pass **pass);
/** Sets *pass to NULL; NULL is allowed. */
void zt_pass_destroy(zt_pass **pass);

/** For families: a table that lives as long as the pass.
 *  \param[in] values  host, `bytes` of them */
zt_status zt_pass_add_table(zt_pass *pass, int index, const void *values,
                            size_t bytes);
/** For families: rows of the source or of the target that go through the
 *  stages. */
int64_t zt_pass_rows(const zt_pass *pass, bool source);
/** Device memory for the life of the pass. */
zt_arena *zt_pass_fixed(zt_pass *pass);

/** Whether the next micro-batches are to be learnt from, or go forward alone
 *  with nothing dropped; of a pass that was made for training. */
void zt_pass_train(zt_pass *pass, bool training);
/** A new micro-batch.  `input` is NULL on a device that only counts. */
zt_status zt_pass_begin(zt_pass *pass, const zt_pass_input *input);
/** Stage `s` forward.  Of the last stage, with gradients: the turn, forward and
 *  backward at once; `gradient` then holds the unit's gradient (zeroed by the
 *  caller before).
 *  \param[in]     params    the gathered unit
 *  \param[in,out] gradient  fp32, last stage in training only, else NULL */
zt_status zt_pass_forward(zt_pass *pass, int s, const void *params,
                          float *gradient);
/** Stage `s` backward, from the last but one down to 0; adds to gradient. */
zt_status zt_pass_backward(zt_pass *pass, int s, const void *params,
                           float *gradient);
/** Sum of the token losses of the micro-batch. */
zt_status zt_pass_loss(zt_pass *pass, double *loss);
/** Sum of what label smoothing and z-loss add to them. */
zt_status zt_pass_loss_terms(zt_pass *pass, double *terms);
/** Most memory used since creation. */
zt_pass_sizes zt_pass_peak(const zt_pass *pass);

/** Copy a slot's value to the host as fp32 [rows, cols], for tests. */
zt_status zt_pass_peek(zt_pass *pass, int slot, float *values);

#endif
