/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  The one table of configuration keys: parsing, checks, defaults, --explain,
 *  man page and completion all come from it. */
#ifndef ZT_BASE_SETTINGS_TABLE_H
#define ZT_BASE_SETTINGS_TABLE_H

#include "base/settings_check.h"

typedef enum zt_setting_type {
  ZT_SETTING_BOOL,    /* bool */
  ZT_SETTING_INT,     /* int64_t */
  ZT_SETTING_REAL,    /* double, finite */
  ZT_SETTING_STRING,  /* char *, UTF-8 without control characters */
  ZT_SETTING_CHOICE,  /* an enum: the index in `choices` */
  ZT_SETTING_BYTES,   /* size_t, written as "64MiB" */
  ZT_SETTING_PAIR,    /* double[2] */
  ZT_SETTING_STRINGS, /* zt_strings; one alone may stand without brackets */
  ZT_SETTING_REALS    /* zt_reals */
} zt_setting_type;

typedef enum zt_real_range {
  ZT_NOT_NEGATIVE, /* x >= 0 */
  ZT_POSITIVE,     /* x > 0 */
  ZT_BELOW_ONE     /* 0 <= x < 1 */
} zt_real_range;

enum { ZT_MAX_CHOICES = 6 };
/* Most of a count of steps and the like: sums of two do not overflow. */
#define ZT_SETTING_MOST ((int64_t) 1 << 62)

typedef struct zt_setting {
  const char *key; /* "train.optimizer.lr" */
  zt_setting_type type;
  size_t offset;       /* of its field in zt_settings */
  bool fixed;          /* a resumed run must have it as stored */
  unsigned need;       /* ZT_NEED_... that asks for it, 0: has a default */
  const char *value;   /* the default as -s takes it, NULL: none */
  const char *unit;    /* "tokens", "" */
  int64_t least, most; /* of INT and BYTES, both allowed */
  zt_real_range range; /* of REAL and of each number of PAIR, REALS */
  const char *choices[ZT_MAX_CHOICES];
  const char *help; /* a sentence or more, for people */
} zt_setting;

/** Rows in the order of printing: keys of a group stand together. */
extern const zt_setting zt_setting_table[];
extern const int zt_setting_count;

/** The row of a key, NULL if there is none. */
const zt_setting *zt_setting_find(const char *key);
/** The index of a row in the table. */
int zt_setting_index(const zt_setting *setting);
/** Whether "train" or "train.optimizer" is a group of keys. */
bool zt_setting_is_group(const char *key);
/** The row of a key that a user named.
 *  \return ZT_ERR_USAGE for an unknown one, with a suggestion. */
zt_status zt_setting_lookup(const char *key, const zt_setting **setting);

enum { ZT_SUGGESTION = 48 };
/** The key or group that a wrong key probably means: close in spelling, the
 *  right name in the wrong group, or what other trainers call it.
 *  \return false, with nothing stored, if nothing is near. */
bool zt_setting_suggest(const char *key, char suggestion[ZT_SUGGESTION]);
/** "unknown key 'train.lr'; did you mean 'train.optimizer.lr'?", into a
 *  caller's buffer of 128; returns it. */
const char *zt_setting_unknown(const char *key, char message[128]);
/** What its values may be: "an integer, 1 or more", `"auto", "cpu" or "cuda"`,
 *  into a caller's buffer of 128; returns it. */
const char *zt_setting_domain(const zt_setting *setting, char buffer[128]);

#endif
