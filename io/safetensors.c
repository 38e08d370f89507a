/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/safetensors.h"

#include "base/json.h"
#include "base/memory.h"
#include "io/format.h"
#include "io/output.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Formats that upstream knows, with the bits of an element. */
static const struct {
  const char *name;
  int bits;
} formats[] = {
    {"F32", 32},    {"BF16", 16},   {"F16", 16},    {"F64", 64},
    {"I64", 64},    {"I32", 32},    {"I16", 16},    {"I8", 8},
    {"U64", 64},    {"U32", 32},    {"U16", 16},    {"U8", 8},
    {"BOOL", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8},
    {"F6_E2M3", 6}, {"F6_E3M2", 6}, {"F4", 4},      {"C64", 64},
};

/* ---- Reading ---- */

typedef struct extent {
  int64_t begin, end; /* in the file */
  const char *name;
} extent;

typedef struct reader {
  const char *path;
  int64_t data, size; /* first byte of the tensors, size of the file */
  extent *extents;    /* of all tensors */
  size_t count;
} reader;

bool zt_safetensors_is_name(const char *name) {
  size_t length = strlen(name);
  if (length == 0 || length > ZT_MOST_NAME)
    return false;
  for (const char *c = name; *c; c++)
    if (*c <= ' ' || *c > '~')
      return false;
  return true;
}

static zt_status read_format(const reader *r, json_t *entry, zt_safetensor *t,
                             int *bits) {
  const char *format = json_string_value(json_object_get(entry, "dtype"));
  if (!format)
    return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s: no dtype", r->path, t->name);
  for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
    if (!strcmp(format, formats[i].name)) {
      snprintf(t->format, sizeof t->format, "%s", format);
      t->foreign = !zt_dtype_parse(format, &t->dtype);
      *bits = formats[i].bits;
      return ZT_OK;
    }
  return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s: dtype is not a known one",
                 r->path, t->name);
}

/* Sets the bits that the shape stands for. */
static zt_status read_shape(const reader *r, json_t *entry, zt_safetensor *t,
                            int64_t *bits) {
  const int64_t most = (int64_t) 1 << 48;
  json_t *shape = json_object_get(entry, "shape"), *dim;
  size_t i;
  if (!json_is_array(shape) || json_array_size(shape) > ZT_SAFETENSORS_DIMS)
    return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s: no usable shape", r->path,
                   t->name);
  t->ndim = (int) json_array_size(shape);
  json_array_foreach(shape, i, dim) {
    int64_t n = json_is_integer(dim) ? json_integer_value(dim) : -1;
    if (n < 0 || n > most || zt_mul_overflows(*bits, n, bits))
      return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s: impossible shape", r->path,
                     t->name);
    t->dims[i] = n;
  }
  return ZT_OK;
}

static zt_status read_offsets(const reader *r, json_t *entry, zt_safetensor *t,
                              int64_t bits) {
  json_t *pair = json_object_get(entry, "data_offsets");
  json_t *low = json_array_get(pair, 0), *high = json_array_get(pair, 1);
  if (json_array_size(pair) != 2 || !json_is_integer(low) ||
      !json_is_integer(high))
    return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s: no usable data_offsets",
                   r->path, t->name);
  int64_t begin = json_integer_value(low), end = json_integer_value(high);
  if (begin < 0 || end < begin)
    return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s: impossible data_offsets",
                   r->path, t->name);
  if (end > r->size - r->data)
    return zt_fail(ZT_ERR_DATA,
                   "%s: tensor %.80s ends at byte %" PRId64
                   ", the file at %" PRId64 ": truncated?",
                   r->path, t->name, end, r->size - r->data);
  if (bits % 8 != 0 || bits / 8 != end - begin)
    return zt_fail(ZT_ERR_DATA,
                   "%s: tensor %.80s: %" PRId64
                   " bytes of data do not fit its shape",
                   r->path, t->name, end - begin);
  t->at = r->data + begin;
  t->bytes = end - begin;
  return ZT_OK;
}

