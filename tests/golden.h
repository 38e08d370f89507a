/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  Reference results of tests/golden/NAME, read without the code under test. */
#ifndef ZT_TESTS_GOLDEN_H
#define ZT_TESTS_GOLDEN_H

#include <jansson.h>
#include <stdint.h>

/** A safetensors file in memory. */
typedef struct golden_file {
  char *bytes;
  json_t *header;
  const char *data;
} golden_file;

/** Path of a file of a fixture, in a static buffer. */
const char *golden_path(const char *name, const char *file);
/** Open tests/golden/NAME/FILE.safetensors; aborts the test if it cannot. */
golden_file golden_open(const char *name, const char *file);
/** A tensor's data; `count` may be NULL.  NULL if there is none. */
const void *golden_tensor(const golden_file *file, const char *tensor,
                          int64_t *count);
void golden_close(golden_file *file);

#endif
