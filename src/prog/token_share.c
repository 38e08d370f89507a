/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/token_share.h"

#include "base/memory.h"
#include "comm/agree.h"
#include "io/output.h"
#include "prog/token_binary.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
  WINDOW = 1 << 20, /* bytes in which a part begins */
  LARGE = 16 << 20, /* bytes of a part that rank 0 does without keeping it */
  SEND = 1 << 30    /* bytes sent at once */
};

/* How a file is worked on. */
typedef enum manner {
  WHOLE, /* by rank 0 */
  LINES, /* JSONL: cut before any line */
  TEXT   /* plain text: cut before some line feeds */
} manner;

/* What a rank does in a round: the part that begins in a window, if any. */
typedef struct unit {
  manner manner;
  int64_t at; /* where the window begins */
  int64_t window;
  zt_token_part part; /* first: -1: none begins here */
} unit;

/* What ranks tell each other of their units. */
enum { SAY_BYTES, SAY_LINES, SAY_LARGE, SAY_SIZE, SAYS };

typedef struct sharing {
  zt_token_input *in;
  zt_comm *comm;
  char *const *paths;
  int n, next;   /* files; the one after those that are under way */
  unit current;  /* the window that was handed out last */
  int64_t lines; /* of the current file, before this round */
  unit *units;   /* [ranks] of this round */
  int64_t *say;  /* [ranks][SAYS] */
  char *buffer;  /* [WINDOW + 1] */
  zt_token_record record, received;
} sharing;

/* ---- Units ---- */

static manner manner_of(const sharing *s, const char *path, int64_t *size) {
  struct stat st;
  *size = 0;
  if (!strcmp(path, "-") || zt_is_token_binary(path) || stat(path, &st) != 0 ||
      !S_ISREG(st.st_mode) || st.st_size == 0)
    return WHOLE;
  *size = st.st_size;
  return zt_token_input_has_lines(s->in, path) ? LINES : TEXT;
}

/* The next window of all files.  Returns false at the end. */
static bool next_unit(sharing *s, unit *u) {
  unit *c = &s->current;
  c->at += c->window;
  if (c->at >= c->part.size) {
    if (s->next == s->n)
      return false;
    *c = (unit){.part.path = s->paths[s->next++]};
    c->manner = manner_of(s, c->part.path, &c->part.size);
    bool cuts = c->manner == LINES ||
                (s->in->tokenizer && s->in->tokenizer->cuts_at_lines);
    c->window = c->manner != WHOLE && cuts ? WINDOW : c->part.size;
  }
  *u = *c;
  return true;
}

/* Whether a file may be cut between two bytes. */
static bool may_cut(manner how, char before, char after) {
  bool letter = (before >= 'a' && before <= 'z') ||
                (before >= 'A' && before <= 'Z') ||
                (before >= '0' && before <= '9');
  return how == LINES ? before == '\n' : letter && after == '\n';
}

/* The first place to cut in the window from `at` on; -1: none. */
static zt_status find_cut(const sharing *s, const unit *u, int fd, int64_t at,
                          int64_t *cut) {
  int64_t end = at + u->window < u->part.size ? at + u->window : u->part.size;
  *cut = at == 0 ? 0 : -1;
  if (at == 0)
    return ZT_OK;
  ZT_TRY(
      zt_read_at(fd, u->part.path, s->buffer, (size_t) (end - at + 1), at - 1));
  for (int64_t i = 0; i < end - at; i++)
    if (may_cut(u->manner, s->buffer[i], s->buffer[i + 1])) {
      *cut = at + i;
      break;
    }
  return ZT_OK;
}

static zt_status count_lines(const sharing *s, const unit *u, int fd,
                             int64_t *lines) {
  for (int64_t at = u->part.first; at < u->part.end; at += WINDOW) {
    int64_t left = u->part.end - at;
    size_t n = left < WINDOW ? (size_t) left : WINDOW;
    ZT_TRY(zt_read_at(fd, u->part.path, s->buffer, n, at));
    for (const char *c = s->buffer, *end = c + n;
         (c = memchr(c, '\n', (size_t) (end - c))); c++)
      ++*lines;
  }
  return ZT_OK;
}

/* Where our part begins and ends, and its lines. */
static zt_status measure(const sharing *s, unit *u, int fd, int64_t *lines) {
  int64_t end = -1;
  ZT_TRY(find_cut(s, u, fd, u->at, &u->part.first));
  if (u->part.first < 0)
    return ZT_OK;
  for (int64_t at = u->at + u->window; end < 0; at += u->window) {
    if (at >= u->part.size)
      end = u->part.size;
    else
      ZT_TRY(find_cut(s, u, fd, at, &end));
  }
  u->part.end = end;
  return u->manner == LINES ? count_lines(s, u, fd, lines) : ZT_OK;
}

/* ---- A round ---- */

