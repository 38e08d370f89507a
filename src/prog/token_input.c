/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/token_input.h"

#include "base/memory.h"
#include "base/text.h"
#include "prog/token_binary.h"
#include "train/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  BLOCK = 1 << 20,      /* bytes read at once */
  MOST_LINE = 64 << 20, /* bytes; a parsed line takes a multiple of it */
  IDS = 4096,           /* ids handed on at once */
  MOST_QUOTED = 60      /* bytes of JSON's complaint that are shown */
};

/* An input file, or a part of one; `line` is the current one, from 1, 0 in
 * plain text. */
typedef struct source {
  const char *path;
  int fd;
  int64_t line;
  bool begins, ends; /* a part: whether the file begins and ends with it */
  int64_t left;      /* bytes of the part, -1: to the end of the file */
} source;

/* ---- Into the writer ---- */

zt_status zt_token_put(zt_token_input *in, int stream, const int32_t *ids,
                       size_t n) {
  if (in->record)
    return zt_token_record_add(in->record, stream, ids, n);
  return zt_token_writer_add(in->writer, stream, ids, n);
}

zt_status zt_token_put_mask(zt_token_input *in, bool learnt, size_t n) {
  if (in->record)
    return zt_token_record_mask(in->record, learnt, n);
  return zt_token_writer_mask(in->writer, learnt, n);
}

zt_status zt_token_put_end(zt_token_input *in, int stream) {
  if (in->record)
    return zt_token_record_end(in->record, stream);
  return zt_token_writer_end(in->writer, stream);
}

static zt_status add_ids(void *context, const int32_t *ids, size_t n) {
  return zt_token_put(context, ZT_STREAM_TEXT, ids, n);
}

static zt_status add_target_ids(void *context, const int32_t *ids, size_t n) {
  return zt_token_put(context, ZT_STREAM_TARGET, ids, n);
}

zt_status zt_token_input_expect(zt_token_input *in, const char *path,
                                int64_t line, zt_tokens_kind kind) {
  static const char *const one[] = {"a document", "a pair", "a conversation"};
  static const char *const many[] = {"documents", "pairs", "conversations"};
  if (in->record)
    return zt_token_record_expect(in->record, line, (int) kind);
  if (!in->writer) {
    in->info.pairs = kind == ZT_TOKENS_PAIRS;
    in->info.masked = kind == ZT_TOKENS_CHATS;
    return zt_token_writer_create(in->output, &in->info, in->replace,
                                  &in->writer);
  }
  const zt_tokens_info *info = zt_token_writer_about(in->writer);
  zt_tokens_kind was = info->pairs    ? ZT_TOKENS_PAIRS
                       : info->masked ? ZT_TOKENS_CHATS
                                      : ZT_TOKENS_DOCUMENTS;
  if (was == kind)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%s:%" PRId64 ": %s, but %s came before; make two files", path,
                 line, one[kind], many[was]);
}

static zt_status expect(zt_token_input *in, const source *from,
                        zt_tokens_kind kind) {
  return zt_token_input_expect(in, from->path, from->line, kind);
}

/* The next piece of a text. */
static zt_status add_piece(zt_token_input *in, int stream, const char *text,
                           size_t size, bool last) {
  zt_id_sink sink = stream == ZT_STREAM_TARGET ? add_target_ids : add_ids;
  return zt_tokenizer_encode(in->tokenizer, text, size, last, sink, in);
}

/* An id that a text begins or ends with; -1: none. */
static zt_status add_mark(zt_token_input *in, int stream, int64_t id) {
  int32_t mark = (int32_t) id;
  return id < 0 ? ZT_OK : zt_token_put(in, stream, &mark, 1);
}

static zt_status no_tokenizer(const source *from) {
  return zt_fail(
      ZT_ERR_USAGE,
      "%s: is text; give --tokenizer bytes, a SentencePiece model or "
      "a tokenizer.json",
      from->path);
}

/* ---- Values of a line ---- */

