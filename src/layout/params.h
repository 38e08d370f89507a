/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The parameters of a model, their canonical order, and the units they are
 *  gathered in.
 *
 *  A unit's parameters in canonical order, without gaps, form one flat vector;
 *  the units' vectors one after the other form the global flat space that
 *  restart files are addressed in.  Order and units depend on the model and on
 *  zero.unit_limit alone, never on ranks or memory. */
#ifndef ZT_LAYOUT_PARAMS_H
#define ZT_LAYOUT_PARAMS_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ZT_MAX_DIMS = 4 };

/** How `ztconv init` fills a parameter: N(0, std^2), or `value` if std is 0. */
typedef struct zt_init {
  double std, value;
} zt_init;

typedef struct zt_param {
  char *name; /* Hugging Face name, the only one used in files; owned */
  int ndim;
  int64_t dims[ZT_MAX_DIMS]; /* Hugging Face shape, row-major */
  int64_t numel;
  int unit;       /* index of its unit */
  int64_t at;     /* its first element in the unit's vector */
  int64_t vector; /* of one dimension: its place among all such, end to end */
  bool decay;     /* takes weight decay under decay_on = "matrices" */
  zt_init init;
} zt_param;

/** Another name that files may hold for a parameter tied to it. */
typedef struct zt_alias {
  char *name; /* owned */
  int param;
} zt_alias;

typedef struct zt_unit {
  char *name;       /* "shared", "encoder.block.3", ...; owned */
  int first, count; /* its parameters */
  int64_t numel;
  int64_t start; /* its first element in the global flat space */
} zt_unit;

typedef struct zt_params {
  zt_param *list; /* canonical order */
  zt_unit *units; /* canonical order */
  zt_alias *aliases;
  int count, n_units, n_aliases;
  int64_t numel;   /* of the global flat space */
  int64_t vectors; /* of the parameters of one dimension */
  size_t capacity, units_capacity, aliases_capacity;
  int *by_name; /* indices sorted by name, after zt_params_finish() */
} zt_params;

/** Building: begin a unit, add its parameters, ..., finish.  Local.
 *  Names are copied.  \return ZT_ERR_MEMORY, or ZT_ERR_DATA if a size
 *  overflows or a name stands twice. */
zt_status zt_params_begin_unit(zt_params *params, const char *name);
/** \param[out] index  of the new parameter, may be NULL */
zt_status zt_params_add(zt_params *params, const char *name, int ndim,
                        const int64_t *dims, bool decay, zt_init init,
                        int *index);
zt_status zt_params_add_alias(zt_params *params, const char *name, int param);
zt_status zt_params_finish(zt_params *params);
/** All of a finished table, to go on building.
 *  \param[in,out] to  empty before */
zt_status zt_params_copy(const zt_params *from, zt_params *to);
void zt_params_free(zt_params *params);

/** Index of a parameter by canonical name, -1 if there is none. */
int zt_params_find(const zt_params *params, const char *name);
/** The same for canonical names and aliases. */
int zt_params_find_any(const zt_params *params, const char *name);
/** Numbers of elements of the largest unit. */
int64_t zt_params_largest_unit(const zt_params *params);
/** Which parameter holds an element of the global flat space. */
int zt_params_at(const zt_params *params, int64_t flat);
/** Shape as "[32128,512]", into a caller's buffer of 96; returns it. */
const char *zt_shape_text(int ndim, const int64_t *dims, char buffer[96]);

#endif
