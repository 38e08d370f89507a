/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The tape: values, and the records that lead their gradients back.
 *
 *  A differentiable operation (model/ops.h) runs forward on the device and
 *  pushes one record; backward pops them, last in, first out.  Parameter
 *  gradients add into the gradient of the unit that is gathered.  All functions
 *  are Local. */
#ifndef ZT_MODEL_TAPE_H
#define ZT_MODEL_TAPE_H

#include "base/arena.h"
#include "base/status.h"
#include "device/device.h"

#include <stdbool.h>
#include <stdint.h>

/** A matrix of activations, and where its gradient goes. */
typedef struct zt_value {
  void *data; /* [rows, cols], row-major without gaps */
  void *grad; /* the same shape; NULL: nothing has flowed back yet */
  void *home; /* where the gradient has to be; NULL: anywhere in `work` */
  int64_t rows, cols;
  zt_dtype dtype; /* of data and grad */
} zt_value;

/** A parameter, or several neighbours that act as one matrix, in the unit that
 *  is gathered; for a linear map, with its bias. */
typedef struct zt_weight {
  int64_t at; /* first element in the unit */
  int64_t rows, cols;
  int64_t vector; /* a vector: its place among those of the model */
  bool in_out;    /* stored [in, out], as Conv1D of GPT-2; else [out, in] */
  bool biased;    /* a linear map with a bias, [out] */
  int64_t bias;   /* first element of it in the unit */
} zt_weight;

struct zt_record;

typedef struct zt_tape {
  zt_device *dev;
  zt_dtype dtype; /* of activations and gathered parameters */
  zt_arena *keep; /* device: values */
  zt_arena *work; /* device: gradients, temporaries; may be `keep` */
  zt_arena *host; /* host: value headers and records */
  struct zt_record *last;
  bool recording;
  bool rows_alone;      /* no row's bits depend on the others: generation */
  const void *params;   /* the gathered unit, dtype */
  const float *vectors; /* all vectors of the model; NULL: as in params, fp32 */
  float *grads;         /* its gradient; NULL unless backward may run */
  zt_dropout dropout;   /* what all sites share; rate 0 outside training */
} zt_tape;

typedef zt_status (*zt_backward)(zt_tape *tape, const void *payload);

/** A new value with memory from `keep`. */
zt_status zt_tape_value(zt_tape *tape, int64_t rows, int64_t cols,
                        zt_dtype dtype, zt_value **value);
/** Memory until the caller's mark is released. */
zt_status zt_tape_push(zt_arena *arena, size_t bytes, void *p);

/** Push a record; nothing happens unless the tape is recording.
 *  \param[in] payload  copied, size bytes */
zt_status zt_tape_record(zt_tape *tape, zt_backward backward,
                         const void *payload, size_t size);
/** Pop the records above `mark` (a former tape->last) and run them. */
zt_status zt_tape_backward(zt_tape *tape, const struct zt_record *mark);

/** A scope gives back, in backward, the gradients of the values made inside
 *  it.  The last value of a scope must have got its gradient from outside. */
zt_status zt_tape_scope_begin(zt_tape *tape);
zt_status zt_tape_scope_end(zt_tape *tape);

/** Where to put the gradient of a value.
 *  \param[out] fresh  true: write it; false: add to what is there */
zt_status zt_tape_grad(zt_tape *tape, zt_value *value, void **grad,
                       bool *fresh);
/** Hand over a finished gradient, which nobody else will change: it becomes
 *  the value's own, is copied home, or is added to what is there. */
zt_status zt_tape_give_grad(zt_tape *tape, zt_value *value, void *grad);

/** Pointers into the gathered unit, to a vector in fp32, into the gradient. */
const void *zt_tape_param(const zt_tape *tape, zt_weight weight);
const float *zt_tape_vector(const zt_tape *tape, zt_weight weight);
float *zt_tape_param_grad(const zt_tape *tape, zt_weight weight);
/** Dropout at one site of the model. */
zt_dropout zt_tape_dropout(const zt_tape *tape, uint32_t site,
                           int64_t rows_per_sample);
/** Bytes of a value's data. */
size_t zt_value_bytes(const zt_value *value);
/** A value as an operand, with its own data or other of its shape. */
zt_matrix zt_value_matrix(const zt_value *value, void *data);

#endif
