/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"

#include "base/status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

void *zt_calloc(size_t count, size_t size) {
  void *p = calloc(count ? count : 1, size ? size : 1);
  if (!p)
    zt_fail(ZT_ERR_MEMORY, "out of memory (%zu x %zu bytes asked for)", count,
            size);
  return p;
}

char *zt_strdup(const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = zt_calloc(size, 1);
  if (copy)
    memcpy(copy, text, size);
  return copy;
}

bool zt_grow(void *array, size_t *capacity, size_t count, size_t size) {
  if (count < *capacity)
    return true;
  size_t wanted = *capacity ? 2 * *capacity : 16;
  void *old, *grown;
  memcpy(&old, array, sizeof old);
  grown = realloc(old, wanted * size);
  if (!grown) {
    zt_fail(ZT_ERR_MEMORY, "out of memory (%zu x %zu bytes asked for)", wanted,
            size);
    return false;
  }
  memset((char *) grown + *capacity * size, 0, (wanted - *capacity) * size);
  memcpy(array, &grown, sizeof grown);
  *capacity = wanted;
  return true;
}

#ifdef __SSE2__
enum { LINE = 64, LARGE = 1 << 20 };

static void copy_line(char *to, const char *from) {
  __m128i part[4];
  memcpy(part, from, sizeof part);
  for (int i = 0; i < 4; i++)
    _mm_stream_si128((__m128i *) (void *) to + i, part[i]);
}
#endif

void zt_copy_past(void *to, const void *from, size_t bytes) {
#ifdef __SSE2__
  if (bytes >= LARGE) {
    size_t done = -(uintptr_t) to & (LINE - 1);
    memcpy(to, from, done);
    for (; done + LINE <= bytes; done += LINE)
      copy_line((char *) to + done, (const char *) from + done);
    _mm_sfence();
    to = (char *) to + done;
    from = (const char *) from + done;
    bytes -= done;
  }
#endif
  memcpy(to, from, bytes);
}

bool zt_mul_overflows(int64_t a, int64_t b, int64_t *product) {
  return __builtin_mul_overflow(a, b, product);
}

bool zt_add_overflows(int64_t a, int64_t b, int64_t *sum) {
  return __builtin_add_overflow(a, b, sum);
}

size_t zt_private_bytes(void) {
  FILE *f = fopen("/proc/self/status", "r");
  if (!f)
    return 0;
  char line[256];
  size_t kib = 0;
  while (fgets(line, sizeof line, f))
    if (sscanf(line, "RssAnon: %zu kB", &kib) == 1)
      break;
  fclose(f);
  return kib << 10;
}
