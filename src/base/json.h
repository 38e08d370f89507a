/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Reading JSON from files we did not write: jansson with duplicate keys
 *  refused, and getters whose message names the file and the key. */
#ifndef ZT_BASE_JSON_H
#define ZT_BASE_JSON_H

#include "base/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Read a whole file into memory, NUL-terminated.
 *  Local.
 *  \param[in]  limit  bytes; a larger file is ZT_ERR_DATA
 *  \param[out] bytes  free() it
 *  \param[out] size   without the NUL, may be NULL */
zt_status zt_read_file(const char *path, size_t limit, char **bytes,
                       size_t *size);

/** Parse a JSON object.
 *  \param[in]  path   for messages
 *  \param[out] object json_decref() it */
zt_status zt_json_parse(const char *bytes, size_t size, const char *path,
                        json_t **object);
/** zt_read_file() and zt_json_parse(). */
zt_status zt_json_read(const char *path, size_t limit, json_t **object);

/** Getters.  A missing key leaves *value as it is when `required` is false, and
 *  is ZT_ERR_DATA otherwise; so is a value of another type or out of range.
 *  null counts as missing.  zt_json_real() takes integers too. */
zt_status zt_json_int(json_t *object, const char *path, const char *key,
                      bool required, int64_t least, int64_t most,
                      int64_t *value);
zt_status zt_json_real(json_t *object, const char *path, const char *key,
                       bool required, double *value);
zt_status zt_json_bool(json_t *object, const char *path, const char *key,
                       bool required, bool *value);
/** The string belongs to the object. */
zt_status zt_json_string(json_t *object, const char *path, const char *key,
                         bool required, const char **value);

#endif
