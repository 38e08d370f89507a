/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The resolved configuration as a restart keeps it, and what changed since. */
#ifndef ZT_BASE_SETTINGS_JSON_H
#define ZT_BASE_SETTINGS_JSON_H

#include "base/settings.h"

#include <jansson.h>

/** An object with every key by its full path: {"train.steps": 1000, ...}.
 *  Choices are strings, bytes are integers.
 *  Local.
 *  \param[out] object  json_decref() it
 *  \return ZT_ERR_MEMORY. */
zt_status zt_settings_to_json(const zt_settings *settings, json_t **object);

/** The settings that such an object holds; a key it lacks has its default, one
 *  that is not in the table is passed over.  This is how ranks get what rank 0
 *  read.
 *  Local.
 *  \param[out] settings  zt_settings_free() it; empty after a failure
 *  \return ZT_ERR_DATA for a value that its key does not take, ZT_ERR_MEMORY.
 */
zt_status zt_settings_from_json(json_t *object, zt_settings *settings);

/** A key whose value is not what it was. */
typedef struct zt_settings_change {
  const char *key;
  bool fixed;           /* a resumed run must have it as stored */
  const char *was, *is; /* as a configuration file has them */
} zt_settings_change;

/** Compare with a stored configuration: calls changed() for each difference, in
 *  the order of the table.  A key that is not stored had its default.
 *  Local.
 *  \param[in] changed  a failure of it ends the comparison and is returned
 *  \return ZT_ERR_MEMORY. */
zt_status zt_settings_diff(json_t *stored, const zt_settings *now,
                           zt_status (*changed)(void *context,
                                                const zt_settings_change *),
                           void *context);

#endif
