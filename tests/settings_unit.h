/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What the tests of the configuration share: writing a file, and what must be
 *  said about a wrong one. */
#ifndef ZT_TESTS_SETTINGS_UNIT_H
#define ZT_TESTS_SETTINGS_UNIT_H

#include "base/json.h"
#include "base/settings.h"
#include "base/settings_check.h"
#include "base/settings_json.h"
#include "base/settings_print.h"
#include "scratch.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

static inline const char *put_bytes(const char *name, const void *bytes,
                                    size_t size) {
  const char *path = scratch_path(name);
  FILE *f = fopen(path, "wb");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
  ck_assert_int_eq(fclose(f), 0);
  return path;
}

static inline const char *put(const char *name, const char *text) {
  return put_bytes(name, text, strlen(text));
}

static inline zt_status read_text(const char *text, zt_settings *settings) {
  return zt_settings_read(put("run.cfg", text), NULL, 0, settings);
}

/** A message must fit, be one line, and hold the parts. */
static inline void ck_message(const char *what, const char *part) {
  const char *message = zt_last_error();
  ck_assert_msg(strlen(message) <= 190, "%zu characters: %s", strlen(message),
                message);
  ck_assert_msg(!strchr(message, '\n'), "%s", message);
  ck_assert_msg(strstr(message, part) != NULL, "%.60s: '%s' lacks '%s'", what,
                message, part);
}

/** The text is refused with a message that holds the part. */
static inline void ck_refused(const char *text, const char *part) {
  zt_settings s;
  zt_status status = read_text(text, &s);
  ck_assert_msg(status == ZT_ERR_CONFIG, "'%.60s': %s", text,
                zt_status_text(status));
  ck_assert_ptr_null(s.origins);
  ck_message(text, part);
}

/** The settings as text, without origins; free() it. */
static inline char *printed(const zt_settings *settings) {
  char *text = NULL;
  size_t size = 0;
  FILE *f = open_memstream(&text, &size);
  ck_assert_ptr_nonnull(f);
  ck_zt_ok(zt_settings_print(settings, f, false));
  fclose(f);
  return text;
}

/** All that a training needs. */
#define NEEDED                                                                 \
  "run = { dir = \"r\"; };\n"                                                  \
  "model = { weights = \"w.h5\"; };\n"                                         \
  "data = { train = \"t.h5\"; };\n"                                            \
  "train = { steps = 10; batch = 8; microbatch = 2; };\n"

#endif
