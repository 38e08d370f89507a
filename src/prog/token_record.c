/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/token_record.h"

#include "prog/token_input.h"

#include <stdlib.h>
#include <string.h>

enum { ADD, MASK, END, EXPECT };

/* Of each call; the ids of an ADD follow. */
typedef struct call {
  int32_t what, argument; /* stream, learnt or kind */
  int64_t n;              /* ids, tokens or the line */
} call;

zt_status zt_token_record_reserve(zt_token_record *r, size_t size) {
  size_t wanted = r->capacity ? r->capacity : 1 << 16;
  if (size <= r->capacity)
    return ZT_OK;
  while (wanted < size)
    wanted *= 2;
  char *grown = realloc(r->bytes, wanted);
  if (!grown)
    return zt_fail(ZT_ERR_MEMORY, "no memory for %zu bytes of tokens", wanted);
  r->bytes = grown;
  r->capacity = wanted;
  return ZT_OK;
}

static zt_status put(zt_token_record *r, int what, int argument, int64_t n,
                     const void *data, size_t size) {
  call c = {.what = what, .argument = argument, .n = n};
  ZT_TRY(zt_token_record_reserve(r, r->size + sizeof c + size));
  memcpy(r->bytes + r->size, &c, sizeof c);
  if (size > 0)
    memcpy(r->bytes + r->size + sizeof c, data, size);
  r->size += sizeof c + size;
  return ZT_OK;
}

zt_status zt_token_record_add(zt_token_record *r, int stream,
                              const int32_t *ids, size_t n) {
  return put(r, ADD, stream, (int64_t) n, ids, n * sizeof *ids);
}

zt_status zt_token_record_mask(zt_token_record *r, bool learnt, size_t n) {
  return put(r, MASK, learnt, (int64_t) n, NULL, 0);
}

zt_status zt_token_record_end(zt_token_record *r, int stream) {
  return put(r, END, stream, 0, NULL, 0);
}

zt_status zt_token_record_expect(zt_token_record *r, int64_t line, int kind) {
  return put(r, EXPECT, kind, line, NULL, 0);
}

zt_status zt_token_record_replay(const zt_token_record *r, zt_token_input *in,
                                 const char *path) {
  for (size_t at = 0; at < r->size;) {
    call c;
    memcpy(&c, r->bytes + at, sizeof c);
    at += sizeof c;
    switch (c.what) {
    case ADD:
      ZT_TRY(zt_token_writer_add(
          in->writer, c.argument,
          (const int32_t *) (const void *) (r->bytes + at), (size_t) c.n));
      at += (size_t) c.n * sizeof(int32_t);
      break;
    case MASK:
      ZT_TRY(zt_token_writer_mask(in->writer, c.argument, (size_t) c.n));
      break;
    case END:
      ZT_TRY(zt_token_writer_end(in->writer, c.argument));
      break;
    default:
      ZT_TRY(zt_token_input_expect(in, path, c.n, (zt_tokens_kind) c.argument));
    }
  }
  return ZT_OK;
}
