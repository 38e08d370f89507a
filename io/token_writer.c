/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/token_writer.h"

#include "base/memory.h"
#include "io/format.h"
#include "io/h5.h"
#include "io/output.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { BUFFER_BYTES = 1 << 20, LINKS = 6, COLUMNS = 4, MASK_COLUMN = 2 };

/* One dataset on its way, in FORMAT's order. */
typedef struct column {
  int fd;      /* the output's for column 0, else of a spool; -1: not in use */
  int64_t at;  /* where its bytes begin in that file */
  int64_t put; /* bytes written so far */
  char *buffer;
  size_t used;
  XXH3_state_t *state;
} column;

struct zt_token_writer {
  zt_tokens_info info;
  zt_output output;
  char *skeleton; /* path of the file that HDF5 lays out */
  column columns[COLUMNS];
  int n_columns;
  int64_t documents[2];
};

/* ---- Columns ---- */

/* A file without a name, beside the output: there is as much room. */
static zt_status open_spool(const char *path, int *fd) {
  size_t size = strlen(path) + sizeof ".XXXXXX";
  char *name = zt_calloc(size, 1);
  if (!name)
    return ZT_ERR_MEMORY;
  snprintf(name, size, "%s.XXXXXX", path);
  *fd = mkostemp(name, O_CLOEXEC);
  zt_status status = ZT_OK;
  if (*fd < 0)
    status = zt_fail_errno(ZT_ERR_CREATE, "%s: cannot spool beside it", path);
  else
    unlink(name);
  free(name);
  return status;
}

static zt_status open_column(zt_token_writer *w, int index) {
  column *c = &w->columns[index];
  c->buffer = zt_calloc(BUFFER_BYTES, 1);
  c->state = XXH3_createState();
  if (!c->buffer)
    return ZT_ERR_MEMORY;
  if (!c->state || XXH3_64bits_reset(c->state) != XXH_OK)
    return zt_fail(ZT_ERR_MEMORY, "out of memory");
  if (index > 0)
    return open_spool(w->output.path, &c->fd);
  c->fd = w->output.fd;
  return ZT_OK;
}

static zt_status flush(zt_token_writer *w, column *c) {
  ZT_TRY(
      zt_write_at(c->fd, w->output.path, c->buffer, c->used, c->at + c->put));
  XXH3_64bits_update(c->state, c->buffer, c->used);
  c->put += (int64_t) c->used;
  c->used = 0;
  return ZT_OK;
}

static zt_status add_start(zt_token_writer *w, int index) {
  column *c = &w->columns[2 * index + 1];
  memcpy(c->buffer + c->used, &w->info.tokens[index], 8);
  c->used += 8;
  return c->used == BUFFER_BYTES ? flush(w, c) : ZT_OK;
}

zt_status zt_token_writer_add(zt_token_writer *w, int index, const int32_t *ids,
                              size_t n) {
  column *c = &w->columns[2 * index];
  size_t width = (size_t) w->info.width;
  w->info.tokens[index] += (int64_t) n;
  while (n > 0) {
    size_t room = (BUFFER_BYTES - c->used) / width, m = n < room ? n : room;
    char *to = c->buffer + c->used;
    if (width == 4) {
      memcpy(to, ids, 4 * m);
    } else {
      uint16_t *narrow = (uint16_t *) (void *) to;
      for (size_t i = 0; i < m; i++)
        narrow[i] = (uint16_t) ids[i];
    }
    c->used += m * width;
    ids += m;
    n -= m;
    if (c->used == BUFFER_BYTES)
      ZT_TRY(flush(w, c));
  }
  return ZT_OK;
}

zt_status zt_token_writer_mask(zt_token_writer *w, bool learnt, size_t n) {
  column *c = &w->columns[MASK_COLUMN];
  while (n > 0) {
    size_t room = BUFFER_BYTES - c->used, m = n < room ? n : room;
    memset(c->buffer + c->used, learnt, m);
    c->used += m;
    n -= m;
    if (c->used == BUFFER_BYTES)
      ZT_TRY(flush(w, c));
  }
  return ZT_OK;
}

zt_status zt_token_writer_end(zt_token_writer *w, int index) {
  w->documents[index]++;
  w->info.documents = w->documents[0];
  return add_start(w, index);
}

const zt_tokens_info *zt_token_writer_about(const zt_token_writer *writer) {
  return &writer->info;
}

/* ---- Skeleton ---- */

