/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Where each value of a configuration comes from. */
#ifndef ZT_BASE_SETTINGS_ORIGINS_H
#define ZT_BASE_SETTINGS_ORIGINS_H

#include "base/settings_problems.h"
#include "base/settings_table.h"

enum { ZT_FROM_DEFAULT = -1, ZT_FROM_OPTION = -2, ZT_FROM_JSON = -3 };

typedef struct zt_origin {
  int file; /* index in files, or ZT_FROM_... */
  int line;
} zt_origin;

struct zt_settings_origins {
  char **files; /* the first is the one that was asked for; owned */
  int n_files;
  zt_origin of[]; /* [zt_setting_count] */
};

/** "run.cfg:7", "command line", "default" or "stored", into a caller's buffer;
 *  returns it. */
const char *zt_settings_origin(const zt_settings *settings,
                               const zt_setting *setting, char place[ZT_PLACE]);

#endif
