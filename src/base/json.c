/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/json.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static zt_status read_all(int fd, const char *path, char *to, size_t size) {
  for (size_t done = 0; done < size;) {
    ssize_t n = read(fd, to + done, size - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return zt_fail_errno(ZT_ERR_IO, "%s: cannot read", path);
    if (n == 0)
      return zt_fail(ZT_ERR_IO, "%s: became shorter while it was read", path);
    done += (size_t) n;
  }
  return ZT_OK;
}

zt_status zt_read_file(const char *path, size_t limit, char **bytes,
                       size_t *size) {
  /* O_NONBLOCK: a pipe without a writer must not hold us up. */
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return zt_fail_open(path);
  struct stat st;
  zt_status status = ZT_OK;
  char *data = NULL;
  if (fstat(fd, &st) != 0)
    status = zt_fail_errno(ZT_ERR_IO, "%s: cannot stat", path);
  else if (!S_ISREG(st.st_mode))
    status = zt_fail(ZT_ERR_NOINPUT, "%s: not a regular file", path);
  else if ((uint64_t) st.st_size > limit)
    status = zt_fail(ZT_ERR_DATA, "%s: %" PRId64 " bytes, at most %zu expected",
                     path, (int64_t) st.st_size, limit);
  else if (!(data = zt_calloc((size_t) st.st_size + 1, 1)))
    status = ZT_ERR_MEMORY;
  else
    status = read_all(fd, path, data, (size_t) st.st_size);
  close(fd);
  if (status != ZT_OK) {
    free(data);
    return status;
  }
  *bytes = data;
  if (size)
    *size = (size_t) st.st_size;
  return ZT_OK;
}

/* Hugging Face writes 10^30 for "no limit", which jansson refuses: numbers of
 * so many digits become reals.  The text with ".0" behind each, NULL without
 * memory. */
static char *widen_integers(const char *bytes, size_t size, size_t *wide) {
  enum { DIGITS = 19 }; /* of INT64_MAX */
  char *out = zt_calloc(size + 2 * (size / DIGITS) + 1, 1);
  bool quoted = false, escaped = false, real = false;
  size_t digits = 0, n = 0; /* digits: of the number so far */
  for (size_t i = 0; out && i < size; i++) {
    char c = bytes[i];
    bool number = !quoted && c && strchr("+-.0123456789eE", c);
    if (!number && digits > DIGITS && !real) {
      out[n++] = '.';
      out[n++] = '0';
    }
    real = number && (real || c == '.' || c == 'e' || c == 'E');
    digits = number ? digits + (c >= '0' && c <= '9') : 0;
    quoted ^= c == '"' && !escaped;
    escaped = quoted && c == '\\' && !escaped;
    out[n++] = c;
  }
  *wide = n;
  return out;
}

static json_t *parse_wide(const char *bytes, size_t size, json_error_t *error) {
  size_t n;
  char *wide = widen_integers(bytes, size, &n);
  json_t *root =
      wide ? json_loadb(wide, n, JSON_REJECT_DUPLICATES, error) : NULL;
  free(wide);
  return root;
}

zt_status zt_json_parse(const char *bytes, size_t size, const char *path,
                        json_t **object) {
  json_error_t error;
  json_t *root = json_loadb(bytes, size, JSON_REJECT_DUPLICATES, &error);
  if (!root && json_error_code(&error) == json_error_numeric_overflow)
    root = parse_wide(bytes, size, &error);
  /* It quotes the file: nothing that could break the line or a terminal. */
  for (char *c = error.text; !root && *c; c++)
    if (*c < ' ' || *c > '~')
      *c = '?';
  if (!root)
    return zt_fail(ZT_ERR_DATA, "%s:%d: not valid JSON: %.100s", path,
                   error.line, error.text);
  if (!json_is_object(root)) {
    json_decref(root);
    return zt_fail(ZT_ERR_DATA, "%s: not a JSON object", path);
  }
  *object = root;
  return ZT_OK;
}

zt_status zt_json_read(const char *path, size_t limit, json_t **object) {
  char *bytes;
  size_t size;
  ZT_TRY(zt_read_file(path, limit, &bytes, &size));
  zt_status status = zt_json_parse(bytes, size, path, object);
  free(bytes);
  return status;
}

/* The value of a key that is neither missing nor null, else NULL. */
static json_t *find(json_t *object, const char *key) {
  json_t *value = json_object_get(object, key);
  return json_is_null(value) ? NULL : value;
}

static zt_status missing(const char *path, const char *key, bool required) {
  return required ? zt_fail(ZT_ERR_DATA, "%s: no \"%s\"", path, key) : ZT_OK;
}

zt_status zt_json_int(json_t *object, const char *path, const char *key,
                      bool required, int64_t least, int64_t most,
                      int64_t *value) {
  json_t *v = find(object, key);
  if (!v)
    return missing(path, key, required);
  if (!json_is_integer(v))
    return zt_fail(ZT_ERR_DATA, "%s: \"%s\" is not an integer", path, key);
  int64_t n = json_integer_value(v);
  if (n < least || n > most)
    return zt_fail(ZT_ERR_DATA,
                   "%s: \"%s\" is %" PRId64 ", outside %" PRId64 "..%" PRId64,
                   path, key, n, least, most);
  *value = n;
  return ZT_OK;
}

zt_status zt_json_real(json_t *object, const char *path, const char *key,
                       bool required, double *value) {
  json_t *v = find(object, key);
  if (!v)
    return missing(path, key, required);
  if (!json_is_number(v))
    return zt_fail(ZT_ERR_DATA, "%s: \"%s\" is not a number", path, key);
  *value = json_number_value(v);
  return ZT_OK;
}

zt_status zt_json_bool(json_t *object, const char *path, const char *key,
                       bool required, bool *value) {
  json_t *v = find(object, key);
  if (!v)
    return missing(path, key, required);
  if (!json_is_boolean(v))
    return zt_fail(ZT_ERR_DATA, "%s: \"%s\" is neither true nor false", path,
                   key);
  *value = json_is_true(v);
  return ZT_OK;
}

zt_status zt_json_string(json_t *object, const char *path, const char *key,
                         bool required, const char **value) {
  json_t *v = find(object, key);
  if (!v)
    return missing(path, key, required);
  if (!json_is_string(v))
    return zt_fail(ZT_ERR_DATA, "%s: \"%s\" is not a string", path, key);
  *value = json_string_value(v);
  return ZT_OK;
}
