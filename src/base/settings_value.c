/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_value.h"

#include "base/memory.h"
#include "base/settings_problems.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void *zt_setting_field(zt_settings *settings, const zt_setting *setting) {
  return (char *) settings + setting->offset;
}

const void *zt_setting_value(const zt_settings *settings,
                             const zt_setting *setting) {
  return (const char *) settings + setting->offset;
}

static void trim(const char **from, const char **to) {
  while (*from < *to && strchr(" \t", **from))
    (*from)++;
  while (*to > *from && strchr(" \t", (*to)[-1]))
    (*to)--;
}

/* A number that fills the text.  strtod alone would take nan and 0x1p3 too. */
static bool read_number(const char *from, const char *to, zt_raw *raw) {
  char text[64], *end;
  size_t n = (size_t) (to - from);
  if (n == 0 || n >= sizeof text)
    return false;
  memcpy(text, from, n);
  text[n] = '\0';
  bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  if (!hex && strspn(text, "+-.eE0123456789L") != n)
    return false;
  errno = 0;
  raw->integer = strtoll(text, &end, hex ? 16 : 10);
  if (end > text && errno == 0 &&
      (!*end || !strcmp(end, "L") || !strcmp(end, "LL"))) {
    raw->kind = ZT_RAW_INT;
    return true;
  }
  raw->real = strtod(text, &end);
  if (hex || end == text || *end)
    return false;
  raw->kind = ZT_RAW_REAL;
  return true;
}

static double as_real(const zt_raw *raw) {
  return raw->kind == ZT_RAW_INT ? (double) raw->integer : raw->real;
}

bool zt_raw_add(zt_raw *list, const zt_raw *item) {
  if (item->kind != ZT_RAW_INT && item->kind != ZT_RAW_REAL &&
      item->kind != ZT_RAW_STRING)
    return false;
  bool is_text = item->kind == ZT_RAW_STRING;
  list->item[list->n].string = is_text ? item->string : NULL;
  list->item[list->n].real = is_text ? 0 : as_real(item);
  list->n++;
  return true;
}

/* Quotes are optional; inside them \" and \\ are what they are in a file.
 * Returns where it begins in `hold`, which ends with it. */
static size_t hold_string(const char *from, const char *to, zt_text *hold) {
  bool quoted = to - from >= 2 && *from == '"' && to[-1] == '"';
  size_t begin = hold->size;
  if (quoted) {
    from++;
    to--;
  }
  zt_text_append(hold, "", 0);
  for (; from < to; from++) {
    if (quoted && *from == '\\' && from + 1 < to &&
        (from[1] == '"' || from[1] == '\\'))
      from++;
    zt_text_append(hold, from, 1);
  }
  return begin;
}

static void read_string(const char *from, const char *to, zt_raw *raw,
                        zt_text *hold) {
  hold_string(from, to, hold);
  raw->kind = ZT_RAW_STRING;
  raw->string = hold->data ? hold->data : "";
}

/* To the comma behind an item, or to the end. */
static const char *item_end(const char *from, const char *to) {
  bool quoted = false;
  for (; from < to && (quoted || *from != ','); from++) {
    if (quoted && *from == '\\' && from + 1 < to)
      from++;
    else if (*from == '"')
      quoted = !quoted;
  }
  return from;
}

/* Items without quotes are numbers, or all are text. */
static bool read_list(const char *from, const char *to, bool text, zt_raw *raw,
                      zt_text *hold) {
  bool square = to - from >= 2 && from[0] == '[' && to[-1] == ']';
  bool round = to - from >= 2 && from[0] == '(' && to[-1] == ')';
  size_t begins[ZT_MOST_ITEMS];
  if (!square && !round)
    return false;
  from++;
  to--;
  trim(&from, &to);
  for (const char *end; from < to; from = end + 1) {
    end = item_end(from, to);
    const char *a = from, *b = end;
    zt_raw number;
    trim(&a, &b);
    if (raw->n == ZT_MOST_ITEMS || (!text && !read_number(a, b, &number)))
      return false;
    begins[raw->n] = text ? hold_string(a, b, hold) : 0;
    if (text)
      zt_text_append(hold, "", 1);
    raw->item[raw->n++].real = text ? 0 : as_real(&number);
    if (end + 1 == to)
      return false;
  }
  for (int i = 0; text && hold->data && i < raw->n; i++)
    raw->item[i].string = hold->data + begins[i];
  raw->kind = ZT_RAW_LIST;
  return true;
}

