/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_print.h"

#include "base/settings_origins.h"
#include "base/settings_value.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of the key's group, without the dot. */
static size_t group_size(const char *key) {
  return (size_t) (strrchr(key, '.') - key);
}

static void indent(zt_text *out, int depth) {
  zt_text_add(out, "%*s", 2 * depth, "");
}

/* Close groups of `last` that do not hold `key`, open those of `key`.  Either
 * may be NULL: the begin and the end.  Returns the depth of the key. */
static int change_group(zt_text *out, const char *last, const char *key) {
  size_t common = 0;
  for (size_t i = 0; last && key && last[i] == key[i] && key[i]; i++)
    if (key[i] == '.')
      common = i + 1;
  int depth = 0, shared = 0;
  for (size_t i = 0; key && i < common; i++)
    shared += key[i] == '.';
  for (size_t i = 0; last && last[i]; i++)
    depth += last[i] == '.';
  while (last && depth > shared) {
    indent(out, --depth);
    zt_text_add(out, "};\n");
  }
  depth = shared;
  const char *name = key ? key + common : "";
  for (const char *dot; (dot = strchr(name, '.')); name = dot + 1) {
    indent(out, depth++);
    zt_text_add(out, "%.*s = {\n", (int) (dot - name), name);
  }
  return depth;
}

static void print_line(const zt_settings *settings, const zt_setting *setting,
                       int depth, bool with_origin, zt_text *out) {
  enum { COMMENT_COLUMN = 40 };
  const char *name = strrchr(setting->key, '.') + 1;
  char place[ZT_PLACE];
  size_t begin = out->size;
  indent(out, depth);
  if (setting->need && !zt_setting_is_given(settings, setting)) {
    zt_text_add(out, "// %s is not given\n", name);
    return;
  }
  zt_text_add(out, "%s = ", name);
  zt_setting_write(settings, setting, out);
  zt_text_add(out, ";");
  if (with_origin) {
    size_t used = out->size - begin;
    zt_text_add(out, "%*s  // %s",
                used < COMMENT_COLUMN ? (int) (COMMENT_COLUMN - used) : 0, "",
                zt_settings_origin(settings, setting, place));
  }
  zt_text_add(out, "\n");
}

static zt_status flush(zt_text *out, FILE *to) {
  zt_status status = ZT_OK;
  if (out->failed)
    status = zt_fail(ZT_ERR_MEMORY, "out of memory");
  else if (fwrite(out->data, 1, out->size, to) != out->size || fflush(to) != 0)
    status = zt_fail_errno(ZT_ERR_IO, "cannot write the configuration");
  zt_text_free(out);
  return status;
}

zt_status zt_settings_print(const zt_settings *settings, FILE *to,
                            bool with_origin) {
  zt_text out = {0};
  const char *last = NULL;
  for (int i = 0; i < zt_setting_count; i++) {
    const zt_setting *setting = &zt_setting_table[i];
    int depth = change_group(&out, last, setting->key);
    print_line(settings, setting, depth, with_origin, &out);
    last = setting->key;
  }
  change_group(&out, last, NULL);
  return flush(&out, to);
}

/* The default as a file would have it, "" if there is none. */
static void default_text(const zt_setting *setting, char *text, size_t size) {
  bool quoted = setting->type == ZT_SETTING_STRING ||
                setting->type == ZT_SETTING_CHOICE ||
                setting->type == ZT_SETTING_BYTES ||
                setting->type == ZT_SETTING_STRINGS;
  snprintf(text, size, "%s%s%s", quoted ? "\"" : "",
           setting->value ? setting->value : "", quoted ? "\"" : "");
}

static const char *unit_of(const zt_setting *setting) {
  return setting->unit ? setting->unit : "";
}

/* Help in lines of at most 76 letters, indented. */
static void wrap(const char *text, FILE *to) {
  enum { WIDTH = 74 };
  while (*text) {
    size_t n = strlen(text);
    if (n > WIDTH)
      for (n = WIDTH; text[n] != ' ' && n > 0;)
        n--;
    fprintf(to, "  %.*s\n", (int) n, text);
    text += n + (text[n] == ' ');
  }
}

static void explain(const zt_setting *setting, FILE *to) {
  char domain[128], value[64];
  fprintf(to, "%s\n", setting->key);
  wrap(setting->help, to);
  fprintf(to, "  Value:     %s%s%s\n", zt_setting_domain(setting, domain),
          setting->unit ? "; " : "", unit_of(setting));
  default_text(setting, value, sizeof value);
  fprintf(to, "  Default:   %s\n",
          setting->value ? value : "none, must be given");
  fprintf(to, "  On resume: %s\n",
          setting->fixed ? "must be as stored" : "may be changed");
}

zt_status zt_settings_explain(const char *key, FILE *to) {
  const zt_setting *single;
  size_t n = strlen(key);
  bool all = !strcmp(key, "all"), group = zt_setting_is_group(key);
  if (!all && !group)
    ZT_TRY(zt_setting_lookup(key, &single));
  bool first = true;
  for (int i = 0; i < zt_setting_count; i++) {
    const zt_setting *setting = &zt_setting_table[i];
    bool inside = !strncmp(setting->key, key, n) &&
                  setting->key[n] == (group ? '.' : '\0');
    if (!all && !inside)
      continue;
    if (!first)
      fputc('\n', to);
    explain(setting, to);
    first = false;
  }
  return ZT_OK;
}

void zt_settings_list_keys(FILE *to) {
  for (int i = 0; i < zt_setting_count; i++)
    fprintf(to, "%s\n", zt_setting_table[i].key);
}

/* Text for roff: a hyphen that is one, and no escapes or requests. */
static void roff(const char *text, FILE *to) {
  for (; *text; text++) {
    if (*text == '-')
      fputs("\\-", to);
    else if (*text == '\\')
      fputs("\\e", to);
    else
      fputc(*text, to);
  }
}

static void man_entry(const zt_setting *setting, FILE *to) {
  char domain[128], value[64];
  fprintf(to, ".TP\n.B %s\n", setting->key);
  roff(setting->help, to);
  fputs("\n.br\n", to);
  roff(zt_setting_domain(setting, domain), to);
  if (setting->unit)
    fprintf(to, "; %s", setting->unit);
  default_text(setting, value, sizeof value);
  fputs(setting->value ? "; default " : "; must be given", to);
  roff(setting->value ? value : "", to);
  fputs(setting->fixed ? "; fixed on resume.\n" : ".\n", to);
}

void zt_settings_man(FILE *to) {
  const char *last = "";
  for (int i = 0; i < zt_setting_count; i++) {
    const char *key = zt_setting_table[i].key;
    size_t n = group_size(key);
    if (strncmp(last, key, n + 1))
      fprintf(to, ".SS %.*s\n", (int) n, key);
    man_entry(&zt_setting_table[i], to);
    last = key;
  }
}
