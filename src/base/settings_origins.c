/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_origins.h"

#include <stdio.h>

const char *zt_settings_origin(const zt_settings *settings,
                               const zt_setting *setting,
                               char place[ZT_PLACE]) {
  const zt_settings_origins *origins = settings->origins;
  const zt_origin *origin = &origins->of[zt_setting_index(setting)];
  char name[ZT_FILE_SHOWN];
  if (origin->file >= 0)
    snprintf(place, ZT_PLACE, "%s:%d",
             zt_shorten(origins->files[origin->file], true, name, sizeof name),
             origin->line);
  else
    snprintf(place, ZT_PLACE, "%s",
             origin->file == ZT_FROM_OPTION ? "command line"
             : origin->file == ZT_FROM_JSON ? "stored"
                                            : "default");
  return place;
}
