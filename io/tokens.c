/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/tokens.h"

#include "base/memory.h"
#include "io/format.h"
#include "io/h5.h"
#include "io/output.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { VERIFY_BLOCK = 1 << 17 }; /* numbers looked at in one go */

typedef struct stream {
  const char *tokens_name, *documents_name; /* for messages */
  int64_t tokens_at, documents_at;          /* in the file */
} stream;

struct zt_tokens {
  zt_tokens_info info;
  stream streams[2];
  int n_streams;
  int64_t mask_at; /* in the file */
  int fd;
  char *path;
};

/* ---- Bytes ---- */

static zt_status read_bytes(const zt_tokens *t, int64_t at, void *to,
                            size_t size) {
  return zt_read_at(t->fd, t->path, to, size, at);
}

/* Widen n stored ids that lie in the upper half of `ids`, or in its place if
 * they are as wide.  Returns the first index that is outside, else n. */
static int64_t widen(int width, int64_t vocabulary, int64_t n, int32_t *ids) {
  const char *stored = (const char *) ids + (size_t) (4 - width) * (size_t) n;
  int64_t bad = n;
  for (int64_t i = 0; i < n; i++) {
    uint32_t id;
    if (width == 2) {
      uint16_t narrow;
      memcpy(&narrow, stored + 2 * i, 2);
      id = narrow;
    } else {
      memcpy(&id, stored + 4 * i, 4);
    }
    if (id >= (uint64_t) vocabulary && bad == n)
      bad = i;
    ids[i] = (int32_t) id;
  }
  return bad;
}

/* Ids [first, first + n) of a stream; their stored bytes go into `state` too,
 * unless it is NULL. */
static zt_status read_ids(const zt_tokens *t, int index, int64_t first,
                          int64_t n, int32_t *ids, XXH3_state_t *state) {
  const stream *s = &t->streams[index];
  size_t width = (size_t) t->info.width, count = (size_t) n;
  char *stored = (char *) ids + (4 - width) * count;
  ZT_TRY(read_bytes(t, s->tokens_at + first * t->info.width, stored,
                    count * width));
  if (state)
    XXH3_64bits_update(state, stored, count * width);
  int64_t bad = widen(t->info.width, t->info.vocabulary, n, ids);
  if (bad < n)
    return zt_fail(ZT_ERR_DATA,
                   "%s: %s[%" PRId64 "] is %" PRIu32
                   ", outside the vocabulary of %" PRId64,
                   t->path, s->tokens_name, first + bad, (uint32_t) ids[bad],
                   t->info.vocabulary);
  return ZT_OK;
}

zt_status zt_tokens_read(const zt_tokens *t, int index, int64_t first,
                         int64_t n, int32_t *ids) {
  if (first < 0 || n < 0 || first > t->info.tokens[index] - n)
    return zt_fail(ZT_ERR_INTERNAL,
                   "%s: %s read at %" PRId64 " + %" PRId64 " of %" PRId64,
                   t->path, t->streams[index].tokens_name, first, n,
                   t->info.tokens[index]);
  ZT_TRY(zt_fault_check(ZT_FAULT_DATA_READ));
  return read_ids(t, index, first, n, ids, NULL);
}

/* Stored mask [first, first + n), checked. */
static zt_status read_mask(const zt_tokens *t, int64_t first, int64_t n,
                           uint8_t *mask) {
  ZT_TRY(read_bytes(t, t->mask_at + first, mask, (size_t) n));
  for (int64_t i = 0; i < n; i++)
    if (mask[i] > 1)
      return zt_fail(ZT_ERR_DATA, "%s: /mask[%" PRId64 "] is %u, not 0 or 1",
                     t->path, first + i, (unsigned) mask[i]);
  return ZT_OK;
}

zt_status zt_tokens_read_mask(const zt_tokens *t, int64_t first, int64_t n,
                              uint8_t *mask) {
  if (!t->info.masked || first < 0 || n < 0 || first > t->info.tokens[0] - n)
    return zt_fail(ZT_ERR_INTERNAL, "%s: /mask read at %" PRId64 " + %" PRId64,
                   t->path, first, n);
  return read_mask(t, first, n, mask);
}

