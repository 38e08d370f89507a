/* SPDX-License-Identifier: BSD-3-Clause */
#include "golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *whole_file(const char *path) {
  FILE *f = fopen(path, "rb");
  if (!f) {
    perror(path);
    abort();
  }
  fseek(f, 0, SEEK_END);
  size_t size = (size_t) ftell(f);
  rewind(f);
  char *bytes = malloc(size + 1);
  if (!bytes || fread(bytes, 1, size, f) != size)
    abort();
  bytes[size] = '\0';
  fclose(f);
  return bytes;
}

const char *golden_path(const char *name, const char *file) {
  static char path[4096];
  const char *src = getenv("ZT_SRC");
  snprintf(path, sizeof path, "%s/tests/golden/%s/%s", src ? src : ".", name,
           file);
  return path;
}

golden_file golden_open(const char *name, const char *file) {
  char with_suffix[128];
  snprintf(with_suffix, sizeof with_suffix, "%s.safetensors", file);
  golden_file g = {.bytes = whole_file(golden_path(name, with_suffix))};
  uint64_t header;
  memcpy(&header, g.bytes, sizeof header);
  g.header = json_loadb(g.bytes + 8, header, 0, NULL);
  if (!g.header)
    abort();
  g.data = g.bytes + 8 + header;
  return g;
}

const void *golden_tensor(const golden_file *file, const char *tensor,
                          int64_t *count) {
  json_t *entry = json_object_get(file->header, tensor);
  if (!entry)
    return NULL;
  json_t *offsets = json_object_get(entry, "data_offsets");
  int64_t begin = json_integer_value(json_array_get(offsets, 0));
  int64_t end = json_integer_value(json_array_get(offsets, 1));
  if (count)
    *count = (end - begin) / 4; /* all fixtures are fp32 and int32 */
  return file->data + begin;
}

void golden_close(golden_file *file) {
  json_decref(file->header);
  free(file->bytes);
}
