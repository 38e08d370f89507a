/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_json.h"

#include "base/settings_origins.h"
#include "base/settings_value.h"

#include <stdlib.h>
#include <string.h>

static zt_status no_memory(void) {
  return zt_fail(ZT_ERR_MEMORY, "out of memory");
}

/* One alone is a plain string. */
static json_t *strings_to_json(const zt_strings *strings) {
  if (strings->n < 2)
    return json_string(strings->n ? strings->at[0] : "");
  json_t *array = json_array();
  for (int i = 0; i < strings->n; i++)
    if (json_array_append_new(array, json_string(strings->at[i]))) {
      json_decref(array);
      return NULL;
    }
  return array;
}

static json_t *reals_to_json(const double *reals, int n) {
  json_t *array = json_array();
  for (int i = 0; i < n; i++)
    if (json_array_append_new(array, json_real(reals[i]))) {
      json_decref(array);
      return NULL;
    }
  return array;
}

static json_t *value_to_json(const zt_settings *settings,
                             const zt_setting *setting) {
  const void *field = zt_setting_value(settings, setting);
  int choice;
  switch (setting->type) {
  case ZT_SETTING_BOOL:
    return json_boolean(*(const bool *) field);
  case ZT_SETTING_INT:
    return json_integer(*(const int64_t *) field);
  case ZT_SETTING_REAL:
    return json_real(*(const double *) field);
  case ZT_SETTING_STRING:
    return json_string(*(char *const *) field);
  case ZT_SETTING_CHOICE:
    memcpy(&choice, field, sizeof choice);
    return json_string(setting->choices[choice]);
  case ZT_SETTING_BYTES:
    return json_integer((json_int_t) * (const size_t *) field);
  case ZT_SETTING_PAIR:
    return reals_to_json(field, 2);
  case ZT_SETTING_STRINGS:
    return strings_to_json(field);
  case ZT_SETTING_REALS:
    return reals_to_json(((const zt_reals *) field)->at,
                         ((const zt_reals *) field)->n);
  }
  return NULL;
}

zt_status zt_settings_to_json(const zt_settings *settings, json_t **object) {
  *object = NULL;
  json_t *all = json_object();
  for (int i = 0; all && i < zt_setting_count; i++)
    if (json_object_set_new(all, zt_setting_table[i].key,
                            value_to_json(settings, &zt_setting_table[i]))) {
      json_decref(all);
      all = NULL;
    }
  if (!all)
    return no_memory();
  *object = all;
  return ZT_OK;
}

static void list_from_json(json_t *array, zt_raw *raw) {
  size_t n = json_array_size(array);
  raw->what = "a list of other things";
  for (size_t i = 0; i < n; i++) {
    json_t *item = json_array_get(array, i);
    if (n > ZT_MOST_ITEMS || (!json_is_string(item) && !json_is_number(item)))
      return;
    raw->item[i].string = json_string_value(item);
    raw->item[i].real = json_number_value(item);
  }
  raw->n = (int) n;
  raw->kind = ZT_RAW_LIST;
}

static void raw_from_json(json_t *value, zt_raw *raw) {
  *raw = (zt_raw){.what = "another kind of value"};
  if (json_is_boolean(value)) {
    raw->kind = ZT_RAW_BOOL;
    raw->boolean = json_is_true(value);
  } else if (json_is_integer(value)) {
    raw->kind = ZT_RAW_INT;
    raw->integer = json_integer_value(value);
  } else if (json_is_real(value)) {
    raw->kind = ZT_RAW_REAL;
    raw->real = json_real_value(value);
  } else if (json_is_string(value)) {
    raw->kind = ZT_RAW_STRING;
    raw->string = json_string_value(value);
  } else if (json_is_array(value)) {
    list_from_json(value, raw);
  }
}

/* A key that was needed and not given is stored as 0, which is out of range
 * for a file and fine here. */
static bool is_unset(const zt_setting *setting, const zt_raw *raw) {
  return setting->need && raw->kind == ZT_RAW_INT && raw->integer == 0;
}

/* Store the value of a key if the object has it. */
static zt_status take(json_t *object, const zt_setting *setting,
                      zt_settings *settings, char *why) {
  json_t *value = json_object_get(object, setting->key);
  zt_raw raw;
  if (!value)
    return ZT_OK;
  raw_from_json(value, &raw);
  if (is_unset(setting, &raw))
    return ZT_OK;
  ZT_TRY(zt_setting_assign(settings, setting, &raw, why));
  settings->origins->of[zt_setting_index(setting)].file = ZT_FROM_JSON;
  return ZT_OK;
}

zt_status zt_settings_from_json(json_t *object, zt_settings *settings) {
  char why[ZT_REASON];
  *settings = (zt_settings){0};
  ZT_TRY(zt_fault_check(ZT_FAULT_CONFIG));
  ZT_TRY(zt_settings_init(settings));
  for (int i = 0; i < zt_setting_count; i++) {
    const zt_setting *setting = &zt_setting_table[i];
    zt_status status = take(object, setting, settings, why);
    if (status == ZT_ERR_CONFIG)
      status =
          zt_fail(ZT_ERR_DATA, "stored configuration: %s%s", setting->key, why);
    if (status != ZT_OK) {
      zt_settings_free(settings);
      return status;
    }
  }
  return ZT_OK;
}

typedef zt_status changed_function(void *context, const zt_settings_change *);

/* One key: `was` holds the stored value where the key takes it; what it does
 * not take (from another version) is shown as it stands. */
static zt_status compare(json_t *value, const zt_settings *was, bool taken,
                         const zt_settings *now, const zt_setting *setting,
                         changed_function *changed, void *context) {
  zt_text before = {0}, after = {0};
  zt_setting_write(now, setting, &after);
  if (taken) {
    zt_setting_write(was, setting, &before);
  } else {
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    zt_text_add(&before, "%s", text ? text : "?");
    free(text);
  }
  zt_status status = ZT_OK;
  if (before.failed || after.failed)
    status = no_memory();
  else if (strcmp(before.data, after.data))
    status = changed(context, &(zt_settings_change){.key = setting->key,
                                                    .fixed = setting->fixed,
                                                    .was = before.data,
                                                    .is = after.data});
  zt_text_free(&before);
  zt_text_free(&after);
  return status;
}

zt_status zt_settings_diff(json_t *stored, const zt_settings *now,
                           changed_function *changed, void *context) {
  zt_settings was;
  char why[ZT_REASON];
  ZT_TRY(zt_settings_init(&was));
  zt_status status = ZT_OK;
  for (int i = 0; i < zt_setting_count && status == ZT_OK; i++) {
    const zt_setting *setting = &zt_setting_table[i];
    zt_status taken = take(stored, setting, &was, why);
    if (taken == ZT_ERR_MEMORY)
      status = taken;
    else
      status = compare(json_object_get(stored, setting->key), &was,
                       taken == ZT_OK, now, setting, changed, context);
  }
  zt_settings_free(&was);
  return status;
}
