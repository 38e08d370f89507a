/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/raw_rate.h"

#include "base/clock.h"
#include "base/text.h"
#include "io/output.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

zt_status zt_raw_begin(zt_raw_file *raw, const char *dir, int rank,
                       int64_t bytes, char *buffer, size_t size) {
  int64_t pieces = (bytes + (int64_t) size - 1) / (int64_t) size;
  *raw = (zt_raw_file){.file = {.fd = -1, .direct = -1},
                       .buffer = buffer,
                       .size = size,
                       .bytes = (pieces ? pieces : 1) * (int64_t) size};
  ZT_TRY(zt_path(raw->path, "%s/.rate-%d-%d.tmp", dir, rank, (int) getpid()));
  if (zt_direct_open(&raw->file, raw->path, O_RDWR | O_CREAT | O_EXCL) != ZT_OK)
    return ZT_ERR_CREATE;
  unlink(raw->path);
  zt_output out = {.temporary = raw->path, .fd = raw->file.fd};
  zt_status status = zt_output_reserve(&out, raw->bytes);
  if (status != ZT_OK)
    zt_raw_end(raw);
  return status;
}

zt_status zt_raw_write(zt_raw_file *raw, double *seconds) {
  /* Some storage makes zeros vanish. */
  for (size_t i = 0; i < raw->size; i++)
    raw->buffer[i] = (char) (i * 2654435761u >> 13);
  int64_t began = zt_clock_ns();
  for (int64_t at = 0; at < raw->bytes; at += (int64_t) raw->size)
    ZT_TRY(zt_direct_write(&raw->file, raw->buffer, raw->size, at));
  ZT_TRY(zt_direct_sync(&raw->file));
  *seconds = 1e-9 * (double) (zt_clock_ns() - began);
  return ZT_OK;
}

zt_status zt_raw_read(zt_raw_file *raw, double *seconds) {
  posix_fadvise(raw->file.fd, 0, 0, POSIX_FADV_DONTNEED);
  int64_t began = zt_clock_ns();
  for (int64_t at = 0; at < raw->bytes; at += (int64_t) raw->size)
    ZT_TRY(zt_direct_read(&raw->file, raw->buffer, raw->size, at));
  *seconds = 1e-9 * (double) (zt_clock_ns() - began);
  return ZT_OK;
}

void zt_raw_end(zt_raw_file *raw) {
  zt_direct_close(&raw->file);
}

double zt_raw_write_rate(const char *dir, int rank, size_t bytes, char *buffer,
                         size_t size) {
  enum { MOST = 64 << 20 };
  zt_raw_file raw;
  double seconds = 0;
  if (bytes == 0 ||
      zt_raw_begin(&raw, dir, rank, bytes < MOST ? (int64_t) bytes : MOST,
                   buffer, size) != ZT_OK)
    return 0;
  zt_status status = zt_raw_write(&raw, &seconds);
  zt_raw_end(&raw);
  return status == ZT_OK && seconds > 0 ? (double) raw.bytes / seconds : 0;
}