static zt_status lay_out_stream(const zt_tokens_info *info, int index,
                                hid_t group, const char *path, int64_t at[2]) {
  int64_t starts = info->documents + 1;
  ZT_TRY(zt_h5_create_dataset(group, path, ZT_TOKENS_DATA,
                              info->width == 2 ? H5T_STD_U16LE : H5T_STD_U32LE,
                              1, &info->tokens[index], &at[0]));
  return zt_h5_create_dataset(group, path, ZT_TOKENS_STARTS, H5T_STD_I64LE, 1,
                              &starts, &at[1]);
}

static zt_status lay_out_pair(const zt_tokens_info *info, int index, hid_t file,
                              const char *path, int64_t at[2]) {
  hid_t group;
  ZT_TRY(zt_h5_create_group(
      file, path, index ? ZT_TOKENS_TARGET : ZT_TOKENS_SOURCE, &group));
  zt_status status = lay_out_stream(info, index, group, path, at);
  H5Gclose(group);
  return status;
}

static zt_status lay_out_attributes(const zt_tokens_info *info, hid_t file,
                                    const char *path) {
  char version[16], digest[24];
  snprintf(version, sizeof version, "%d.%d", ZT_TOKENS_MAJOR, ZT_TOKENS_MINOR);
  snprintf(digest, sizeof digest, "%016" PRIx64, info->digest);
  ZT_TRY(zt_h5_write_string(file, path, ZT_ATTR_FORMAT, ZT_FORMAT_TOKENS));
  ZT_TRY(zt_h5_write_string(file, path, ZT_ATTR_VERSION, version));
  ZT_TRY(zt_h5_write_int(file, path, ZT_ATTR_VOCABULARY, info->vocabulary));
  ZT_TRY(zt_h5_write_int(file, path, ZT_ATTR_EOS, info->eos));
  ZT_TRY(zt_h5_write_int(file, path, ZT_ATTR_PAD, info->pad));
  ZT_TRY(zt_h5_write_int(file, path, ZT_ATTR_SENTINEL, info->sentinel));
  ZT_TRY(zt_h5_write_string(file, path, ZT_ATTR_TOKENIZER, info->tokenizer));
  return zt_h5_write_string(file, path, ZT_ATTR_DIGEST, digest);
}

static zt_status lay_out(const zt_tokens_info *info, const char *path,
                         int64_t at[COLUMNS]) {
  hid_t file;
  ZT_TRY(zt_h5_create(path, LINKS, ZT_DATA_ALIGN, &file));
  zt_status status = lay_out_attributes(info, file, path);
  if (status == ZT_OK && !info->pairs)
    status = lay_out_stream(info, 0, file, path, at);
  if (status == ZT_OK && info->masked)
    status = zt_h5_create_dataset(file, path, ZT_TOKENS_MASK, H5T_STD_U8LE, 1,
                                  &info->tokens[0], &at[MASK_COLUMN]);
  for (int i = 0; status == ZT_OK && info->pairs && i < 2; i++)
    status = lay_out_pair(info, i, file, path, at + 2 * i);
  zt_status closed = zt_h5_close(file, path);
  return status != ZT_OK ? status : closed;
}

/* The bytes of a file that HDF5 lays out for these counts: all of its metadata
 * come before the first dataset, wherever the datasets end.
 * head    [at[0]], free() it
 * size    of the whole file */
static zt_status make_skeleton(const zt_token_writer *w,
                               const zt_tokens_info *info, int64_t at[COLUMNS],
                               char **head, int64_t *size) {
  struct stat st;
  *head = NULL;
  zt_status status = lay_out(info, w->skeleton, at);
  int fd = status == ZT_OK ? open(w->skeleton, O_RDONLY | O_CLOEXEC) : -1;
  unlink(w->skeleton);
  if (status != ZT_OK)
    return status;
  if (fd < 0 || fstat(fd, &st) != 0)
    status = zt_fail_errno(ZT_ERR_CREATE, "%s: cannot lay out", w->skeleton);
  else if (!(*head = zt_calloc((size_t) at[0], 1)))
    status = ZT_ERR_MEMORY;
  else
    status = zt_read_at(fd, w->skeleton, *head, (size_t) at[0], 0);
  if (fd >= 0)
    close(fd);
  if (status == ZT_OK)
    *size = st.st_size;
  return status;
}

/* ---- Beginning and end ---- */

