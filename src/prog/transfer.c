/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/transfer.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "io/pieces.h"
#include "io/writer.h"
#include "prog/open_source.h"
#include "train/watch.h"

#include <time.h>

enum {
  BUFFERS = 8,
  SECONDS_BETWEEN_LINES = 10,
  PIECES_BETWEEN_LOOKS = 64, /* at the private memory */
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double) t.tv_sec + 1e-9 * (double) t.tv_nsec;
}

/* The file that is open, and what has been done. */
typedef struct progress {
  int file, fd; /* file -1: none */
  const char *path;
  int64_t share; /* bytes of this rank */
  double begun, next_line;
  int pieces;
} progress;

static void look(const zt_transfer *t, progress *p,
                 zt_transfer_report *report) {
  if (p->pieces++ % PIECES_BETWEEN_LOOKS == 0) {
    size_t memory = zt_private_bytes();
    if (memory > report->memory)
      report->memory = memory;
  }
  double time = now();
  if (time < p->next_line || p->share == 0)
    return;
  char size[32], rate[32];
  double part = (double) report->bytes / (double) p->share;
  double total = (double) t->start[t->count];
  p->next_line = time + SECONDS_BETWEEN_LINES;
  zt_info("%s: %.0f %% of %s, %s/s", t->verb, 100 * part,
          zt_human_bytes(total, size),
          zt_human_bytes(part * total / (time - p->begun), rate));
}

static zt_status end_file(const zt_transfer *t, zt_writer *writer,
                          progress *p) {
  if (p->file < 0)
    return ZT_OK;
  zt_status status = zt_writer_flush(writer);
  zt_status closed = t->close(t->context, p->file, p->fd);
  p->file = -1;
  return status == ZT_OK ? closed : status;
}

static zt_status write_piece(const zt_transfer *t, zt_writer *writer,
                             const zt_piece *piece, progress *p) {
  int file;
  int64_t offset;
  void *buffer = zt_writer_buffer(writer);
  ZT_TRY(zt_watch_pause());
  ZT_TRY(t->fill(t->context, piece->index, piece->at, piece->n, buffer));
  ZT_TRY(t->place(t->context, piece->index, &file, &offset));
  if (file != p->file) {
    ZT_TRY(end_file(t, writer, p));
    ZT_TRY(t->open(t->context, file, &p->fd, &p->path));
    p->file = file;
  }
  return zt_writer_put(writer, p->fd, p->path, (size_t) piece->n,
                       offset + piece->at);
}

zt_status zt_transfer_run(const zt_transfer *t, zt_transfer_report *report) {
  zt_writer *writer;
  zt_pieces pieces;
  zt_piece piece;
  progress p = {.file = -1, .begun = now()};
  *report = (zt_transfer_report){0};
  p.next_line = p.begun + SECONDS_BETWEEN_LINES;
  ZT_TRY(zt_writer_create(BUFFERS, ZT_BUFFER_BYTES, &writer));
  zt_pieces_begin(&pieces, t->start, t->count, t->comm->size, t->comm->rank,
                  ZT_BUFFER_BYTES);
  p.share = pieces.end - pieces.at;
  zt_status status = ZT_OK;
  while (status == ZT_OK && zt_pieces_next(&pieces, &piece)) {
    status = write_piece(t, writer, &piece, &p);
    report->bytes += piece.n;
    look(t, &p, report);
  }
  zt_status ended = end_file(t, writer, &p);
  zt_writer_destroy(&writer);
  report->seconds = now() - p.begun;
  return status == ZT_OK ? ended : status;
}

zt_status zt_transfer_sum(zt_comm *comm, zt_transfer_report *report) {
  int64_t most[] = {(int64_t) (report->seconds * 1e9),
                    (int64_t) report->memory};
  ZT_TRY(zt_comm_all_reduce(comm, &report->bytes, 1, ZT_SUM));
  ZT_TRY(zt_comm_all_reduce(comm, most, 2, ZT_MAX));
  report->seconds = (double) most[0] * 1e-9;
  report->memory = (size_t) most[1];
  return ZT_OK;
}
