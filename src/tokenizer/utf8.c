/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokenizer/utf8.h"

#include "config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#ifdef ZT_HAVE_UTF8PROC
#include <utf8proc.h>
#endif

/* Bytes of ASCII from here on. */
static size_t ascii_run(const char *bytes, size_t size) {
  size_t n = 0;
  uint64_t word;
  for (; n + sizeof word <= size; n += sizeof word) {
    memcpy(&word, bytes + n, sizeof word);
    if (word & 0x8080808080808080u)
      break;
  }
  while (n < size && (unsigned char) bytes[n] < 0x80)
    n++;
  return n;
}

/* The longest beginning of a character, in bytes, and whether it is whole. */
static size_t character(const unsigned char *b, size_t size, bool *whole) {
  size_t length = b[0] >= 0xF0 ? 4 : b[0] >= 0xE0 ? 3 : 2, n = 1;
  unsigned char least = b[0] == 0xE0 ? 0xA0 : b[0] == 0xF0 ? 0x90 : 0x80;
  unsigned char most = b[0] == 0xED ? 0x9F : b[0] == 0xF4 ? 0x8F : 0xBF;
  *whole = false;
  if (b[0] < 0xC2 || b[0] > 0xF4)
    return 1;
  for (; n < length && n < size && b[n] >= least && b[n] <= most; n++)
    least = 0x80, most = 0xBF;
  *whole = n == length;
  return n;
}

size_t zt_utf8_clean(const char *bytes, size_t size, bool last, zt_text *out) {
  size_t at = 0, kept = 0; /* good bytes kept .. at wait to be copied */
  while (at < size) {
    bool whole;
    at += ascii_run(bytes + at, size - at);
    if (at == size)
      break;
    size_t n = character((const unsigned char *) bytes + at, size - at, &whole);
    if (whole) {
      at += n;
      continue;
    }
    zt_text_append(out, bytes + kept, at - kept);
    kept = at;
    if (at + n == size && !last && (unsigned char) bytes[at] >= 0xC2 &&
        (unsigned char) bytes[at] <= 0xF4)
      return at;
    zt_text_append(out, "\xEF\xBF\xBD", 3);
    kept = at += n;
  }
  zt_text_append(out, bytes + kept, at - kept);
  return at;
}

bool zt_utf8_can_compose(void) {
#ifdef ZT_HAVE_UTF8PROC
  return true;
#else
  return false;
#endif
}

#ifdef ZT_HAVE_UTF8PROC
zt_status zt_utf8_compose(const char *bytes, size_t size, zt_text *out) {
  for (size_t at = 0; at < size;) {
    size_t plain = ascii_run(bytes + at, size - at);
    /* A mark may go with the last plain character; none goes with the next. */
    size_t from = at + plain < size && plain > 0 ? at + plain - 1 : at + plain;
    size_t end = at + plain;
    while (end < size && (unsigned char) bytes[end] >= 0x80)
      end++;
    zt_text_append(out, bytes + at, from - at);
    if (end > from) {
      utf8proc_uint8_t *composed;
      utf8proc_ssize_t n =
          utf8proc_map((const utf8proc_uint8_t *) bytes + from,
                       (utf8proc_ssize_t) (end - from), &composed,
                       UTF8PROC_STABLE | UTF8PROC_COMPOSE);
      if (n < 0)
        return zt_fail(ZT_ERR_MEMORY, "cannot normalize text: %s",
                       utf8proc_errmsg(n));
      zt_text_append(out, (char *) composed, (size_t) n);
      free(composed);
    }
    at = end;
  }
  return out->failed ? zt_fail(ZT_ERR_MEMORY, "no memory for text") : ZT_OK;
}
#else
zt_status zt_utf8_compose(const char *bytes, size_t size, zt_text *out) {
  (void) bytes, (void) size, (void) out;
  return zt_fail(ZT_ERR_UNAVAILABLE, "this build has no utf8proc");
}
#endif