static zt_status begin(zt_token_writer *w, const char *path, bool replace) {
  ZT_TRY(zt_output_begin(&w->output, path, replace));
  size_t size = strlen(path) + sizeof ".layout.tmp";
  w->skeleton = zt_calloc(size, 1);
  if (!w->skeleton)
    return ZT_ERR_MEMORY;
  snprintf(w->skeleton, size, "%s.layout.tmp", path);
  for (int i = 0; i < w->n_columns; i++)
    ZT_TRY(open_column(w, i));
  /* Where the first dataset begins does not depend on any length. */
  zt_tokens_info least = w->info;
  least.documents = least.tokens[0] = least.tokens[1] = 1;
  int64_t at[COLUMNS], whole;
  char *head;
  zt_status status = make_skeleton(w, &least, at, &head, &whole);
  free(head);
  ZT_TRY(status);
  w->columns[0].at = at[0];
  for (int i = 0; i < w->n_columns / 2; i++)
    ZT_TRY(add_start(w, i));
  return ZT_OK;
}

zt_status zt_token_writer_create(const char *path, const zt_tokens_info *info,
                                 bool replace, zt_token_writer **writer) {
  *writer = NULL;
  zt_token_writer *w = zt_calloc(1, sizeof *w);
  if (!w)
    return ZT_ERR_MEMORY;
  w->info = *info;
  w->info.width = info->vocabulary <= 65536 ? 2 : 4;
  w->info.documents = w->info.tokens[0] = w->info.tokens[1] = 0;
  w->info.digest = 0;
  w->n_columns = info->pairs ? 4 : info->masked ? 3 : 2;
  w->output.fd = -1;
  for (int i = 0; i < COLUMNS; i++)
    w->columns[i].fd = -1;
  zt_status status = begin(w, path, replace);
  if (status != ZT_OK)
    zt_token_writer_destroy(&w);
  *writer = w;
  return status;
}

/* A spool's bytes to their place in the output. */
static zt_status copy(zt_token_writer *w, column *c, int64_t to) {
  const char *path = w->output.path;
  for (int64_t done = 0; done < c->put;) {
    int64_t left = c->put - done;
    size_t n = left < BUFFER_BYTES ? (size_t) left : (size_t) BUFFER_BYTES;
    ZT_TRY(zt_read_at(c->fd, path, c->buffer, n, done));
    ZT_TRY(zt_write_at(w->output.fd, path, c->buffer, n, to + done));
    done += (int64_t) n;
  }
  return ZT_OK;
}

/* All into one file, which has the size that the skeleton promises. */
static zt_status assemble(zt_token_writer *w, const int64_t at[COLUMNS],
                          const char *head, int64_t size) {
  const char *path = w->output.path;
  int last = w->n_columns - 1;
  if (at[0] != w->columns[0].at || at[last] + w->columns[last].put != size)
    return zt_fail(ZT_ERR_INTERNAL,
                   "%s: this HDF5 lays files out in an unknown way", path);
  for (int i = 1; i < w->n_columns; i++)
    ZT_TRY(copy(w, &w->columns[i], at[i]));
  return zt_write_at(w->output.fd, path, head, (size_t) at[0], 0);
}

zt_status zt_token_writer_finish(zt_token_writer *w) {
  int64_t at[COLUMNS], size;
  uint64_t parts[COLUMNS] = {0};
  char *head;
  for (int i = 0; i < w->n_columns; i++) {
    ZT_TRY(flush(w, &w->columns[i]));
    parts[i] = XXH3_64bits_digest(w->columns[i].state);
  }
  for (int i = 0; i < w->n_columns / 2; i++)
    if (w->info.tokens[i] == 0 || w->documents[i] != w->documents[0])
      return zt_fail(ZT_ERR_DATA, "%s: there would be no tokens in it",
                     w->output.path);
  if (w->info.masked && w->columns[MASK_COLUMN].put != w->info.tokens[0])
    return zt_fail(ZT_ERR_INTERNAL, "%s: its mask has gaps", w->output.path);
  w->info.digest = zt_tokens_digest(&w->info, parts);
  zt_status status = make_skeleton(w, &w->info, at, &head, &size);
  if (status == ZT_OK)
    status = assemble(w, at, head, size);
  free(head);
  ZT_TRY(status);
  return zt_output_commit(&w->output);
}

void zt_token_writer_destroy(zt_token_writer **writer) {
  zt_token_writer *w = *writer;
  *writer = NULL;
  if (!w)
    return;
  for (int i = 0; i < COLUMNS; i++) {
    column *c = &w->columns[i];
    if (i > 0 && c->fd >= 0)
      close(c->fd);
    free(c->buffer);
    XXH3_freeState(c->state);
  }
  zt_output_discard(&w->output);
  free(w->skeleton);
  free(w);
}
