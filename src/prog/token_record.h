/* SPDX-License-Identifier: BSD-3-Clause */
/** \file
 *  What would be told to a writer of tokens, kept in memory to be told later,
 *  on another rank.  All functions are Local. */
#ifndef ZT_PROG_TOKEN_RECORD_H
#define ZT_PROG_TOKEN_RECORD_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zt_token_input;

/** Starts from {0}; free(bytes). */
typedef struct zt_token_record {
  char *bytes;
  size_t size, capacity;
} zt_token_record;

/** Room for so many bytes in all.  \return ZT_ERR_MEMORY. */
zt_status zt_token_record_reserve(zt_token_record *record, size_t size);

/** As those of a writer and zt_token_input_expect().
 *  \return ZT_ERR_MEMORY. */
zt_status zt_token_record_add(zt_token_record *record, int stream,
                              const int32_t *ids, size_t n);
zt_status zt_token_record_mask(zt_token_record *record, bool learnt, size_t n);
zt_status zt_token_record_end(zt_token_record *record, int stream);
zt_status zt_token_record_expect(zt_token_record *record, int64_t line,
                                 int kind);

/** Tell the input's writer all of it.
 *  \param[in] path  of the input, for messages
 *  \return what the writer or zt_token_input_expect() returned. */
zt_status zt_token_record_replay(const zt_token_record *record,
                                 struct zt_token_input *input,
                                 const char *path);

#endif
