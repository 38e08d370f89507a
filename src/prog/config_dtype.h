/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Changing the number format that a config.json names, and not a byte else. */
#ifndef ZT_PROG_CONFIG_DTYPE_H
#define ZT_PROG_CONFIG_DTYPE_H

#include "base/dtype.h"
#include "base/text.h"

/** Copy a config.json with the values of "dtype" and "torch_dtype" replaced,
 *  where it has these keys.
 *  Local.
 *  \param[in]  json  [size] a JSON object, known to be valid
 *  \param[out] out   appended to */
void zt_config_set_dtype(const char *json, size_t size, zt_dtype dtype,
                         zt_text *out);

#endif
