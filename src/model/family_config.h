/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What families share in reading config.json: each value is in range or
 *  refused in a line that names file and key.  All are Local and return
 *  ZT_ERR_DATA. */
#ifndef ZT_MODEL_FAMILY_CONFIG_H
#define ZT_MODEL_FAMILY_CONFIG_H

#include "model/model.h"

enum { ZT_MOST_SIZE = 1 << 28 }; /* of a dimension: no block overflows */

/** An integer of the configuration; `value` keeps its default if it is missing
 *  and not required. */
typedef struct zt_config_int {
  const char *key;
  bool required;
  int64_t least, most, *value;
} zt_config_int;

/** A number from 0 to `most`, never required. */
typedef struct zt_config_real {
  const char *key;
  double most, *value;
} zt_config_real;

zt_status zt_config_ints(json_t *config, const char *path,
                         const zt_config_int *list, size_t n);
zt_status zt_config_reals(json_t *config, const char *path,
                          const zt_config_real *list, size_t n);

/** An activation by Hugging Face's name.
 *  \param[in] key, text  for the message: where it stands, and all of it */
zt_status zt_config_activation(const char *path, const char *key,
                               const char *text, const char *name,
                               zt_activation_kind *kind);

/** eos_token_id, an id or a list of them, to shape->stop_ids; none if the key
 *  is missing or null. */
zt_status zt_config_stop_ids(zt_model_shape *shape, json_t *config,
                             const char *path);
/** eos_token_id, an id or a list of them: shape->eos_id is the first,
 *  shape->stop_ids are all; and pad_token_id.  All are below the vocabulary. */
zt_status zt_config_special_ids(zt_model_shape *shape, json_t *config,
                                const char *path);

/** Refuse a value that is given and that is not false, 0, null or empty: an
 *  option this version does not have. */
zt_status zt_config_refuse(json_t *config, const char *path, const char *key);

#endif
