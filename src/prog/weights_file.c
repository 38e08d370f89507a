/* SPDX-License-Identifier: BSD-3-Clause */
#include "prog/weights_file.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "train/watch.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct work {
  const zt_weights_file *file;
  zt_checkpoint_writer writer;
  uint64_t digest;
} work;

/* ---- Parameters, by all ranks ---- */

static zt_status fill(void *context, int index, int64_t at, int64_t n,
                      void *bytes) {
  work *w = context;
  const zt_weights_file *f = w->file;
  const zt_param *p = &f->spec.params->list[index];
  const zt_dtype dtype = f->spec.dtypes[index];
  const int64_t width = (int64_t) zt_dtype_size(dtype);
  int64_t begin = at / width, count = n / width;
  ZT_TRY(f->parameter(f->context, index, begin, count, bytes));
  w->digest += zt_digest_part("parameters", p, dtype, bytes, begin, count);
  return ZT_OK;
}

static zt_status place(void *context, int index, int *file, int64_t *offset) {
  work *w = context;
  *file = 0;
  *offset = w->writer.at[index];
  return zt_fault_check(ZT_FAULT_IMPORT_WRITE);
}

static zt_status open_file(void *context, int file, int *fd,
                           const char **path) {
  work *w = context;
  (void) file;
  *fd = w->writer.fd;
  *path = w->writer.name;
  return ZT_OK;
}

/* The commit makes it durable. */
static zt_status close_file(void *context, int file, int fd) {
  (void) context;
  (void) file;
  (void) fd;
  return ZT_OK;
}

static zt_status write_parameters(work *w, zt_transfer_report *report) {
  const zt_checkpoint_spec *spec = &w->file->spec;
  const int count = spec->params->count;
  int64_t *start = zt_calloc((size_t) count + 1, sizeof *start);
  if (!start)
    return ZT_ERR_MEMORY;
  for (int p = 0; p < count; p++)
    start[p + 1] = start[p] + spec->params->list[p].numel *
                                  (int64_t) zt_dtype_size(spec->dtypes[p]);
  zt_transfer transfer = {.comm = w->writer.comm,
                          .verb = w->file->verb,
                          .count = count,
                          .start = start,
                          .fill = fill,
                          .place = place,
                          .open = open_file,
                          .close = close_file,
                          .context = w};
  zt_status status = zt_transfer_run(&transfer, report);
  free(start);
  return status;
}

/* ---- Configuration files, by rank 0 ---- */

static zt_status write_config(work *w) {
  enum { PIECE = 1 << 16 };
  char bytes[PIECE];
  const zt_checkpoint_spec *spec = &w->file->spec;
  const int64_t *place_of = w->writer.at + spec->params->count;
  for (int i = 0; i < spec->n_config; i++)
    for (int64_t at = 0; at < spec->config[i].size; at += PIECE) {
      int64_t left = spec->config[i].size - at;
      size_t n = (size_t) (left < PIECE ? left : PIECE);
      ZT_TRY(w->file->config(w->file->context, i, at, n, bytes));
      ZT_TRY(zt_write_at(w->writer.fd, w->writer.name, bytes, n,
                         place_of[i] + at));
    }
  return ZT_OK;
}

zt_status zt_weights_file_write(const zt_weights_file *file, zt_comm *comm,
                                uint64_t *digest, zt_transfer_report *report) {
  work w = {.file = file};
  zt_watch_signals(); /* one that comes now leaves nothing behind */
  ZT_TRY(zt_checkpoint_writer_create(file->path, file->replace, &file->spec,
                                     comm, &w.writer));
  zt_status status = write_parameters(&w, report);
  if (status == ZT_OK && comm->rank == 0)
    status = write_config(&w);
  ZT_TRY(zt_checkpoint_writer_commit(&w.writer, status, &w.digest));
  *digest = w.digest;
  return zt_transfer_sum(comm, report);
}

void zt_weights_file_say(const zt_weights_file *file, uint64_t digest,
                         const zt_transfer_report *report) {
  char size[32], rate[32], memory[32], time[32];
  zt_info("%s: %d parameters, %s in %s (%s/s), peak private memory %s",
          file->path, file->spec.params->count,
          zt_human_bytes((double) report->bytes, size),
          zt_human_time(report->seconds, time),
          zt_human_bytes((double) report->bytes / report->seconds, rate),
          zt_human_bytes((double) report->memory, memory));
  zt_info("digest %016" PRIx64, digest);
}
