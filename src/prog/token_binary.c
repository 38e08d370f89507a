/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/token_binary.h"

#include "base/memory.h"
#include "base/text.h"
#include "train/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  BLOCK = 1 << 16,  /* ids read at once */
  LLMC_HEADER = 256 /* int32 */
};

/* A file of ids of one width. */
typedef struct id_file {
  const char *path;
  int fd;
  int64_t size; /* bytes */
  int width;    /* bytes of an id: 1, 2, 4 or 8 */
  bool is_signed;
  char *raw;    /* [BLOCK] ids as they lie there */
  int32_t *ids; /* [BLOCK] */
} id_file;

/* ---- Reading ---- */

static zt_status open_file(const char *path, id_file *file) {
  struct stat st;
  *file = (id_file){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
  if (file->fd < 0)
    return zt_fail_open(path);
  file->raw = zt_calloc(BLOCK, 8);
  file->ids = zt_calloc(BLOCK, sizeof *file->ids);
  if (!file->raw || !file->ids)
    return ZT_ERR_MEMORY;
  if (fstat(file->fd, &st) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot read its size", path);
  if (!S_ISREG(st.st_mode))
    return zt_fail(ZT_ERR_DATA, "%s: not a regular file", path);
  file->size = st.st_size;
  return ZT_OK;
}

static void close_file(id_file *file) {
  if (file->fd >= 0)
    close(file->fd);
  free(file->raw);
  free(file->ids);
}

static zt_status read_at(const id_file *file, void *to, size_t size,
                         int64_t at) {
  for (size_t done = 0; done < size;) {
    ssize_t n = pread(file->fd, (char *) to + done, size - done,
                      (off_t) (at + (int64_t) done));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return zt_fail_errno(ZT_ERR_IO, "%s: cannot read", file->path);
    if (n == 0)
      return zt_fail(ZT_ERR_DATA, "%s: ends at byte %" PRId64, file->path,
                     at + (int64_t) done);
    done += (size_t) n;
  }
  return ZT_OK;
}

static int64_t value_of(const id_file *file, size_t i) {
  const char *at = file->raw + i * (size_t) file->width;
  uint8_t u8;
  uint16_t u16;
  uint32_t u32;
  int64_t i64;
  switch (file->width) {
  case 1:
    memcpy(&u8, at, 1);
    return file->is_signed ? (int8_t) u8 : u8;
  case 2:
    memcpy(&u16, at, 2);
    return file->is_signed ? (int16_t) u16 : u16;
  case 4:
    memcpy(&u32, at, 4);
    return file->is_signed ? (int32_t) u32 : (int64_t) u32;
  default:
    memcpy(&i64, at, 8);
    return i64;
  }
}

/* Ids first .. first + n - 1 of those that begin at a byte; n <= BLOCK. */
static zt_status read_ids(const zt_token_input *in, id_file *file,
                          int64_t begin, int64_t first, size_t n) {
  ZT_TRY(zt_watch_pause());
  ZT_TRY(read_at(file, file->raw, n * (size_t) file->width,
                 begin + first * file->width));
  for (size_t i = 0; i < n; i++) {
    int64_t id = value_of(file, i);
    if (id < 0 || id >= in->info.vocabulary)
      return zt_fail(ZT_ERR_DATA,
                     "%s: token %" PRId64 " is %" PRId64
                     ", outside the vocabulary of %" PRId64
                     "; is --vocab right?",
                     file->path, first + (int64_t) i, id, in->info.vocabulary);
    file->ids[i] = (int32_t) id;
  }
  return ZT_OK;
}

static void report(zt_token_input *in, size_t bytes) {
  in->bytes += (int64_t) bytes;
  if (in->progress)
    in->progress(in);
}

static zt_status begin(zt_token_input *in, const char *path) {
  return zt_token_input_expect(in, path, 0, ZT_TOKENS_DOCUMENTS);
}

/* ---- llm.c ---- */

static const struct {
  int32_t magic, version;
  int width;
  int64_t end; /* what documents begin with */
} llmc_kinds[] = {
    {20240520, 1, 2, 50256},  /* GPT-2 */
    {20240801, 7, 4, 128000}, /* Llama 3 */
};

static zt_status read_llmc_header(id_file *file, int64_t *end, int64_t *count) {
  int32_t header[LLMC_HEADER];
  size_t kind = 0, kinds = sizeof llmc_kinds / sizeof *llmc_kinds;
  if (file->size < (int64_t) sizeof header)
    return zt_fail(ZT_ERR_DATA,
                   "%s: %" PRId64 " bytes are no token file of llm.c, and "
                   "there is no .idx beside it",
                   file->path, file->size);
  ZT_TRY(read_at(file, header, sizeof header, 0));
  while (kind < kinds && llmc_kinds[kind].magic != header[0])
    kind++;
  if (kind == kinds)
    return zt_fail(ZT_ERR_DATA,
                   "%s: magic number %d is not llm.c's (20240520, 20240801), "
                   "and there is no .idx beside it",
                   file->path, header[0]);
  if (header[1] != llmc_kinds[kind].version)
    return zt_fail(ZT_ERR_DATA, "%s: version %d, %d is known", file->path,
                   header[1], llmc_kinds[kind].version);
  file->width = llmc_kinds[kind].width;
  *count = header[2];
  *end = llmc_kinds[kind].end;
  if (*count < 1 ||
      file->size != (int64_t) sizeof header + *count * file->width)
    return zt_fail(ZT_ERR_DATA,
                   "%s: says %" PRId64 " tokens, but holds %" PRId64
                   " bytes of them",
                   file->path, *count, file->size - (int64_t) sizeof header);
  return ZT_OK;
}

static zt_status add_llmc(zt_token_input *in, id_file *file) {
  int64_t count = 0, end = 0;
  ZT_TRY(read_llmc_header(file, &end, &count));
  if (in->eos_given)
    end = in->info.eos;
  ZT_TRY(begin(in, file->path));
  for (int64_t at = 0; at < count;) {
    size_t n = count - at < BLOCK ? (size_t) (count - at) : BLOCK, from = 0;
    ZT_TRY(read_ids(in, file, LLMC_HEADER * 4, at, n));
    for (size_t i = 0; i < n; i++)
      if (file->ids[i] == end && at + (int64_t) i > 0) {
        ZT_TRY(zt_token_put(in, ZT_STREAM_TEXT, file->ids + from, i - from));
        ZT_TRY(zt_token_put_end(in, ZT_STREAM_TEXT));
        from = i;
      }
    ZT_TRY(zt_token_put(in, ZT_STREAM_TEXT, file->ids + from, n - from));
    at += (int64_t) n;
    report(in, n * (size_t) file->width);
  }
  return zt_token_put_end(in, ZT_STREAM_TEXT);
}

/* ---- Megatron ---- */

/* Of the .idx: a head of 34 bytes, lengths int32[sequences], byte offsets
 * int64[sequences], documents int64[documents] with the first sequence of each
 * and, last, the number of sequences; modes may follow. */
typedef struct megatron {
  id_file file;
  int64_t sequences, documents;    /* documents: entries of the table */
  int64_t lengths, offsets, table; /* bytes where they begin */
} megatron;

enum { INDEX_HEAD = 34 };

static zt_status read_type(int code, const char *path, id_file *ids) {
  static const struct {
    int width;
    bool is_signed;
  } types[] = {{0, false}, {1, false}, {1, true},  {2, true}, {4, true},
               {8, true},  {0, false}, {0, false}, {2, false}};
  if (code < 0 || code >= (int) (sizeof types / sizeof *types) ||
      types[code].width == 0)
    return zt_fail(ZT_ERR_DATA, "%s: type %d is none of ids", path, code);
  ids->width = types[code].width;
  ids->is_signed = types[code].is_signed;
  return ZT_OK;
}

static zt_status read_index_head(megatron *x, id_file *ids) {
  char head[INDEX_HEAD];
  uint64_t version;
  const char *path = x->file.path;
  if (x->file.size < INDEX_HEAD)
    return zt_fail(ZT_ERR_DATA, "%s: %" PRId64 " bytes are no index", path,
                   x->file.size);
  ZT_TRY(read_at(&x->file, head, sizeof head, 0));
  memcpy(&version, head + 9, 8);
  memcpy(&x->sequences, head + 18, 8);
  memcpy(&x->documents, head + 26, 8);
  if (memcmp(head, "MMIDIDX\0", 9))
    return zt_fail(ZT_ERR_DATA, "%s: does not begin as Megatron's index", path);
  if (version != 1)
    return zt_fail(ZT_ERR_DATA, "%s: version %" PRIu64 ", 1 is known", path,
                   version);
  ZT_TRY(read_type(head[17], path, ids));
  int64_t most = x->file.size / 4;
  if (x->sequences < 1 || x->sequences > most || x->documents < 2 ||
      x->documents > most)
    return zt_fail(ZT_ERR_DATA,
                   "%s: %" PRId64 " sequences and %" PRId64
                   " documents do not fit its %" PRId64 " bytes",
                   path, x->sequences, x->documents - 1, x->file.size);
  x->lengths = INDEX_HEAD;
  x->offsets = x->lengths + 4 * x->sequences;
  x->table = x->offsets + 8 * x->sequences;
  /* Modes, one byte a sequence, may follow. */
  int64_t end = x->table + 8 * x->documents;
  if (x->file.size != end && x->file.size != end + x->sequences)
    return zt_fail(ZT_ERR_DATA, "%s: %" PRId64 " bytes, %" PRId64 " expected",
                   path, x->file.size, end);
  return ZT_OK;
}

/* One sequence into the current document. */
static zt_status add_sequence(zt_token_input *in, const megatron *x, int64_t i,
                              id_file *ids) {
  int32_t length;
  int64_t offset;
  ZT_TRY(read_at(&x->file, &length, 4, x->lengths + 4 * i));
  ZT_TRY(read_at(&x->file, &offset, 8, x->offsets + 8 * i));
  if (length < 0 || offset < 0 || offset % ids->width || offset > ids->size ||
      (int64_t) length * ids->width > ids->size - offset)
    return zt_fail(ZT_ERR_DATA,
                   "%s: sequence %" PRId64 " (%d tokens from byte %" PRId64
                   ") is not within the %" PRId64 " bytes of the .bin",
                   x->file.path, i, length, offset, ids->size);
  int64_t first = offset / ids->width;
  for (int64_t at = 0; at < length;) {
    size_t n = length - at < BLOCK ? (size_t) (length - at) : BLOCK;
    ZT_TRY(read_ids(in, ids, 0, first + at, n));
    ZT_TRY(zt_token_put(in, ZT_STREAM_TEXT, ids->ids, n));
    at += (int64_t) n;
    report(in, n * (size_t) ids->width);
  }
  return ZT_OK;
}

static zt_status add_documents(zt_token_input *in, const megatron *x,
                               id_file *ids) {
  int64_t first = 0, next;
  for (int64_t d = 0; d < x->documents; d++, first = next) {
    ZT_TRY(read_at(&x->file, &next, 8, x->table + 8 * d));
    if (next < first || next > x->sequences || (d == 0 && next != 0) ||
        (d == x->documents - 1 && next != x->sequences))
      return zt_fail(ZT_ERR_DATA,
                     "%s: document %" PRId64 " begins at sequence %" PRId64
                     " of %" PRId64,
                     x->file.path, d, next, x->sequences);
    if (d == 0)
      continue;
    for (int64_t i = first; i < next; i++)
      ZT_TRY(add_sequence(in, x, i, ids));
    ZT_TRY(zt_token_put_end(in, ZT_STREAM_TEXT));
  }
  return ZT_OK;
}

static zt_status add_megatron(zt_token_input *in, const char *index_path,
                              id_file *ids) {
  megatron x = {0};
  zt_status status = open_file(index_path, &x.file);
  if (status == ZT_OK)
    status = read_index_head(&x, ids);
  if (status == ZT_OK)
    status = begin(in, ids->path);
  if (status == ZT_OK)
    status = add_documents(in, &x, ids);
  close_file(&x.file);
  return status;
}

/* ---- Either ---- */

bool zt_is_token_binary(const char *path) {
  return zt_ends_with(path, ".bin") || zt_ends_with(path, ".idx");
}

zt_status zt_token_binary_add(zt_token_input *in, const char *path) {
  char bin[PATH_MAX], idx[PATH_MAX];
  int stem = (int) strlen(path) - 4;
  ZT_TRY(zt_path(bin, "%.*s.bin", stem, path));
  ZT_TRY(zt_path(idx, "%.*s.idx", stem, path));
  bool indexed = zt_ends_with(path, ".idx") || access(idx, F_OK) == 0;
  id_file ids;
  zt_status status = open_file(bin, &ids);
  if (status == ZT_OK)
    status = indexed ? add_megatron(in, idx, &ids) : add_llmc(in, &ids);
  close_file(&ids);
  return status;
}