zt_status zt_tokens_bounds(const zt_tokens *t, int index, int64_t first,
                           int64_t n, int64_t *bounds) {
  const stream *s = &t->streams[index];
  int64_t before = 0;
  if (first < 0 || n < 1 || first > t->info.documents - n)
    return zt_fail(ZT_ERR_INTERNAL,
                   "%s: %s read at %" PRId64 " + %" PRId64 " of %" PRId64,
                   t->path, s->documents_name, first, n, t->info.documents);
  ZT_TRY(
      read_bytes(t, s->documents_at + 8 * first, bounds, 8 * ((size_t) n + 1)));
  for (int64_t i = 0; i <= n; i++) {
    if (bounds[i] < before || bounds[i] > t->info.tokens[index])
      return zt_fail(ZT_ERR_DATA,
                     "%s: %s[%" PRId64 "] is %" PRId64 ", outside %" PRId64
                     " .. %" PRId64,
                     t->path, s->documents_name, first + i, bounds[i], before,
                     t->info.tokens[index]);
    before = bounds[i];
  }
  return ZT_OK;
}

/* The last document that begins at the token or before is not empty. */
zt_status zt_tokens_find(const zt_tokens *t, int index, int64_t at,
                         int64_t *document) {
  int64_t low = 0, high = t->info.documents, bounds[2];
  while (high - low > 1) {
    int64_t middle = low + (high - low) / 2;
    ZT_TRY(zt_tokens_bounds(t, index, middle, 1, bounds));
    if (bounds[0] <= at)
      low = middle;
    else
      high = middle;
  }
  *document = low;
  return ZT_OK;
}

zt_status zt_tokens_document(const zt_tokens *t, int index, int64_t document,
                             int64_t *first, int64_t *n) {
  int64_t bounds[2];
  ZT_TRY(zt_tokens_bounds(t, index, document, 1, bounds));
  *first = bounds[0];
  *n = bounds[1] - bounds[0];
  return ZT_OK;
}

/* ---- Opening ---- */

/* What a dataset holds. */
typedef enum numbers { IDS, STARTS, MASK } numbers;

static int width_of(hid_t type, numbers what) {
  switch (what) {
  case STARTS:
    return H5Tequal(type, H5T_STD_I64LE) > 0 ? 8 : 0;
  case MASK:
    return H5Tequal(type, H5T_STD_U8LE) > 0 ? 1 : 0;
  case IDS:
    break;
  }
  return H5Tequal(type, H5T_STD_U16LE) > 0   ? 2
         : H5Tequal(type, H5T_STD_U32LE) > 0 ? 4
                                             : 0;
}

/* One dataset of whole numbers: where it lies, how many. */
static zt_status open_numbers(const zt_tokens *t, hid_t group,
                              const char *where, const char *name,
                              int64_t file_size, numbers what, int64_t *at,
                              int64_t *count, int *width) {
  hid_t dataset, type;
  zt_h5_extent extent;
  ZT_TRY(zt_h5_open_plain(group, t->path, where, name, file_size, &dataset,
                          &type, &extent));
  *width = width_of(type, what);
  H5Tclose(type);
  H5Dclose(dataset);
  if (*width == 0 || extent.ndim != 1)
    return zt_fail(ZT_ERR_DATA, "%s: %s%s is not a row of %s numbers", t->path,
                   where, name,
                   what == STARTS ? "64-bit signed"
                   : what == MASK ? "8-bit unsigned"
                                  : "16 or 32-bit unsigned");
  *at = extent.offset;
  *count = extent.dims[0];
  return ZT_OK;
}

/* The datasets of one stream, and their ends. */
static zt_status open_stream(zt_tokens *t, int index, hid_t group,
                             const char *where, int64_t file_size) {
  stream *s = &t->streams[index];
  int64_t starts;
  int width, unused;
  ZT_TRY(open_numbers(t, group, where, ZT_TOKENS_DATA, file_size, IDS,
                      &s->tokens_at, &t->info.tokens[index], &width));
  ZT_TRY(open_numbers(t, group, where, ZT_TOKENS_STARTS, file_size, STARTS,
                      &s->documents_at, &starts, &unused));
  if (index == 0) {
    t->info.documents = starts - 1;
    t->info.width = width;
  }
  if (starts < 2 || t->info.tokens[index] < 1)
    return zt_fail(ZT_ERR_DATA, "%s: holds no tokens", t->path);
  if (starts - 1 != t->info.documents || width != t->info.width)
    return zt_fail(ZT_ERR_DATA, "%s: source and target do not match", t->path);
  int64_t ends[2];
  ZT_TRY(read_bytes(t, s->documents_at, &ends[0], 8));
  ZT_TRY(read_bytes(t, s->documents_at + 8 * (starts - 1), &ends[1], 8));
  if (ends[0] != 0 || ends[1] != t->info.tokens[index])
    return zt_fail(
        ZT_ERR_DATA,
        "%s: %s run from %" PRId64 " to %" PRId64 " instead of 0 to %" PRId64,
        t->path, s->documents_name, ends[0], ends[1], t->info.tokens[index]);
  return ZT_OK;
}