static zt_status add_array(zt_token_input *in, const source *from, int stream,
                           const char *key, const json_t *array) {
  int32_t ids[IDS];
  size_t count = json_array_size(array), used = 0;
  for (size_t i = 0; i < count; i++) {
    const json_t *value = json_array_get(array, i);
    int64_t id = json_integer_value(value);
    if (!json_is_integer(value))
      return zt_fail(ZT_ERR_DATA,
                     "%s:%" PRId64 ": \"%.40s\"[%zu] is no integer", from->path,
                     from->line, key, i);
    if (id < 0 || id >= in->info.vocabulary)
      return zt_fail(ZT_ERR_DATA,
                     "%s:%" PRId64 ": \"%.40s\"[%zu] is %" PRId64
                     ", outside the vocabulary of %" PRId64,
                     from->path, from->line, key, i, id, in->info.vocabulary);
    ids[used++] = (int32_t) id;
    if (used == IDS || i + 1 == count) {
      ZT_TRY(zt_token_put(in, stream, ids, used));
      used = 0;
    }
  }
  return zt_token_put_end(in, stream);
}

/* Text or ids; text between the marks, -1: none. */
static zt_status add_value(zt_token_input *in, const source *from, int stream,
                           const char *key, const json_t *value, int64_t begin,
                           int64_t end) {
  if (json_is_array(value))
    return add_array(in, from, stream, key, value);
  if (!json_is_string(value))
    return zt_fail(ZT_ERR_DATA,
                   "%s:%" PRId64 ": \"%.40s\" is neither text nor ids",
                   from->path, from->line, key);
  if (!in->tokenizer)
    return no_tokenizer(from);
  ZT_TRY(add_mark(in, stream, begin));
  ZT_TRY(add_piece(in, stream, json_string_value(value),
                   json_string_length(value), true));
  ZT_TRY(add_mark(in, stream, end));
  return zt_token_put_end(in, stream);
}

/* Two keys that belong together.  A source has an end of its own, a prompt
 * goes on in its completion. */
static const struct {
  const char *keys[2];
  bool prompt;
} pairs[] = {{{"source", "target"}, false}, {{"prompt", "completion"}, true}};

static zt_status add_pair(zt_token_input *in, const source *from,
                          const json_t *object, int which) {
  bool prompt = pairs[which].prompt;
  ZT_TRY(expect(in, from, ZT_TOKENS_PAIRS));
  for (int i = 0; i < 2; i++) {
    const char *key = pairs[which].keys[i];
    const json_t *value = json_object_get(object, key);
    if (json_is_array(value) && json_array_size(value) == 0)
      return zt_fail(ZT_ERR_DATA, "%s:%" PRId64 ": \"%s\" is empty", from->path,
                     from->line, key);
    ZT_TRY(add_value(in, from, i, key, value, prompt && i == 0 ? in->bos : -1,
                     prompt && i == 0 ? -1 : in->info.eos));
  }
  return ZT_OK;
}

static zt_status add_object(zt_token_input *in, const source *from,
                            const json_t *object) {
  const char *key = in->field;
  if (!key && json_is_array(json_object_get(object, "tokens")))
    key = "tokens";
  if (!key && json_object_get(object, "text"))
    key = "text";
  if (!key && json_is_array(json_object_get(object, "messages")))
    return zt_token_chat_add(in, from->path, from->line,
                             json_object_get(object, "messages"));
  for (int i = 0; !key && i < 2; i++)
    if (json_object_get(object, pairs[i].keys[0]) &&
        json_object_get(object, pairs[i].keys[1]))
      return add_pair(in, from, object, i);
  const json_t *value = key ? json_object_get(object, key) : NULL;
  if (!value && key)
    return zt_fail(ZT_ERR_DATA, "%s:%" PRId64 ": no \"%.40s\"", from->path,
                   from->line, key);
  if (!value)
    return zt_fail(
        ZT_ERR_DATA,
        "%s:%" PRId64 ": no \"text\", \"tokens\", \"messages\", "
        "\"source\" with \"target\", \"prompt\" with \"completion\"; "
        "--field NAME takes another key",
        from->path, from->line);
  ZT_TRY(expect(in, from, ZT_TOKENS_DOCUMENTS));
  return add_value(in, from, ZT_STREAM_TEXT, key, value, in->bos, in->info.eos);
}

