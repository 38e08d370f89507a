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

static bool read_pair(const char *from, const char *to, zt_raw *raw) {
  bool square = to - from > 2 && from[0] == '[' && to[-1] == ']';
  bool round = to - from > 2 && from[0] == '(' && to[-1] == ')';
  const char *comma = memchr(from, ',', (size_t) (to - from));
  if ((!square && !round) || !comma)
    return false;
  for (int i = 0; i < 2; i++) {
    const char *a = i == 0 ? from + 1 : comma + 1;
    const char *b = i == 0 ? comma : to - 1;
    trim(&a, &b);
    if (!read_number(a, b, raw))
      return false;
    raw->pair[i] = as_real(raw);
  }
  raw->kind = ZT_RAW_PAIR;
  return true;
}

/* Quotes are optional; inside them \" and \\ are what they are in a file. */
static void read_string(const char *from, const char *to, zt_raw *raw,
                        zt_text *hold) {
  bool quoted = to - from >= 2 && *from == '"' && to[-1] == '"';
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
  raw->kind = ZT_RAW_STRING;
  raw->string = hold->data ? hold->data : "";
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
                 setting->type == ZT_SETTING_BYTES;
  if (!is_text && read_number(from, to, raw))
    return;
  if (!is_text && read_pair(from, to, raw))
    return;
  if (!is_text && ((n == 4 && !strncmp(from, "true", n)) ||
                   (n == 5 && !strncmp(from, "false", n)))) {
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
  case ZT_RAW_PAIR:
    snprintf(found, 64, "two numbers");
    break;
  }
}

/* The value has the type of its key and is wrong all the same. */
static zt_status refuse(const zt_setting *setting, const zt_raw *raw,
                        char *why) {
  char domain[128], found[64];
  describe(raw, found);
  snprintf(why, ZT_REASON, "%s%s: must be %s",
           raw->kind == ZT_RAW_PAIR ? "" : " = ",
           raw->kind == ZT_RAW_PAIR ? "" : found,
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

static zt_status assign_pair(const zt_setting *setting, const zt_raw *raw,
                             double field[2], char *why) {
  if (raw->kind != ZT_RAW_PAIR)
    return wrong_type(setting, raw, why);
  if (!in_range(raw->pair[0], setting->range) ||
      !in_range(raw->pair[1], setting->range))
    return refuse(setting, raw, why);
  field[0] = raw->pair[0] + 0.0;
  field[1] = raw->pair[1] + 0.0;
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
static zt_status assign_string(const zt_setting *setting, const zt_raw *raw,
                               char **field, char *why) {
  enum { LONGEST = 4095 };
  const char *reason = NULL;
  if (raw->kind != ZT_RAW_STRING)
    return wrong_type(setting, raw, why);
  size_t n = strlen(raw->string);
  if (n > LONGEST)
    reason = "longer than 4095 bytes";
  else if (!zt_is_utf8(raw->string, n))
    reason = "not UTF-8 text";
  for (size_t i = 0; !reason && i < n; i++)
    if ((unsigned char) raw->string[i] < 0x20 || raw->string[i] == 0x7F)
      reason = "has a control character";
  if (reason) {
    snprintf(why, ZT_REASON, ": %s", reason);
    return ZT_ERR_CONFIG;
  }
  char *copy = zt_strdup(raw->string);
  if (!copy)
    return ZT_ERR_MEMORY;
  free(*field);
  *field = copy;
  return ZT_OK;
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
    return assign_pair(setting, raw, field, why);
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
  char a[32], b[32];
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
    zt_text_add(out, "%s", zt_real_text(*(const double *) field, a));
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
    zt_text_add(out, "[%s, %s]", zt_real_text(((const double *) field)[0], a),
                zt_real_text(((const double *) field)[1], b));
    break;
  }
}