static zt_status read_id(const zt_tokens *t, hid_t file, const char *name,
                         int64_t *id) {
  ZT_TRY(zt_h5_read_int(file, t->path, name, id));
  if (*id < -1 || *id >= t->info.vocabulary)
    return zt_fail(ZT_ERR_DATA,
                   "%s: %s is %" PRId64 ", outside the vocabulary of %" PRId64,
                   t->path, name, *id, t->info.vocabulary);
  return ZT_OK;
}

static zt_status read_attributes(zt_tokens *t, hid_t file) {
  char digest[32] = "";
  ZT_TRY(zt_h5_check_format(file, t->path, ZT_FORMAT_TOKENS, ZT_TOKENS_MAJOR));
  ZT_TRY(
      zt_h5_read_int(file, t->path, ZT_ATTR_VOCABULARY, &t->info.vocabulary));
  if (t->info.vocabulary < 1 || t->info.vocabulary > INT32_MAX)
    return zt_fail(ZT_ERR_DATA, "%s: vocabulary is %" PRId64, t->path,
                   t->info.vocabulary);
  ZT_TRY(read_id(t, file, ZT_ATTR_EOS, &t->info.eos));
  ZT_TRY(read_id(t, file, ZT_ATTR_PAD, &t->info.pad));
  ZT_TRY(read_id(t, file, ZT_ATTR_SENTINEL, &t->info.sentinel));
  ZT_TRY(zt_h5_read_string(file, t->path, ZT_ATTR_TOKENIZER, t->info.tokenizer,
                           sizeof t->info.tokenizer));
  ZT_TRY(
      zt_h5_read_string(file, t->path, ZT_ATTR_DIGEST, digest, sizeof digest));
  t->info.digest = strtoull(digest, NULL, 16);
  if (strlen(digest) != 16 || strspn(digest, "0123456789abcdef") != 16)
    return zt_fail(ZT_ERR_DATA, "%s: digest \"%s\" makes no sense", t->path,
                   digest);
  return ZT_OK;
}

/* The mask, if there is one. */
static zt_status open_mask(zt_tokens *t, hid_t file, int64_t file_size) {
  int64_t n;
  int width;
  t->info.masked = H5Lexists(file, ZT_TOKENS_MASK, H5P_DEFAULT) > 0;
  if (!t->info.masked)
    return ZT_OK;
  ZT_TRY(open_numbers(t, file, "", ZT_TOKENS_MASK, file_size, MASK, &t->mask_at,
                      &n, &width));
  if (n == t->info.tokens[0])
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%s: /mask has %" PRId64 " entries for %" PRId64 " tokens",
                 t->path, n, t->info.tokens[0]);
}

static zt_status open_pair(zt_tokens *t, hid_t file, int index,
                           const char *name, int64_t file_size) {
  hid_t group;
  ZT_TRY(zt_h5_open_group(file, t->path, name, &group));
  zt_status status = open_stream(t, index, group, name, file_size);
  H5Gclose(group);
  return status;
}