static zt_status add_line(zt_token_input *in, const source *from,
                          const char *line, size_t size) {
  json_error_t error;
  size_t blank = 0;
  while (blank < size && strchr(" \t\r", line[blank]) && line[blank])
    blank++;
  if (blank == size)
    return ZT_OK;
  json_t *object =
      json_loadb(line, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
  if (!object) {
    for (char *c = error.text; *c; c++)
      if ((unsigned char) *c < ' ')
        *c = '?';
    return zt_fail(ZT_ERR_DATA, "%s:%" PRId64 ": not JSON: %.*s", from->path,
                   from->line, MOST_QUOTED, error.text);
  }
  zt_status status =
      json_is_object(object)
          ? add_object(in, from, object)
          : zt_fail(ZT_ERR_DATA, "%s:%" PRId64 ": not a JSON object",
                    from->path, from->line);
  json_decref(object);
  return status;
}

/* ---- Files ---- */

/* Bytes of a file that is not text would be learnt without a word. */
static zt_status check_kind(const source *from) {
  static const struct {
    const char *begins, *what, *way;
  } known[] = {
      {"\x1F\x8B", "compressed", "pass on what 'gzip -dc' gives, as -"},
      {"\x28\xB5\x2F\xFD", "compressed", "pass on what 'zstd -dc' gives, as -"},
      {"\xFD\x37zXZ", "compressed", "pass on what 'xz -dc' gives, as -"},
      {"BZh91AY&SY", "compressed", "pass on what 'bzip2 -dc' gives, as -"},
      {"PK\x03\x04", "a ZIP archive", "unpack it"},
      {"\x89HDF", "an HDF5 file", "name the text it was made from"},
      {"PAR1\x15", "a Parquet file", "export it as JSONL"},
      {"ARROW1", "an Arrow file", "export it as JSONL"}};
  char begin[16];
  ssize_t got = pread(from->fd, begin, sizeof begin, 0); /* not from a pipe */
  for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
    size_t n = strlen(known[i].begins);
    if (got >= (ssize_t) n && !memcmp(begin, known[i].begins, n))
      return zt_fail(ZT_ERR_DATA, "%s: is %s, not text: %s", from->path,
                     known[i].what, known[i].way);
  }
  return ZT_OK;
}

