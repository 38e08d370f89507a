/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Single values: read from a file, -s or JSON, checked, stored, written. */
#ifndef ZT_BASE_SETTINGS_VALUE_H
#define ZT_BASE_SETTINGS_VALUE_H

#include "base/settings_table.h"
#include "base/text.h"

/** A value as somebody wrote it, before its key's type is looked at. */
typedef struct zt_raw {
  enum {
    ZT_RAW_OTHER, /* nothing a key takes */
    ZT_RAW_BOOL,
    ZT_RAW_INT,
    ZT_RAW_REAL,
    ZT_RAW_STRING,
    ZT_RAW_LIST
  } kind;
  bool boolean;
  int64_t integer;
  double real;
  const char *string; /* not owned */
  int n;              /* of a list */
  struct {
    const char *string; /* not owned; NULL: a number */
    double real;
  } item[ZT_MOST_ITEMS];
  const char *what; /* OTHER: "a group", "a list" */
} zt_raw;

/** Read a value as -s takes it: strings with or without quotes, lists as
 *  [a, b].
 *  \param[out] hold  owns the string of *raw; zt_text_free() it after use */
void zt_raw_from_text(const zt_setting *setting, const char *text, zt_raw *raw,
                      zt_text *hold);

/** Add a number or a string to the items of a list.
 *  \return false for anything else. */
bool zt_raw_add(zt_raw *list, const zt_raw *item);

/** Check type and range, and store.
 *  \param[out] why  reason after the key, as ": expected an integer, found
 *                   \"a\"" or " = 0: must be ..."; ZT_REASON bytes
 *  \return ZT_ERR_CONFIG, or ZT_ERR_MEMORY. */
zt_status zt_setting_assign(zt_settings *settings, const zt_setting *setting,
                            const zt_raw *raw, char *why);

/** Release what the value owns. */
void zt_setting_free(zt_settings *settings, const zt_setting *setting);

/** Append the value as a configuration file has it. */
void zt_setting_write(const zt_settings *settings, const zt_setting *setting,
                      zt_text *out);

/** Whether a key that is needed has a value. */
bool zt_setting_is_given(const zt_settings *settings,
                         const zt_setting *setting);

/** The field of a key, of the type that its row says. */
void *zt_setting_field(zt_settings *settings, const zt_setting *setting);
const void *zt_setting_value(const zt_settings *settings,
                             const zt_setting *setting);
/** The shortest text that reads back to the same number and is a real in
 *  libconfig, into a caller's buffer of 32; returns it. */
const char *zt_real_text(double value, char buffer[32]);

#endif