static zt_status read_layout(zt_tokens *t, hid_t file) {
  struct stat st;
  if (fstat(t->fd, &st) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot stat", t->path);
  ZT_TRY(read_attributes(t, file));
  t->info.pairs = H5Lexists(file, ZT_TOKENS_SOURCE, H5P_DEFAULT) > 0;
  if (!t->info.pairs) {
    t->n_streams = 1;
    t->streams[0] =
        (stream){.tokens_name = "/tokens", .documents_name = "/documents"};
    ZT_TRY(open_stream(t, 0, file, "", st.st_size));
    return open_mask(t, file, st.st_size);
  }
  t->n_streams = 2;
  t->streams[0] = (stream){.tokens_name = "/source/tokens",
                           .documents_name = "/source/documents"};
  t->streams[1] = (stream){.tokens_name = "/target/tokens",
                           .documents_name = "/target/documents"};
  ZT_TRY(open_pair(t, file, 0, ZT_TOKENS_SOURCE, st.st_size));
  return open_pair(t, file, 1, ZT_TOKENS_TARGET, st.st_size);
}

zt_status zt_tokens_open(const char *path, zt_tokens **tokens) {
  *tokens = NULL;
  ZT_TRY(zt_fault_check(ZT_FAULT_DATA_OPEN));
  hid_t file;
  ZT_TRY(zt_h5_open(path, &file));
  zt_tokens *t = zt_calloc(1, sizeof *t);
  zt_status status = ZT_OK;
  if (t)
    t->fd = -1;
  if (!t || !(t->path = zt_strdup(path)))
    status = ZT_ERR_MEMORY;
  else if ((t->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
    status = zt_fail_open(path);
  else
    status = read_layout(t, file);
  H5Fclose(file);
  if (status != ZT_OK)
    zt_tokens_close(&t);
  *tokens = t;
  return status;
}

void zt_tokens_close(zt_tokens **tokens) {
  zt_tokens *t = *tokens;
  *tokens = NULL;
  if (!t)
    return;
  if (t->fd >= 0)
    close(t->fd);
  free(t->path);
  free(t);
}

const zt_tokens_info *zt_tokens_about(const zt_tokens *tokens) {
  return &tokens->info;
}

const char *zt_tokens_path(const zt_tokens *tokens) {
  return tokens->path;
}

/* ---- Verifying ---- */

uint64_t zt_tokens_digest(const zt_tokens_info *info, const uint64_t parts[4]) {
  uint64_t words[8] = {(uint64_t) info->vocabulary, (uint64_t) info->eos,
                       (uint64_t) info->pad, (uint64_t) info->sentinel};
  int n = info->pairs ? 4 : info->masked ? 3 : 2;
  memcpy(words + 4, parts, (size_t) n * sizeof *words);
  return XXH3_64bits(words, (size_t) (4 + n) * sizeof *words);
}

static zt_status verify_ids(const zt_tokens *t, int index, XXH3_state_t *state,
                            int32_t *ids) {
  int64_t n, size = t->info.tokens[index];
  for (int64_t at = 0; at < size; at += n) {
    n = size - at < VERIFY_BLOCK ? size - at : VERIFY_BLOCK;
    ZT_TRY(read_ids(t, index, at, n, ids, state));
  }
  return ZT_OK;
}

static zt_status verify_starts(const zt_tokens *t, int index,
                               XXH3_state_t *state, int64_t *starts) {
  const stream *s = &t->streams[index];
  int64_t n, size = t->info.documents + 1, before = 0;
  for (int64_t at = 0; at < size; at += n) {
    n = size - at < VERIFY_BLOCK ? size - at : VERIFY_BLOCK;
    ZT_TRY(read_bytes(t, s->documents_at + 8 * at, starts, 8 * (size_t) n));
    XXH3_64bits_update(state, starts, 8 * (size_t) n);
    for (int64_t i = 0; i < n; i++) {
      if (starts[i] < before)
        return zt_fail(ZT_ERR_DATA, "%s: %s[%" PRId64 "] goes backwards",
                       t->path, s->documents_name, at + i);
      before = starts[i];
    }
  }
  return ZT_OK;
}

static zt_status verify_mask(const zt_tokens *t, XXH3_state_t *state,
                             uint8_t *mask) {
  int64_t n, size = t->info.tokens[0];
  for (int64_t at = 0; at < size; at += n) {
    n = size - at < VERIFY_BLOCK ? size - at : VERIFY_BLOCK;
    ZT_TRY(read_mask(t, at, n, mask));
    XXH3_64bits_update(state, mask, (size_t) n);
  }
  return ZT_OK;
}

static zt_status verify_all(const zt_tokens *t, XXH3_state_t *state,
                            void *block, uint64_t parts[4]) {
  for (int i = 0; i < t->n_streams; i++) {
    XXH3_64bits_reset(state);
    ZT_TRY(verify_ids(t, i, state, block));
    parts[2 * i] = XXH3_64bits_digest(state);
    XXH3_64bits_reset(state);
    ZT_TRY(verify_starts(t, i, state, block));
    parts[2 * i + 1] = XXH3_64bits_digest(state);
  }
  if (t->info.masked) {
    XXH3_64bits_reset(state);
    ZT_TRY(verify_mask(t, state, block));
    parts[2] = XXH3_64bits_digest(state);
  }
  return ZT_OK;
}

zt_status zt_tokens_verify(const zt_tokens *t) {
  uint64_t parts[4] = {0};
  void *block = zt_calloc(VERIFY_BLOCK, sizeof(int64_t));
  XXH3_state_t *state = XXH3_createState();
  zt_status status = !block   ? ZT_ERR_MEMORY
                     : !state ? zt_fail(ZT_ERR_MEMORY, "out of memory")
                              : verify_all(t, state, block, parts);
  XXH3_freeState(state);
  free(block);
  ZT_TRY(status);
  uint64_t found = zt_tokens_digest(&t->info, parts);
  if (found != t->info.digest)
    return zt_fail(ZT_ERR_DATA,
                   "%s: damaged: digest %016" PRIx64 " instead of %016" PRIx64,
                   t->path, found, t->info.digest);
  return ZT_OK;
}
