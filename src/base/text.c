/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(zt_text *text, size_t more) {
  if (text->failed)
    return false;
  size_t needed = text->size + more + 1;
  if (needed <= text->capacity)
    return true;
  size_t capacity = text->capacity ? text->capacity : 64;
  while (capacity < needed)
    capacity *= 2;
  char *grown = realloc(text->data, capacity);
  if (!grown) {
    text->failed = true;
    return false;
  }
  text->data = grown;
  text->capacity = capacity;
  return true;
}

void zt_text_append(zt_text *text, const char *bytes, size_t size) {
  if (!reserve(text, size))
    return;
  memcpy(text->data + text->size, bytes, size);
  text->size += size;
  text->data[text->size] = '\0';
}

void zt_text_add(zt_text *text, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(NULL, 0, format, args);
  va_end(args);
  if (n < 0 || !reserve(text, (size_t) n))
    return;
  va_start(args, format);
  vsnprintf(text->data + text->size, (size_t) n + 1, format, args);
  va_end(args);
  text->size += (size_t) n;
}

/* Length of the well-formed UTF-8 sequence at s, 0 if there is none. */
static size_t utf8_length(const unsigned char *s, size_t left) {
  static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
  size_t n = s[0] < 0x80   ? 1
             : s[0] < 0xC2 ? 0
             : s[0] < 0xE0 ? 2
             : s[0] < 0xF0 ? 3
             : s[0] < 0xF5 ? 4
                           : 0;
  if (n == 0 || n > left)
    return 0;
  uint32_t code = n == 1 ? s[0] : s[0] & (0x7Fu >> n);
  for (size_t i = 1; i < n; i++) {
    if ((s[i] & 0xC0) != 0x80)
      return 0;
    code = code << 6 | (s[i] & 0x3F);
  }
  if (n > 1 && (code < least[n] || code > 0x10FFFF ||
                (code >= 0xD800 && code <= 0xDFFF)))
    return 0;
  return n;
}

bool zt_is_utf8(const char *bytes, size_t size) {
  const unsigned char *s = (const unsigned char *) bytes;
  for (size_t i = 0, n; i < size; i += n)
    if ((n = utf8_length(s + i, size - i)) == 0)
      return false;
  return true;
}

void zt_text_add_json(zt_text *text, const char *bytes, size_t size) {
  const unsigned char *s = (const unsigned char *) bytes;
  zt_text_append(text, "\"", 1);
  for (size_t i = 0; i < size;) {
    size_t n = utf8_length(s + i, size - i);
    if (n == 0) {
      zt_text_append(text, "\xEF\xBF\xBD", 3);
      i++;
      continue;
    }
    if (s[i] == '"' || s[i] == '\\')
      zt_text_add(text, "\\%c", s[i]);
    else if (s[i] == '\n')
      zt_text_append(text, "\\n", 2);
    else if (s[i] < 0x20 || s[i] == 0x7F)
      zt_text_add(text, "\\u%04x", s[i]);
    else
      zt_text_append(text, bytes + i, n);
    i += n;
  }
  zt_text_append(text, "\"", 1);
}

void zt_text_free(zt_text *text) {
  free(text->data);
  *text = (zt_text){0};
}

const char *zt_human_bytes(double bytes, char buffer[32]) {
  static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  int u = 0;
  while (bytes >= 1024 && u < 5) {
    bytes /= 1024;
    u++;
  }
  snprintf(buffer, 32, u ? "%.2f %s" : "%.0f %s", bytes, unit[u]);
  return buffer;
}

const char *zt_human_time(double seconds, char buffer[32]) {
  if (!isfinite(seconds) || seconds < 0)
    snprintf(buffer, 32, "?");
  else if (seconds < 100)
    snprintf(buffer, 32, "%.1f s", seconds);
  else if (seconds < 6000)
    snprintf(buffer, 32, "%dm %02ds", (int) (seconds / 60),
             (int) fmod(seconds, 60));
  else
    snprintf(buffer, 32, "%ldh %02dm", (long) (seconds / 3600),
             (int) (fmod(seconds, 3600) / 60));
  return buffer;
}

bool zt_parse_bytes(const char *text, size_t *bytes) {
  static const struct {
    const char *name;
    double factor;
  } unit[] = {{"", 1},       {"B", 1},        {"k", 1e3},    {"kB", 1e3},
              {"KB", 1e3},   {"MB", 1e6},     {"GB", 1e9},   {"TB", 1e12},
              {"K", 0x1p10}, {"KiB", 0x1p10}, {"M", 0x1p20}, {"MiB", 0x1p20},
              {"G", 0x1p30}, {"GiB", 0x1p30}, {"T", 0x1p40}, {"TiB", 0x1p40}};
  char *end;
  if (*text != '.' && (*text < '0' || *text > '9'))
    return false;
  double value = strtod(text, &end);
  while (*end == ' ')
    end++;
  for (size_t i = 0; i < sizeof unit / sizeof *unit; i++)
    if (!strcmp(end, unit[i].name)) {
      value *= unit[i].factor;
      if (!(value >= 0 && value < 0x1p62))
        return false;
      *bytes = (size_t) value;
      return true;
    }
  return false;
}

int zt_edit_distance(const char *a, const char *b) {
  enum { MOST = 96 };
  int n = (int) strlen(a), m = (int) strlen(b);
  if (n > MOST || m > MOST)
    return 99;
  /* Damerau-Levenshtein with three rolling rows. */
  int row[3][MOST + 1];
  for (int j = 0; j <= m; j++)
    row[0][j] = j;
  for (int i = 1; i <= n; i++) {
    int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
    now[0] = i;
    for (int j = 1; j <= m; j++) {
      int best = last[j - 1] + (a[i - 1] != b[j - 1]);
      if (last[j] + 1 < best)
        best = last[j] + 1;
      if (now[j - 1] + 1 < best)
        best = now[j - 1] + 1;
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
          before[j - 2] + 1 < best)
        best = before[j - 2] + 1;
      now[j] = best;
    }
  }
  return row[n % 3][m];
}

zt_status zt_path(char path[PATH_MAX], const char *format, ...) {
  va_list args;
  va_start(args, format);
  int n = vsnprintf(path, PATH_MAX, format, args);
  va_end(args);
  if (n < PATH_MAX)
    return ZT_OK;
  return zt_fail(ZT_ERR_USAGE, "%.60s...: the path is too long", path);
}

bool zt_starts_with(const char *text, const char *prefix) {
  return !strncmp(text, prefix, strlen(prefix));
}

bool zt_ends_with(const char *text, const char *suffix) {
  size_t n = strlen(text), m = strlen(suffix);
  return n >= m && !strcmp(text + n - m, suffix);
}