void zt_raw_from_text(const zt_setting *setting, const char *text, zt_raw *raw,
                      zt_text *hold) {
  const char *from = text, *to = text + strlen(text);
  size_t n;
  *raw = (zt_raw){0};
  trim(&from, &to);
  n = (size_t) (to - from);
  bool is_text = setting->type == ZT_SETTING_STRING ||
                 setting->type == ZT_SETTING_CHOICE ||
                 setting->type == ZT_SETTING_BYTES ||
                 setting->type == ZT_SETTING_STRINGS;
  if (!is_text && read_number(from, to, raw))
    return;
  bool lists = setting->type == ZT_SETTING_STRINGS || !is_text;
  if (lists && read_list(from, to, is_text, raw, hold))
    return;
  *raw = (zt_raw){0};
  /* In any case, as in a file. */
  if (!is_text && ((n == 4 && !strncasecmp(from, "true", n)) ||
                   (n == 5 && !strncasecmp(from, "false", n)))) {
    raw->kind = ZT_RAW_BOOL;
    raw->boolean = n == 4;
    return;
  }
  read_string(from, to, raw, hold);
}

/* What was found, as the end of a message. */
static void describe(const zt_raw *raw, char found[64]) {
  char text[48], number[32];
  switch (raw->kind) {
  case ZT_RAW_OTHER:
    snprintf(found, 64, "%s", raw->what ? raw->what : "something else");
    break;
  case ZT_RAW_BOOL:
    snprintf(found, 64, "%s", raw->boolean ? "true" : "false");
    break;
  case ZT_RAW_INT:
    snprintf(found, 64, "%" PRId64, raw->integer);
    break;
  case ZT_RAW_REAL:
    snprintf(found, 64, "%s", zt_real_text(raw->real, number));
    break;
  case ZT_RAW_STRING:
    snprintf(found, 64, "\"%s\"",
             zt_shorten(raw->string, false, text, sizeof text));
    break;
  case ZT_RAW_LIST:
    snprintf(found, 64, "a list of %d", raw->n);
    break;
  }
}

/* The value has the type of its key and is wrong all the same. */
static zt_status refuse(const zt_setting *setting, const zt_raw *raw,
                        char *why) {
  char domain[128], found[64];
  describe(raw, found);
  snprintf(why, ZT_REASON, "%s%s: must be %s",
           raw->kind == ZT_RAW_LIST ? "" : " = ",
           raw->kind == ZT_RAW_LIST ? "" : found,
           zt_setting_domain(setting, domain));
  return ZT_ERR_CONFIG;
}

static zt_status wrong_type(const zt_setting *setting, const zt_raw *raw,
                            char *why) {
  char domain[128], found[64];
  describe(raw, found);
  snprintf(why, ZT_REASON, ": expected %s, found %s",
           zt_setting_domain(setting, domain), found);
  return ZT_ERR_CONFIG;
}

static bool in_range(double x, zt_real_range range) {
  switch (range) {
  case ZT_NOT_NEGATIVE:
    return isfinite(x) && x >= 0;
  case ZT_POSITIVE:
    return isfinite(x) && x > 0;
  case ZT_BELOW_ONE:
    return x >= 0 && x < 1;
  }
  return false;
}

static zt_status assign_real(const zt_setting *setting, const zt_raw *raw,
                             double *field, char *why) {
  if (raw->kind != ZT_RAW_INT && raw->kind != ZT_RAW_REAL)
    return wrong_type(setting, raw, why);
  double x = as_real(raw);
  if (!isfinite(x)) {
    snprintf(why, ZT_REASON, ": not a finite number");
    return ZT_ERR_CONFIG;
  }
  if (!in_range(x, setting->range))
    return refuse(setting, raw, why);
  *field = x + 0.0; /* -0.0 becomes 0.0 */
  return ZT_OK;
}

/* Numbers only; a pair is a list of two. */
static zt_status assign_list(const zt_setting *setting, const zt_raw *raw,
                             double *field, char *why) {
  if (raw->kind != ZT_RAW_LIST ||
      (setting->type == ZT_SETTING_PAIR && raw->n != 2))
    return wrong_type(setting, raw, why);
  for (int i = 0; i < raw->n; i++)
    if (raw->item[i].string)
      return wrong_type(setting, raw, why);
  for (int i = 0; i < raw->n; i++)
    if (!in_range(raw->item[i].real, setting->range))
      return refuse(setting, raw, why);
  for (int i = 0; i < raw->n; i++)
    field[i] = raw->item[i].real + 0.0;
  return ZT_OK;
}

