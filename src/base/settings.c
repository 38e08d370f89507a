/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings.h"

#include "base/memory.h"
#include "base/settings_origins.h"
#include "base/settings_scan.h"
#include "base/settings_value.h"

#include <inttypes.h>
#include <libconfig.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY_SIZE = 256 };

typedef struct reader {
  zt_settings *settings;
  zt_scan scan;
  zt_problems problems;
} reader;

zt_status zt_settings_init(zt_settings *settings) {
  *settings = (zt_settings){0};
  size_t n = (size_t) zt_setting_count;
  settings->origins = zt_calloc(1, sizeof *settings->origins +
                                       n * sizeof *settings->origins->of);
  zt_status status = settings->origins ? ZT_OK : ZT_ERR_MEMORY;
  for (int i = 0; i < zt_setting_count && status == ZT_OK; i++) {
    const zt_setting *setting = &zt_setting_table[i];
    const char *value = setting->value;
    char why[ZT_REASON];
    zt_raw raw;
    zt_text hold = {0};
    settings->origins->of[i].file = ZT_FROM_DEFAULT;
    if (!value && setting->type == ZT_SETTING_STRING)
      value = "";
    if (!value)
      continue;
    zt_raw_from_text(setting, value, &raw, &hold);
    status = hold.failed ? zt_fail(ZT_ERR_MEMORY, "out of memory")
                         : zt_setting_assign(settings, setting, &raw, why);
    if (status == ZT_ERR_CONFIG)
      status = zt_fail(ZT_ERR_INTERNAL, "default of %s%s", setting->key, why);
    zt_text_free(&hold);
  }
  if (status != ZT_OK)
    zt_settings_free(settings);
  return status;
}

void zt_settings_free(zt_settings *settings) {
  for (int i = 0; i < zt_setting_count; i++)
    zt_setting_free(settings, &zt_setting_table[i]);
  if (settings->origins) {
    for (int i = 0; i < settings->origins->n_files; i++)
      free(settings->origins->files[i]);
    free(settings->origins->files);
  }
  free(settings->origins);
  *settings = (zt_settings){0};
}

/* Store a value, or note why not. */
static zt_status assign(reader *r, const zt_setting *setting, const zt_raw *raw,
                        int64_t at, const char *place, zt_origin origin) {
  char why[ZT_REASON];
  zt_status status = zt_setting_assign(r->settings, setting, raw, why);
  if (status == ZT_OK)
    r->settings->origins->of[zt_setting_index(setting)] = origin;
  if (status != ZT_ERR_CONFIG)
    return status;
  zt_problem(&r->problems, at, place, "%s%s", setting->key, why);
  return ZT_OK;
}

static void raw_scalar(const config_setting_t *from, zt_raw *raw) {
  switch (config_setting_type(from)) {
  case CONFIG_TYPE_BOOL:
    raw->kind = ZT_RAW_BOOL;
    raw->boolean = config_setting_get_bool(from) != 0;
    break;
  case CONFIG_TYPE_INT:
  case CONFIG_TYPE_INT64:
    raw->kind = ZT_RAW_INT;
    raw->integer = config_setting_type(from) == CONFIG_TYPE_INT
                       ? config_setting_get_int(from)
                       : config_setting_get_int64(from);
    break;
  case CONFIG_TYPE_FLOAT:
    raw->kind = ZT_RAW_REAL;
    raw->real = config_setting_get_float(from);
    break;
  case CONFIG_TYPE_STRING:
    raw->kind = ZT_RAW_STRING;
    raw->string = config_setting_get_string(from);
    if (!raw->string)
      raw->string = "";
    break;
  default:
    break;
  }
}

static void raw_from_config(const config_setting_t *from, zt_raw *raw) {
  *raw = (zt_raw){.what = "a group"};
  raw_scalar(from, raw);
  if (!config_setting_is_list(from) && !config_setting_is_array(from))
    return;
  int n = config_setting_length(from);
  raw->what = "a list of other things";
  if (n > ZT_MOST_ITEMS)
    raw->what = "more than 64 of them";
  for (int i = 0; i < n; i++) {
    zt_raw element = {0};
    raw_scalar(config_setting_get_elem(from, (unsigned) i), &element);
    if (n > ZT_MOST_ITEMS || !zt_raw_add(raw, &element))
      return;
  }
  raw->kind = ZT_RAW_LIST;
}

/* All members of a group whose path is `prefix` ("" or "train."). */
static zt_status read_group(reader *r, const config_setting_t *group,
                            const char *prefix) {
  int count = config_setting_length(group);
  for (int i = 0; i < count; i++) {
    const config_setting_t *member =
        config_setting_get_elem(group, (unsigned) i);
    char key[KEY_SIZE], place[ZT_PLACE], message[128];
    int flat = (int) config_setting_source_line(member);
    zt_origin origin;
    snprintf(key, sizeof key, "%s%s", prefix, config_setting_name(member));
    zt_scan_place(&r->scan, flat, place);
    zt_scan_find(&r->scan, flat, &origin.file, &origin.line);
    const zt_setting *setting = zt_setting_find(key);
    if (setting) {
      zt_raw raw;
      raw_from_config(member, &raw);
      ZT_TRY(assign(r, setting, &raw, flat, place, origin));
    } else if (!zt_setting_is_group(key)) {
      zt_problem(&r->problems, flat, place, "%s",
                 zt_setting_unknown(key, message));
    } else if (!config_setting_is_group(member)) {
      zt_problem(&r->problems, flat, place,
                 "%s is a group of keys: write %s = { ... };", key,
                 config_setting_name(member));
    } else {
      strcat(key, "."); /* a known group is short */
      ZT_TRY(read_group(r, member, key));
    }
  }
  return ZT_OK;
}

