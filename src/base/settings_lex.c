/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/settings_lex.h"

#include "base/memory.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Kinds of the last token; signs stand for themselves. */
enum { NAME = 'n', VALUE = 'v' };

void zt_lex_problem(zt_lexer *lx, int flat, const char *format, ...) {
  char place[ZT_PLACE];
  va_list args;
  va_start(args, format);
  zt_problem_v(lx->problems, flat, zt_scan_place(lx->scan, flat, place), format,
               args);
  va_end(args);
  lx->scan->broken = true;
}

/* An earlier line as seen from this one: "line 7" or "FILE:7". */
static const char *earlier(const zt_lexer *lx, int flat, char place[ZT_PLACE]) {
  int file, line, file_now, line_now;
  zt_scan_find(lx->scan, flat, &file, &line);
  zt_scan_find(lx->scan, lx->flat, &file_now, &line_now);
  if (file != file_now)
    return zt_scan_place(lx->scan, flat, place);
  snprintf(place, ZT_PLACE, "line %d", line);
  return place;
}

/* Pass the source on as it is, up to `to`. */
static void copy(zt_lexer *lx, zt_source *src, const char *to) {
  zt_text_append(&lx->scan->text, src->at, (size_t) (to - src->at));
  for (; src->at < to; src->at++)
    if (*src->at == '\n') {
      lx->flat++;
      src->line++;
    }
}

static bool is_name_start(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '*';
}

static bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