static zt_status open_source(source *from, const char *path) {
  struct stat st;
  *from = (source){.path = path,
                   .fd = STDIN_FILENO,
                   .begins = true,
                   .ends = true,
                   .left = -1};
  if (!strcmp(path, "-"))
    return ZT_OK;
  from->fd = open(path, O_RDONLY | O_CLOEXEC);
  if (from->fd < 0)
    return zt_fail_open(path);
  if (fstat(from->fd, &st) == 0 && S_ISDIR(st.st_mode)) {
    close(from->fd);
    return zt_fail(ZT_ERR_NOINPUT, "%s: is a directory; name its files", path);
  }
  posix_fadvise(from->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  zt_status status = check_kind(from);
  if (status != ZT_OK)
    close(from->fd);
  return status;
}

/* *n is 0 at the end of the file. */
static zt_status read_some(zt_token_input *in, source *from, char *to,
                           size_t most, size_t *n) {
  ssize_t got;
  if (from->left >= 0 && (int64_t) most > from->left)
    most = (size_t) from->left;
  do
    got = read(from->fd, to, most);
  while (got < 0 && errno == EINTR);
  if (got < 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot read", from->path);
  ZT_TRY(zt_watch_pause());
  *n = (size_t) got;
  in->bytes += got;
  from->left -= from->left >= 0 ? got : 0;
  if (in->progress)
    in->progress(in);
  return ZT_OK;
}

static zt_status add_plain(zt_token_input *in, source *from, char *block) {
  size_t n;
  ZT_TRY(read_some(in, from, block, BLOCK, &n));
  if (n == 0) {
    in->empty++;
    return ZT_OK;
  }
  if (!in->tokenizer)
    return no_tokenizer(from);
  ZT_TRY(expect(in, from, ZT_TOKENS_DOCUMENTS));
  if (from->begins)
    ZT_TRY(add_mark(in, ZT_STREAM_TEXT, in->bos));
  while (n > 0) {
    ZT_TRY(add_piece(in, ZT_STREAM_TEXT, block, n, false));
    ZT_TRY(read_some(in, from, block, BLOCK, &n));
  }
  ZT_TRY(add_piece(in, ZT_STREAM_TEXT, "", 0, true));
  if (!from->ends)
    return ZT_OK;
  ZT_TRY(add_mark(in, ZT_STREAM_TEXT, in->info.eos));
  return zt_token_put_end(in, ZT_STREAM_TEXT);
}

/* Lines in a buffer that grows with the longest one. */
typedef struct lines {
  char *data;
  size_t size, capacity; /* bytes held, bytes there is room for */
} lines;

/* All whole lines of the buffer; what is left moves to its beginning. */
static zt_status add_whole_lines(zt_token_input *in, source *from, lines *l,
                                 size_t seen) {
  char *begin = l->data, *end = l->data + l->size, *stop;
  char *look = l->data + seen; /* no line ends before */
  while ((stop = memchr(look, '\n', (size_t) (end - look)))) {
    from->line++;
    ZT_TRY(add_line(in, from, begin, (size_t) (stop - begin)));
    look = begin = stop + 1;
  }
  l->size = (size_t) (end - begin);
  memmove(l->data, begin, l->size);
  return ZT_OK;
}

static zt_status grow(lines *l, const source *from) {
  if (l->capacity >= MOST_LINE)
    return zt_fail(ZT_ERR_DATA,
                   "%s:%" PRId64 ": a line of more than %d MiB; long documents "
                   "can be plain text files",
                   from->path, from->line + 1, MOST_LINE >> 20);
  char *grown = realloc(l->data, 2 * l->capacity);
  if (!grown)
    return zt_fail(ZT_ERR_MEMORY, "out of memory for a line of %s", from->path);
  l->data = grown;
  l->capacity *= 2;
  return ZT_OK;
}

static zt_status add_lines(zt_token_input *in, source *from, lines *l) {
  static const char mark[] = "\xEF\xBB\xBF"; /* some editors begin files so */
  bool first = from->begins;
  for (size_t n = 1; n > 0;) {
    size_t seen = l->size;
    if (l->size == l->capacity)
      ZT_TRY(grow(l, from));
    ZT_TRY(read_some(in, from, l->data + l->size, l->capacity - l->size, &n));
    l->size += n;
    if (first && l->size >= 3 && !memcmp(l->data, mark, 3))
      memset(l->data, ' ', 3);
    first = first && l->size < 3;
    ZT_TRY(add_whole_lines(in, from, l, seen));
  }
  if (l->size == 0)
    return ZT_OK;
  from->line++; /* the last line may lack its end */
  return add_line(in, from, l->data, l->size);
}

static zt_status add_source(zt_token_input *in, source *from) {
  lines l = {.capacity = BLOCK, .data = zt_calloc(BLOCK, 1)};
  zt_status status = ZT_ERR_MEMORY;
  if (l.data && zt_token_input_has_lines(in, from->path))
    status = add_lines(in, from, &l);
  else if (l.data)
    status = add_plain(in, from, l.data);
  free(l.data);
  if (from->fd != STDIN_FILENO)
    close(from->fd);
  return status;
}

bool zt_token_input_has_lines(const zt_token_input *in, const char *path) {
  return in->jsonl || zt_ends_with(path, ".jsonl") ||
         zt_ends_with(path, ".json");
}

zt_status zt_token_input_add(zt_token_input *in, const char *path) {
  source from;
  if (zt_is_token_binary(path))
    return zt_token_binary_add(in, path);
  ZT_TRY(open_source(&from, path));
  return add_source(in, &from);
}

zt_status zt_token_input_add_part(zt_token_input *in,
                                  const zt_token_part *part) {
  source from;
  ZT_TRY(open_source(&from, part->path));
  from.begins = part->first == 0;
  from.ends = part->end == part->size;
  from.left = part->end - part->first;
  from.line = part->line;
  if (lseek(from.fd, (off_t) part->first, SEEK_SET) < 0) {
    close(from.fd);
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot seek", part->path);
  }
  return add_source(in, &from);
}