static zt_status read_entry(reader *r, const char *name, json_t *entry,
                            zt_safetensor *tensor) {
  if (!zt_safetensors_is_name(name))
    return zt_fail(ZT_ERR_DATA, "%s: a tensor has an unusable name", r->path);
  *tensor = (zt_safetensor){.name = name};
  if (!json_is_object(entry))
    return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s: not described by an object",
                   r->path, name);
  int width = 0;
  ZT_TRY(read_format(r, entry, tensor, &width));
  int64_t bits = width;
  ZT_TRY(read_shape(r, entry, tensor, &bits));
  ZT_TRY(read_offsets(r, entry, tensor, bits));
  r->extents[r->count++] =
      (extent){tensor->at, tensor->at + tensor->bytes, name};
  return ZT_OK;
}

static int by_begin(const void *a, const void *b) {
  const extent *x = a, *y = b;
  if (x->begin != y->begin)
    return x->begin < y->begin ? -1 : 1;
  return x->end < y->end ? -1 : x->end > y->end;
}

/* Every byte belongs to exactly one tensor: a file with holes or a tail could
 * be two things at once. */
static zt_status check_cover(const reader *r) {
  qsort(r->extents, r->count, sizeof *r->extents, by_begin);
  int64_t at = r->data;
  for (size_t i = 0; i < r->count; i++) {
    const extent *e = &r->extents[i];
    if (e->begin < at)
      return zt_fail(ZT_ERR_DATA, "%s: tensor %.80s overlaps another", r->path,
                     e->name);
    if (e->begin > at)
      return zt_fail(ZT_ERR_DATA, "%s: a hole before the data of tensor %.80s",
                     r->path, e->name);
    at = e->end;
  }
  if (at != r->size)
    return zt_fail(ZT_ERR_DATA, "%s: %" PRId64 " bytes follow the last tensor",
                   r->path, r->size - at);
  return ZT_OK;
}

static zt_status check_metadata(const reader *r, json_t *metadata) {
  const char *key;
  json_t *value;
  if (metadata && !json_is_object(metadata))
    return zt_fail(ZT_ERR_DATA, "%s: __metadata__ is not an object", r->path);
  json_object_foreach(metadata, key, value) {
    (void) key;
    if (!json_is_string(value))
      return zt_fail(ZT_ERR_DATA, "%s: __metadata__ holds more than strings",
                     r->path);
  }
  return ZT_OK;
}

typedef zt_status (*visitor)(void *context, const zt_safetensor *tensor);

/* Each tensor of the header; with `visit` NULL it is only checked. */
static zt_status each(reader *r, json_t *header, visitor visit, void *context) {
  const char *name;
  json_t *entry;
  r->count = 0;
  json_object_foreach(header, name, entry) {
    zt_safetensor tensor;
    if (!strcmp(name, "__metadata__"))
      continue;
    ZT_TRY(read_entry(r, name, entry, &tensor));
    if (visit)
      ZT_TRY(visit(context, &tensor));
  }
  return ZT_OK;
}

static zt_status read_tensors(reader *r, json_t *header, visitor visit,
                              void *context) {
  ZT_TRY(check_metadata(r, json_object_get(header, "__metadata__")));
  r->extents = zt_calloc(json_object_size(header), sizeof *r->extents);
  if (!r->extents)
    return ZT_ERR_MEMORY;
  /* First all checks, then the visits: half a file is never used. */
  ZT_TRY(each(r, header, NULL, NULL));
  ZT_TRY(check_cover(r));
  return each(r, header, visit, context);
}