/* Look at our unit, and tell all. */
static zt_status look(sharing *s, int count) {
  int rank = s->comm->rank;
  unit *u = &s->units[rank];
  int64_t *say = s->say + rank * SAYS;
  if (rank >= count)
    return ZT_OK;
  say[SAY_LARGE] = u->manner == WHOLE;
  if (u->manner == WHOLE)
    return ZT_OK;
  int fd = open(u->part.path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return zt_fail_open(u->part.path);
  zt_status status = measure(s, u, fd, &say[SAY_LINES]);
  close(fd);
  if (u->part.first >= 0)
    say[SAY_BYTES] = u->part.end - u->part.first;
  say[SAY_LARGE] = say[SAY_BYTES] > LARGE;
  return status;
}

/* The line numbers at which units begin. */
static void number_lines(sharing *s, int count) {
  for (int r = 0; r < count; r++) {
    if (s->units[r].at == 0)
      s->lines = 0;
    s->units[r].part.line = s->lines;
    s->lines += s->say[r * SAYS + SAY_LINES];
  }
}

/* Our part, to the record; rank 0's straight to the file. */
static zt_status encode(sharing *s, int count) {
  int rank = s->comm->rank;
  const int64_t *say = s->say + rank * SAYS;
  s->record.size = 0;
  if (rank == 0 || rank >= count || say[SAY_LARGE] || say[SAY_BYTES] == 0)
    return ZT_OK;
  s->in->record = &s->record;
  zt_status status = zt_token_input_add_part(s->in, &s->units[rank].part);
  s->in->record = NULL;
  return status;
}

/* What rank 0 does by itself: its own part, and what nobody may keep. */
static zt_status write_own(sharing *s, int r) {
  unit *u = &s->units[r];
  const int64_t *say = s->say + r * SAYS;
  if (u->manner == WHOLE)
    return zt_token_input_add(s->in, u->part.path);
  if (say[SAY_BYTES] == 0 || (r > 0 && !say[SAY_LARGE]))
    return ZT_OK;
  if (r > 0) { /* it is known to its rank alone */
    int64_t lines = 0;
    int fd = open(u->part.path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      return zt_fail_open(u->part.path);
    zt_status status = measure(s, u, fd, &lines);
    close(fd);
    ZT_TRY(status);
  }
  return zt_token_input_add_part(s->in, &u->part);
}

/* The record of a rank, to all since no collective goes to one; rank 0 wants
 * it. */
static zt_status send(sharing *s, int r, zt_token_record **record) {
  size_t size = (size_t) s->say[r * SAYS + SAY_SIZE];
  bool ours = s->comm->rank == r;
  *record = ours ? &s->record : &s->received;
  if (zt_token_record_reserve(*record, size) != ZT_OK)
    zt_fatal(s->comm, ZT_ERR_MEMORY); /* too late to agree on it */
  for (size_t at = 0; at < size; at += SEND)
    ZT_TRY(zt_comm_broadcast(s->comm, (*record)->bytes + at,
                             size - at < SEND ? size - at : SEND, r));
  (*record)->size = size;
  return ZT_OK;
}

/* All records in order into the file.
 * status  of rank 0's writing; others have none */
static zt_status collect(sharing *s, int count, zt_status *status) {
  zt_token_record *record;
  *status = ZT_OK;
  for (int r = 1; r < count; r++) {
    ZT_TRY(send(s, r, &record));
    if (s->comm->rank != 0 || *status != ZT_OK)
      continue;
    *status = write_own(s, r);
    if (*status == ZT_OK)
      *status = zt_token_record_replay(record, s->in, s->units[r].part.path);
    s->in->bytes += record->size > 0 ? s->say[r * SAYS + SAY_BYTES] : 0;
  }
  return ZT_OK;
}

static zt_status do_round(sharing *s, int count) {
  int ranks = s->comm->size;
  bool root = s->comm->rank == 0;
  memset(s->say, 0, (size_t) ranks * SAYS * sizeof *s->say);
  ZT_TRY(zt_agree(s->comm, look(s, count)));
  ZT_TRY(zt_comm_all_reduce(s->comm, s->say, ranks * SAYS, ZT_SUM));
  number_lines(s, count);
  ZT_TRY(zt_agree(s->comm, root ? write_own(s, 0) : encode(s, count)));
  /* Sizes are news, all else is known and counts once. */
  for (int r = 0; r < ranks && !root; r++)
    for (int i = 0; i < SAY_SIZE; i++)
      s->say[r * SAYS + i] = 0;
  s->say[s->comm->rank * SAYS + SAY_SIZE] = (int64_t) s->record.size;
  ZT_TRY(zt_comm_all_reduce(s->comm, s->say, ranks * SAYS, ZT_SUM));
  zt_status status;
  ZT_TRY(collect(s, count, &status));
  if (root && status == ZT_OK && s->in->progress && s->in->writer)
    s->in->progress(s->in);
  return zt_agree(s->comm, status);
}

zt_status zt_token_share(zt_token_input *in, zt_comm *comm, char *const *paths,
                         int n) {
  size_t ranks = (size_t) comm->size;
  sharing s = {.in = in,
               .comm = comm,
               .paths = paths,
               .n = n,
               .units = zt_calloc(ranks, sizeof *s.units),
               .say = zt_calloc(ranks, SAYS * sizeof *s.say),
               .buffer = zt_calloc(WINDOW + 1, 1)};
  zt_status status = s.units && s.say && s.buffer ? ZT_OK : ZT_ERR_MEMORY;
  status = zt_agree(comm, status);
  for (int count = comm->size; status == ZT_OK && count == comm->size;) {
    for (count = 0; count < comm->size && next_unit(&s, &s.units[count]);)
      count++;
    if (count > 0)
      status = do_round(&s, count);
  }
  free(s.units);
  free(s.say);
  free(s.buffer);
  free(s.record.bytes);
  free(s.received.bytes);
  return status;
}