static bool is_hex(char c) {
  return is_digit(c) || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

static bool is_name(char c) {
  return is_name_start(c) || is_digit(c) || c == '-' || c == '_';
}

/* Whether a value and not a key may come next. */
static bool expects_value(const zt_lexer *lx) {
  char in = lx->n_open ? lx->open[lx->n_open - 1].sign : '{';
  return lx->last == '=' || (in != '{' && (lx->last == in || lx->last == ','));
}

/* A name is followed by = and nothing else. */
static void expect_equals(zt_lexer *lx) {
  char shown[40];
  if (lx->last == NAME)
    zt_lex_problem(lx, lx->name_flat, "expected = after %s",
                   zt_shorten(lx->name, false, shown, sizeof shown));
}

static bool lex_name(zt_lexer *lx, zt_source *src) {
  const char *end = src->at;
  char shown[32];
  expect_equals(lx);
  while (is_name(*end))
    end++;
  size_t n = (size_t) (end - src->at);
  if (n >= ZT_NAME_SIZE) {
    zt_lex_problem(lx, lx->flat, "a name of %zu letters", n);
    return false;
  }
  memcpy(lx->name, src->at, n);
  lx->name[n] = '\0';
  lx->name_flat = lx->flat;
  bool truth = !strcasecmp(lx->name, "true") || !strcasecmp(lx->name, "false");
  if (!truth && expects_value(lx))
    zt_lex_problem(lx, lx->flat,
                   "%s: text needs quotes; bare are true and false",
                   zt_shorten(lx->name, false, shown, sizeof shown));
  lx->last = truth || expects_value(lx) ? VALUE : NAME;
  copy(lx, src, end);
  return true;
}

/* Where the number at `s` ends, as libconfig cuts it. */
static const char *number_end(const char *s, bool *real, bool *digits) {
  const char *e = s;
  *real = *digits = false;
  if (e[0] == '0' && (e[1] == 'x' || e[1] == 'X') && is_hex(e[2])) {
    *digits = true;
    for (e += 2; is_hex(*e);)
      e++;
    return e;
  }
  if (*e == '-' || *e == '+')
    e++;
  for (; is_digit(*e) || (*e == '.' && !*real); e++) {
    *digits |= is_digit(*e);
    *real |= *e == '.';
  }
  if (*e == 'e' || *e == 'E') {
    const char *x = e + 1;
    if (*x == '-' || *x == '+')
      x++;
    if (is_digit(*x)) {
      *real = true;
      for (e = x; is_digit(*e);)
        e++;
    }
  }
  return e;
}

/* Integers that libconfig would wrap or saturate.  One that only lacks its L
 * gets it, so that the reading goes on with the value that was meant. */
static bool check_integer(zt_lexer *lx, const char *text, bool suffixed) {
  bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
  bool minus = text[0] == '-';
  char shown[40];
  errno = 0;
  uint64_t size =
      strtoull(text + (minus || text[0] == '+'), NULL, hex ? 16 : 10);
  zt_shorten(text, false, shown, sizeof shown);
  if (errno == ERANGE || size > (uint64_t) INT64_MAX + (minus && !hex)) {
    zt_lex_problem(lx, lx->flat, "integer %s has more than 64 bits", shown);
    return false;
  }
  if (suffixed || size <= (uint64_t) INT32_MAX + minus)
    return false;
  char place[ZT_PLACE];
  zt_problem(lx->problems, lx->flat, zt_scan_place(lx->scan, lx->flat, place),
             "integer %s has more than 32 bits: write it with an L, %sL", shown,
             shown);
  return true;
}

static bool lex_number(zt_lexer *lx, zt_source *src) {
  bool real, digits;
  const char *end = number_end(src->at, &real, &digits), *rest = end;
  bool suffixed = !real && *rest == 'L';
  if (suffixed)
    rest += rest[1] == 'L' ? 2 : 1;
  const char *whole = rest;
  while (is_name(*whole) || *whole == '.')
    whole++;
  size_t n = (size_t) (whole - src->at);
  char *text = zt_calloc(n + 1, 1), shown[32];
  if (!text) {
    lx->status = ZT_ERR_MEMORY;
    return false;
  }
  memcpy(text, src->at, n);
  bool lacks_suffix = false;
  bool dotted = lx->last == NAME && *text == '.' && is_name_start(text[1]);
  if (!dotted)
    expect_equals(lx);
  if (dotted)
    zt_lex_problem(lx, lx->flat,
                   "dots are for -s; here write %s = { %s = ...; };", lx->name,
                   zt_shorten(text + 1, false, shown, sizeof shown));
  else if (!digits || whole != rest)
    zt_lex_problem(lx, lx->flat, "%s is not a number; text needs quotes",
                   zt_shorten(text, false, shown, sizeof shown));
  else if (!real)
    lacks_suffix = check_integer(lx, text, suffixed);
  free(text);
  copy(lx, src, whole);
  if (lacks_suffix)
    zt_text_append(&lx->scan->text, "L", 1);
  lx->last = VALUE;
  return true;
}

static bool lex_string(zt_lexer *lx, zt_source *src) {
  const char *end = src->at + 1;
  while (*end != '"' && *end != '\n' && *end)
    end += end[0] == '\\' && (end[1] == '"' || end[1] == '\\') ? 2 : 1;
  if (*end != '"') {
    zt_lex_problem(lx, lx->flat, "a string is not closed on its line");
    return false;
  }
  expect_equals(lx);
  copy(lx, src, end + 1);
  lx->last = VALUE;
  return true;
}

static bool lex_comment(zt_lexer *lx, zt_source *src) {
  const char *end;
  if (src->at[0] == '/' && src->at[1] == '*') {
    end = strstr(src->at + 2, "*/");
    if (!end) {
      zt_lex_problem(lx, lx->flat,
                     "a comment is opened with /* and never closed");
      return false;
    }
    end += 2;
  } else {
    end = src->at + strcspn(src->at, "\n");
  }
  copy(lx, src, end);
  return true;
}

static bool add_key(zt_lexer *lx, const char *name) {
  int parent = lx->n_open ? lx->open[lx->n_open - 1].key : -1;
  if (lx->n_keys == ZT_SCAN_KEYS) {
    zt_lex_problem(lx, lx->flat, "more than %d keys", (int) ZT_SCAN_KEYS);
    return false;
  }
  if (!zt_grow(&lx->keys, &lx->keys_capacity, (size_t) lx->n_keys,
               sizeof *lx->keys)) {
    lx->status = ZT_ERR_MEMORY;
    return false;
  }
  for (int i = 0; *name && i < lx->n_keys; i++)
    if (lx->keys[i].parent == parent && !strcmp(lx->keys[i].name, name)) {
      char first[ZT_PLACE], shown[40];
      zt_lex_problem(lx, lx->flat, "'%s' is set twice, first in %s",
                     zt_shorten(name, false, shown, sizeof shown),
                     earlier(lx, lx->keys[i].flat, first));
      break;
    }
  zt_lexed_key *added = &lx->keys[lx->n_keys++];
  *added = (zt_lexed_key){.parent = parent, .flat = lx->flat};
  snprintf(added->name, sizeof added->name, "%s", name);
  return true;
}

static bool open_bracket(zt_lexer *lx, char sign) {
  if (lx->n_open == ZT_SCAN_DEPTH) {
    zt_lex_problem(lx, lx->flat, "brackets are nested deeper than %d",
                   (int) ZT_SCAN_DEPTH);
    return false;
  }
  /* A group in a list has no name, and its keys are its own. */
  if (lx->last != '=' && !add_key(lx, ""))
    return false;
  lx->open[lx->n_open++] = (zt_bracket){sign, lx->flat, lx->n_keys - 1};
  return true;
}

static bool close_bracket(zt_lexer *lx, char sign) {
  char opener = sign == '}' ? '{' : sign == ']' ? '[' : '(';
  if (lx->n_open == 0) {
    zt_lex_problem(lx, lx->flat, "'%c' closes nothing", sign);
    return false;
  }
  zt_bracket *top = &lx->open[lx->n_open - 1];
  if (top->sign != opener) {
    char opened[ZT_PLACE];
    zt_lex_problem(lx, lx->flat, "'%c' closes the '%c' of %s", sign, top->sign,
                   earlier(lx, top->flat, opened));
    return false;
  }
  lx->n_open--;
  return true;
}

static bool lex_sign(zt_lexer *lx, zt_source *src) {
  char c = *src->at, passed = c;
  bool fine = true;
  if (c == ':')
    c = '=';
  if (c != '=')
    expect_equals(lx);
  if (c == '=')
    fine = add_key(lx, lx->last == NAME ? lx->name : "");
  else if (c == '{' || c == '[' || c == '(')
    fine = open_bracket(lx, c);
  else if (c == '}' || c == ']' || c == ')')
    fine = close_bracket(lx, c);
  /* libconfig's arrays hold numbers of one type, which [0, 0.999] are not; its
   * lists hold any. */
  if (c == '[')
    passed = '(';
  if (c == ']')
    passed = ')';
  lx->last = c == '}' || c == ']' || c == ')' ? VALUE : c;
  zt_text_append(&lx->scan->text, &passed, 1);
  src->at++;
  return fine;
}

/* At the start of a line: the name in `@include "NAME"`, NULL if that is not
 * what stands there. */
static const char *find_include(const char *s) {
  s += strspn(s, " \t");
  if (strncmp(s, "@include", 8) || !strchr(" \t", s[8]) || !s[8])
    return NULL;
  s += 8 + strspn(s + 8, " \t");
  return *s == '"' ? s + 1 : NULL;
}

static bool lex_other(zt_lexer *lx, const zt_source *src) {
  unsigned char c = (unsigned char) *src->at;
  if (c == '@')
    zt_lex_problem(lx, lx->flat,
                   "expected @include \"FILE\" at the start of a line");
  else if (c > 0x20 && c < 0x7F)
    zt_lex_problem(lx, lx->flat, "unexpected '%c'", c);
  else
    zt_lex_problem(lx, lx->flat, "unexpected byte 0x%02x outside quotes", c);
  return false;
}

bool zt_lex(zt_lexer *lx, zt_source *src) {
  bool line_start = true;
  while (src->at < src->end) {
    const char *s = src->at, *included;
    bool fine = true;
    if (line_start && (included = find_include(s)))
      fine = lx->include(lx, src, included);
    else if (*s == '\n' || *s == ' ' || *s == '\t' || *s == '\r' || *s == '\f')
      copy(lx, src, s + 1);
    else if (*s == '#' || (*s == '/' && (s[1] == '/' || s[1] == '*')))
      fine = lex_comment(lx, src);
    else if (*s == '"')
      fine = lex_string(lx, src);
    else if (is_name_start(*s))
      fine = lex_name(lx, src);
    else if (is_digit(*s) || *s == '.' ||
             ((*s == '-' || *s == '+') && (is_digit(s[1]) || s[1] == '.')))
      fine = lex_number(lx, src);
    else if (strchr("=:,;{}[]()", *s))
      fine = lex_sign(lx, src);
    else
      fine = lex_other(lx, src);
    if (!fine) {
      lx->stopped = true;
      return false;
    }
    line_start = src->at[-1] == '\n';
  }
  expect_equals(lx);
  return true;
}