static zt_status assign_reals(const zt_setting *setting, const zt_raw *raw,
                              zt_reals *field, char *why) {
  ZT_TRY(assign_list(setting, raw, field->at, why));
  field->n = raw->n;
  return ZT_OK;
}

static zt_status assign_int(const zt_setting *setting, const zt_raw *raw,
                            int64_t *field, char *why) {
  if (raw->kind != ZT_RAW_INT)
    return wrong_type(setting, raw, why);
  if (raw->integer < setting->least || raw->integer > setting->most)
    return refuse(setting, raw, why);
  *field = raw->integer;
  return ZT_OK;
}

static zt_status assign_bytes(const zt_setting *setting, const zt_raw *raw,
                              size_t *field, char *why) {
  size_t bytes;
  if (raw->kind == ZT_RAW_INT && raw->integer >= 0)
    bytes = (size_t) raw->integer;
  else if (raw->kind != ZT_RAW_STRING || !zt_parse_bytes(raw->string, &bytes))
    return wrong_type(setting, raw, why);
  if (bytes < (size_t) setting->least || bytes > (size_t) setting->most)
    return refuse(setting, raw, why);
  *field = bytes;
  return ZT_OK;
}

static zt_status assign_choice(const zt_setting *setting, const zt_raw *raw,
                               void *field, char *why) {
  if (raw->kind != ZT_RAW_STRING)
    return wrong_type(setting, raw, why);
  for (int i = 0; i < ZT_MAX_CHOICES && setting->choices[i]; i++)
    if (!strcmp(raw->string, setting->choices[i])) {
      memcpy(field, &i, sizeof i); /* enums have the size of int */
      return ZT_OK;
    }
  return refuse(setting, raw, why);
}

/* Strings end up in paths, logs and JSON. */
static zt_status copy_string(const char *from, char **to, char *why) {
  enum { LONGEST = 4095 };
  const char *reason = NULL;
  size_t n = strlen(from);
  if (n > LONGEST)
    reason = "longer than 4095 bytes";
  else if (!zt_is_utf8(from, n))
    reason = "not UTF-8 text";
  for (size_t i = 0; !reason && i < n; i++)
    if ((unsigned char) from[i] < 0x20 || from[i] == 0x7F)
      reason = "has a control character";
  if (reason) {
    snprintf(why, ZT_REASON, ": %s", reason);
    return ZT_ERR_CONFIG;
  }
  *to = zt_strdup(from);
  return *to ? ZT_OK : ZT_ERR_MEMORY;
}

static zt_status assign_string(const zt_setting *setting, const zt_raw *raw,
                               char **field, char *why) {
  char *copy;
  if (raw->kind != ZT_RAW_STRING)
    return wrong_type(setting, raw, why);
  ZT_TRY(copy_string(raw->string, &copy, why));
  free(*field);
  *field = copy;
  return ZT_OK;
}

static void free_strings(zt_strings *strings) {
  while (strings->n > 0)
    free(strings->at[--strings->n]);
}

static zt_status copy_strings(const zt_setting *setting, const zt_raw *raw,
                              zt_strings *to, char *why) {
  for (int i = 0; i < raw->n; i++) {
    if (!raw->item[i].string)
      return wrong_type(setting, raw, why);
    ZT_TRY(copy_string(raw->item[i].string, &to->at[i], why));
    to->n++;
  }
  return ZT_OK;
}

/* One string is a list of one, an empty one is none. */
static zt_status assign_strings(const zt_setting *setting, const zt_raw *raw,
                                zt_strings *field, char *why) {
  zt_strings copy = {0};
  zt_status status = ZT_OK;
  if (raw->kind == ZT_RAW_LIST)
    status = copy_strings(setting, raw, &copy, why);
  else if (raw->kind != ZT_RAW_STRING)
    status = wrong_type(setting, raw, why);
  else if (*raw->string)
    status = copy_string(raw->string, &copy.at[copy.n++], why);
  if (status != ZT_OK) {
    free_strings(&copy);
    return status;
  }
  free_strings(field);
  *field = copy;
  return ZT_OK;
}

void zt_setting_free(zt_settings *settings, const zt_setting *setting) {
  void *field = zt_setting_field(settings, setting);
  if (setting->type == ZT_SETTING_STRING)
    free(*(char **) field);
  else if (setting->type == ZT_SETTING_STRINGS)
    free_strings(field);
}

