/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/config_dtype.h"

#include <stdbool.h>
#include <string.h>

/* Where the string that begins at a quote ends, behind its last quote. */
static size_t skip_string(const char *json, size_t size, size_t at) {
  for (at++; at < size && json[at] != '"'; at++)
    if (json[at] == '\\')
      at++;
  return at < size ? at + 1 : size;
}

static size_t skip_space(const char *json, size_t size, size_t at) {
  while (at < size && strchr(" \t\r\n", json[at]))
    at++;
  return at;
}

static bool is_dtype_key(const char *word, size_t length) {
  static const char *const keys[] = {"\"dtype\"", "\"torch_dtype\""};
  for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
    if (length == strlen(keys[i]) && !memcmp(word, keys[i], length))
      return true;
  return false;
}

/* The start of the string value behind a key that ends here; 0: it has none. */
static size_t string_value(const char *json, size_t size, size_t at) {
  at = skip_space(json, size, at);
  if (at == size || json[at] != ':')
    return 0;
  at = skip_space(json, size, at + 1);
  return at < size && json[at] == '"' ? at : 0;
}

void zt_config_set_dtype(const char *json, size_t size, zt_dtype dtype,
                         zt_text *out) {
  static const char *const names[] = {
      [ZT_FP32] = "float32", [ZT_BF16] = "bfloat16", [ZT_FP16] = "float16"};
  int depth = 0;
  size_t copied = 0;
  for (size_t at = 0; at < size;) {
    char c = json[at];
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (c != '"') {
      at++;
      continue;
    }
    size_t end = skip_string(json, size, at);
    size_t value = string_value(json, size, end);
    if (depth == 1 && value && is_dtype_key(json + at, end - at)) {
      zt_text_append(out, json + copied, value - copied);
      zt_text_add(out, "\"%s\"", names[dtype]);
      end = copied = skip_string(json, size, value);
    }
    at = end;
  }
  zt_text_append(out, json + copied, size - copied);
}
