/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The configuration and its table for people: --print-config, --explain,
 *  completion, man page. */
#ifndef ZT_BASE_SETTINGS_PRINT_H
#define ZT_BASE_SETTINGS_PRINT_H

#include "base/settings.h"

#include <stdio.h>

/** Every key with its value, as a configuration file that reads back to the
 *  same settings.  A needed key that is not given becomes a comment.
 *  Local.
 *  \param[in] with_origin  add where each value comes from, as a comment
 *  \return ZT_ERR_MEMORY, or ZT_ERR_IO if `to` cannot be written. */
zt_status zt_settings_print(const zt_settings *settings, FILE *to,
                            bool with_origin);

/** Type, range, default and meaning of a key, or of all keys of a group
 *  ("train", "train.optimizer") or of "all".
 *  Local.
 *  \return ZT_ERR_USAGE for an unknown key, with a suggestion. */
zt_status zt_settings_explain(const char *key, FILE *to);

/** All keys, one a line. */
void zt_settings_list_keys(FILE *to);

/** All keys as a part of a man page: .SS per group, .TP per key. */
void zt_settings_man(FILE *to);

#endif