bool zt_setting_is_given(const zt_settings *settings,
                         const zt_setting *setting) {
  const void *value = zt_setting_value(settings, setting);
  if (setting->type == ZT_SETTING_STRING)
    return **(char *const *) value != '\0';
  if (setting->type == ZT_SETTING_STRINGS)
    return ((const zt_strings *) value)->n > 0;
  return *(const int64_t *) value != 0;
}

zt_status zt_setting_assign(zt_settings *settings, const zt_setting *setting,
                            const zt_raw *raw, char *why) {
  void *field = zt_setting_field(settings, setting);
  switch (setting->type) {
  case ZT_SETTING_BOOL:
    if (raw->kind != ZT_RAW_BOOL)
      return wrong_type(setting, raw, why);
    *(bool *) field = raw->boolean;
    return ZT_OK;
  case ZT_SETTING_INT:
    return assign_int(setting, raw, field, why);
  case ZT_SETTING_REAL:
    return assign_real(setting, raw, field, why);
  case ZT_SETTING_STRING:
    return assign_string(setting, raw, field, why);
  case ZT_SETTING_CHOICE:
    return assign_choice(setting, raw, field, why);
  case ZT_SETTING_BYTES:
    return assign_bytes(setting, raw, field, why);
  case ZT_SETTING_PAIR:
    return assign_list(setting, raw, field, why);
  case ZT_SETTING_STRINGS:
    return assign_strings(setting, raw, field, why);
  case ZT_SETTING_REALS:
    return assign_reals(setting, raw, field, why);
  }
  return zt_fail(ZT_ERR_INTERNAL, "%s: no such type", setting->key);
}

const char *zt_real_text(double value, char buffer[32]) {
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(buffer, 32, "%.*g", digits, value);
    if (strtod(buffer, NULL) == value)
      break;
  }
  if (isfinite(value) && !strpbrk(buffer, ".e"))
    strcat(buffer, ".0");
  return buffer;
}

static void write_string(const char *text, zt_text *out) {
  zt_text_append(out, "\"", 1);
  for (; *text; text++) {
    if (*text == '"' || *text == '\\')
      zt_text_append(out, "\\", 1);
    zt_text_append(out, text, 1);
  }
  zt_text_append(out, "\"", 1);
}

static void write_strings(const zt_strings *strings, zt_text *out) {
  if (strings->n < 2) {
    write_string(strings->n ? strings->at[0] : "", out);
    return;
  }
  for (int i = 0; i < strings->n; i++) {
    zt_text_add(out, i ? ", " : "[");
    write_string(strings->at[i], out);
  }
  zt_text_add(out, "]");
}

static void write_reals(const double *reals, int n, zt_text *out) {
  char number[32];
  zt_text_add(out, "[");
  for (int i = 0; i < n; i++)
    zt_text_add(out, "%s%s", i ? ", " : "", zt_real_text(reals[i], number));
  zt_text_add(out, "]");
}

static void write_bytes(size_t bytes, zt_text *out) {
  static const char *const unit[] = {"", "KiB", "MiB", "GiB", "TiB"};
  int u = 0;
  while (u < 4 && bytes > 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    u++;
  }
  zt_text_add(out, "\"%zu%s\"", bytes, unit[u]);
}

void zt_setting_write(const zt_settings *settings, const zt_setting *setting,
                      zt_text *out) {
  const void *field = zt_setting_value(settings, setting);
  char number[32];
  int choice;
  switch (setting->type) {
  case ZT_SETTING_BOOL:
    zt_text_add(out, "%s", *(const bool *) field ? "true" : "false");
    break;
  case ZT_SETTING_INT: {
    int64_t value = *(const int64_t *) field;
    zt_text_add(out, "%" PRId64 "%s", value, value > INT32_MAX ? "L" : "");
    break;
  }
  case ZT_SETTING_REAL:
    zt_text_add(out, "%s", zt_real_text(*(const double *) field, number));
    break;
  case ZT_SETTING_STRING:
    write_string(*(char *const *) field, out);
    break;
  case ZT_SETTING_CHOICE:
    memcpy(&choice, field, sizeof choice);
    zt_text_add(out, "\"%s\"", setting->choices[choice]);
    break;
  case ZT_SETTING_BYTES:
    write_bytes(*(const size_t *) field, out);
    break;
  case ZT_SETTING_PAIR:
    write_reals(field, 2, out);
    break;
  case ZT_SETTING_STRINGS:
    write_strings(field, out);
    break;
  case ZT_SETTING_REALS:
    write_reals(((const zt_reals *) field)->at, ((const zt_reals *) field)->n,
                out);
    break;
  }
}