/* The header as a string; free() it. */
static zt_status read_header(reader *r, int fd, char **header, size_t *size) {
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
    return zt_fail(ZT_ERR_NOINPUT, "%s: not a regular file", r->path);
  unsigned char length[8];
  uint64_t n = 0;
  if (st.st_size < 8)
    return zt_fail(ZT_ERR_DATA, "%s: too short for a safetensors file",
                   r->path);
  ZT_TRY(zt_read_at(fd, r->path, length, sizeof length, 0));
  for (int i = 7; i >= 0; i--)
    n = n << 8 | length[i];
  if (n > (uint64_t) st.st_size - 8)
    return zt_fail(ZT_ERR_DATA,
                   "%s: a header of %" PRIu64
                   " bytes is longer than the file: truncated, or no "
                   "safetensors file",
                   r->path, n);
  if (n > ZT_SAFETENSORS_HEADER)
    return zt_fail(ZT_ERR_DATA,
                   "%s: a header of %" PRIu64 " bytes; at most %d are read",
                   r->path, n, ZT_SAFETENSORS_HEADER);
  r->data = 8 + (int64_t) n;
  r->size = st.st_size;
  if (!(*header = zt_calloc(n + 1, 1)))
    return ZT_ERR_MEMORY;
  *size = n;
  ZT_TRY(zt_read_at(fd, r->path, *header, n, 8));
  if (**header != '{')
    return zt_fail(ZT_ERR_DATA, "%s: the header does not begin with '{'",
                   r->path);
  return ZT_OK;
}

zt_status zt_safetensors_read(const char *path,
                              zt_status (*visit)(void *, const zt_safetensor *),
                              void *context) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return zt_fail_open(path);
  reader r = {.path = path};
  char *text = NULL;
  size_t size = 0;
  json_t *header = NULL;
  zt_status status = read_header(&r, fd, &text, &size);
  close(fd);
  if (status == ZT_OK)
    status = zt_json_parse(text, size, path, &header);
  free(text);
  if (status == ZT_OK)
    status = read_tensors(&r, header, visit, context);
  json_decref(header);
  free(r.extents);
  return status;
}

/* ---- Writing ---- */

static int upstream_order(const void *a, const void *b) {
  const zt_safetensors_entry *x = a, *y = b;
  if (x->dtype != y->dtype) /* our enum counts as upstream sorts */
    return x->dtype < y->dtype ? -1 : 1;
  return strcmp(x->name, y->name);
}

zt_status zt_safetensors_layout(zt_safetensors_entry *entries, int count,
                                zt_text *head, int64_t *size) {
  qsort(entries, (size_t) count, sizeof *entries, upstream_order);
  *head = (zt_text){0};
  zt_text_append(head, "\0\0\0\0\0\0\0\0", 8); /* its length, in the end */
  zt_text_add(head, "{\"__metadata__\":{\"format\":\"pt\"}");
  int64_t at = 0;
  for (int i = 0; i < count; i++) {
    const zt_safetensors_entry *e = &entries[i];
    zt_text_append(head, ",", 1);
    zt_text_add_json(head, e->name, strlen(e->name));
    zt_text_add(head, ":{\"dtype\":\"%s\",\"shape\":[",
                zt_dtype_safetensors(e->dtype));
    for (int d = 0; d < e->ndim; d++)
      zt_text_add(head, d ? ",%" PRId64 : "%" PRId64, e->dims[d]);
    zt_text_add(head, "],\"data_offsets\":[%" PRId64 ",%" PRId64 "]}", at,
                at + e->bytes);
    at += e->bytes;
  }
  zt_text_append(head, "}", 1);
  while (head->size % 8 != 0 && !head->failed)
    zt_text_append(head, " ", 1);
  if (head->failed) {
    zt_text_free(head);
    return zt_fail(ZT_ERR_MEMORY, "out of memory (header of %d tensors)",
                   count);
  }
  uint64_t length = head->size - 8;
  memcpy(head->data, &length, sizeof length);
  int64_t start = (int64_t) head->size;
  for (int i = 0; i < count; i++) {
    entries[i].at = start;
    start += entries[i].bytes;
  }
  *size = start;
  return ZT_OK;
}