/* The parser stands one token behind the error at the earliest; a line without
 * text is not where the user erred. */
static void syntax_error(reader *r, const config_t *config) {
  const char *text = r->scan.text.data, *line = text, *last = text;
  char place[ZT_PLACE], shown[40];
  int flat = 1, last_flat = 1;
  for (; *line && flat <= config_error_line(config); flat++) {
    size_t n = strcspn(line, "\n");
    if (strspn(line, " \t\r\f") < n) {
      last = line;
      last_flat = flat;
    }
    line += n + (line[n] == '\n');
  }
  last += strspn(last, " \t\r\f");
  char *copy = zt_calloc(strcspn(last, "\n") + 1, 1);
  if (copy)
    memcpy(copy, last, strcspn(last, "\n"));
  zt_problem(&r->problems, last_flat, zt_scan_place(&r->scan, last_flat, place),
             "%s in or before '%s'", config_error_text(config),
             zt_shorten(copy ? copy : "", false, shown, sizeof shown));
  free(copy);
}

static zt_status parse(reader *r) {
  config_t config;
  zt_status status = ZT_OK;
  config_init(&config);
  if (config_read_string(&config, r->scan.text.data) == CONFIG_TRUE)
    status = read_group(r, config_root_setting(&config), "");
  else
    syntax_error(r, &config);
  config_destroy(&config);
  return status;
}

static zt_status read_file(reader *r, const char *path) {
  zt_settings_origins *origins = r->settings->origins;
  ZT_TRY(zt_scan_file(path, &r->scan, &r->problems));
  if (!r->scan.broken)
    ZT_TRY(parse(r));
  /* The names of the files are needed as long as the settings. */
  size_t n = (size_t) r->scan.n_files;
  if (!(origins->files = zt_calloc(n, sizeof *origins->files)))
    return ZT_ERR_MEMORY;
  memcpy(origins->files, r->scan.files, n * sizeof *origins->files);
  origins->n_files = r->scan.n_files;
  r->scan.n_files = 0;
  return ZT_OK;
}

static zt_status read_override(reader *r, const char *option, int64_t at) {
  char key[KEY_SIZE], shown[48], message[128];
  const char *equals = strchr(option, '=');
  if (!equals) {
    zt_problem(&r->problems, at, "-s", "expected KEY=VALUE, found '%s'",
               zt_shorten(option, false, shown, sizeof shown));
    return ZT_OK;
  }
  int n = (int) (equals - option);
  while (n > 0 && option[n - 1] == ' ')
    n--;
  snprintf(key, sizeof key, "%.*s", n, option);
  const zt_setting *setting = zt_setting_find(key);
  if (!setting && zt_setting_is_group(key)) {
    zt_problem(&r->problems, at, "-s", "%s is a group of keys: set them singly",
               key);
    return ZT_OK;
  }
  if (!setting) {
    zt_problem(&r->problems, at, "-s", "%s", zt_setting_unknown(key, message));
    return ZT_OK;
  }
  zt_raw raw;
  zt_text hold = {0};
  zt_raw_from_text(setting, equals + 1, &raw, &hold);
  zt_status status = hold.failed ? zt_fail(ZT_ERR_MEMORY, "out of memory")
                                 : assign(r, setting, &raw, at, "-s",
                                          (zt_origin){.file = ZT_FROM_OPTION});
  zt_text_free(&hold);
  return status;
}

/* Defaults that depend on other keys. */
static void settle(zt_settings *settings) {
  const zt_setting *decay = zt_setting_find("train.optimizer.weight_decay");
  int from = settings->origins->of[zt_setting_index(decay)].file;
  if (settings->train.optimizer.name == ZT_ADAFACTOR && from == ZT_FROM_DEFAULT)
    settings->train.optimizer.weight_decay = 0;
}

zt_status zt_settings_read(const char *path, const char *const *overrides,
                           int n_overrides, zt_settings *settings) {
  *settings = (zt_settings){0};
  ZT_TRY(zt_fault_check(ZT_FAULT_CONFIG));
  ZT_TRY(zt_settings_init(settings));
  reader r = {.settings = settings};
  zt_status status = read_file(&r, path);
  for (int i = 0; i < n_overrides && status == ZT_OK; i++)
    status = read_override(&r, overrides[i], (int64_t) INT32_MAX + i);
  if (status == ZT_OK)
    status = zt_problems_end(&r.problems);
  zt_scan_free(&r.scan);
  if (status == ZT_OK)
    settle(settings);
  else
    zt_settings_free(settings);
  return status;
}
