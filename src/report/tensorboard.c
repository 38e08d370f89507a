/* SPDX-License-Identifier: BSD-3-Clause */
/* A file is a chain of records (TFRecord): u64 length, u32 masked CRC of the
 * length, the bytes, u32 masked CRC of the bytes, all little-endian.  The bytes
 * are one protobuf message `Event` each.  Of protobuf three wire types are
 * needed: 0 varint, 1 and 5 fixed 64 and 32 bits, 2 length and bytes. */
#include "report/tensorboard.h"

#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "report/append.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Field numbers of tensorflow/core/util/event.proto and
 * framework/summary.proto. */
enum {
  EVENT_WALL_TIME = 1,
  EVENT_STEP = 2,
  EVENT_FILE_VERSION = 3,
  EVENT_SUMMARY = 5,
  EVENT_SESSION_LOG = 7,
  SUMMARY_VALUE = 1,
  VALUE_TAG = 1,
  VALUE_SIMPLE = 2,
  SESSION_STATUS = 1,
  SESSION_START = 1
};
enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

#define FILE_PREFIX "events.out.tfevents."

struct zt_tensorboard {
  zt_append file;
  zt_text record, event, summary, value; /* kept from call to call */
};

uint32_t zt_crc32c(const void *bytes, size_t size) {
  const unsigned char *b = bytes;
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < size; i++) {
    crc ^= b[i];
    for (int k = 0; k < 8; k++)
      crc = crc >> 1 ^ (0x82F63B78u & -(crc & 1));
  }
  return ~crc;
}

static uint32_t masked_crc(const void *bytes, size_t size) {
  uint32_t crc = zt_crc32c(bytes, size);
  return (crc >> 15 | crc << 17) + 0xA282EAD8u;
}

static void put_fixed(zt_text *to, uint64_t value, int bytes) {
  char b[8];
  for (int i = 0; i < bytes; i++)
    b[i] = (char) (value >> 8 * i & 0xFF);
  zt_text_append(to, b, (size_t) bytes);
}

static void put_varint(zt_text *to, uint64_t value) {
  char b[10];
  size_t n = 0;
  for (; value >= 0x80; value >>= 7)
    b[n++] = (char) ((value & 0x7F) | 0x80);
  b[n++] = (char) value;
  zt_text_append(to, b, n);
}

static void put_key(zt_text *to, int field, int wire_type) {
  put_varint(to, (uint64_t) (field << 3 | wire_type));
}

static void put_bytes(zt_text *to, int field, const void *bytes, size_t size) {
  put_key(to, field, BYTES);
  put_varint(to, size);
  zt_text_append(to, bytes, size);
}

static void begin_event(zt_tensorboard *tb, int64_t step) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  double seconds = (double) now.tv_sec + (double) now.tv_nsec * 1e-9;
  uint64_t bits;
  memcpy(&bits, &seconds, sizeof bits);
  tb->event.size = 0;
  put_key(&tb->event, EVENT_WALL_TIME, FIXED64);
  put_fixed(&tb->event, bits, 8);
  put_key(&tb->event, EVENT_STEP, VARINT);
  put_varint(&tb->event, (uint64_t) step);
}

static void end_event(zt_tensorboard *tb) {
  zt_text *r = &tb->record;
  r->size = 0;
  put_fixed(r, tb->event.size, 8);
  if (!r->failed)
    put_fixed(r, masked_crc(r->data, 8), 4);
  zt_text_append(r, tb->event.data, tb->event.size);
  put_fixed(r, masked_crc(tb->event.data, tb->event.size), 4);
  /* Out of memory for a few hundred bytes: the run will hear of it elsewhere.
   */
  if (!r->failed && !tb->event.failed && !tb->summary.failed &&
      !tb->value.failed)
    zt_append_record(&tb->file, r->data, r->size);
}

/* The seconds in a name decide the order: later than the clock of any older
 * file's node, and than a file of this same second. */
static int64_t seconds_for_name(const char *dir) {
  int64_t seconds = (int64_t) time(NULL);
  DIR *d = opendir(dir);
  if (!d)
    return seconds;
  for (struct dirent *e; (e = readdir(d));) {
    int64_t used;
    if (sscanf(e->d_name, FILE_PREFIX "%10" SCNd64 ".", &used) == 1 &&
        used >= seconds)
      seconds = used + 1;
  }
  closedir(d);
  return seconds;
}

static zt_status open_file(zt_append *file, const char *dir) {
  char host[HOST_NAME_MAX + 1] = "", path[PATH_MAX];
  if (mkdir(dir, 0777) != 0 && errno != EEXIST)
    return zt_fail_errno(ZT_ERR_CREATE, "%s: cannot create", dir);
  if (gethostname(host, sizeof host - 1) != 0 || !*host || strchr(host, '/'))
    snprintf(host, sizeof host, "localhost");
  int n = snprintf(path, sizeof path, "%s/" FILE_PREFIX "%010" PRId64 ".%s",
                   dir, seconds_for_name(dir), host);
  if (n >= (int) sizeof path)
    return zt_fail(ZT_ERR_CREATE, "%.100s...: name too long", dir);
  return zt_append_open(file, path, O_CREAT | O_EXCL);
}

zt_tensorboard *zt_tensorboard_open(const char *dir, int64_t first_step) {
  static const char version[] = "brain.Event:2";
  zt_tensorboard *tb = zt_calloc(1, sizeof *tb);
  if (!tb || open_file(&tb->file, dir) != ZT_OK) {
    zt_warn("%s; the run goes on without TensorBoard", zt_last_error());
    free(tb);
    return NULL;
  }
  begin_event(tb, 0);
  put_bytes(&tb->event, EVENT_FILE_VERSION, version, sizeof version - 1);
  end_event(tb);
  begin_event(tb, first_step);
  tb->value.size = 0;
  put_key(&tb->value, SESSION_STATUS, VARINT);
  put_varint(&tb->value, SESSION_START);
  put_bytes(&tb->event, EVENT_SESSION_LOG, tb->value.data, tb->value.size);
  end_event(tb);
  return tb;
}

void zt_tensorboard_write(zt_tensorboard *tb, int64_t step,
                          const zt_scalar *scalars, int n) {
  if (!tb)
    return;
  tb->summary.size = 0;
  for (int i = 0; i < n; i++) {
    float value = (float) scalars[i].value;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    tb->value.size = 0;
    put_bytes(&tb->value, VALUE_TAG, scalars[i].tag, strlen(scalars[i].tag));
    put_key(&tb->value, VALUE_SIMPLE, FIXED32);
    put_fixed(&tb->value, bits, 4);
    put_bytes(&tb->summary, SUMMARY_VALUE, tb->value.data, tb->value.size);
  }
  begin_event(tb, step);
  put_bytes(&tb->event, EVENT_SUMMARY, tb->summary.data, tb->summary.size);
  end_event(tb);
}

void zt_tensorboard_close(zt_tensorboard **tensorboard) {
  zt_tensorboard *tb = *tensorboard;
  if (!tb)
    return;
  zt_append_close(&tb->file);
  zt_text_free(&tb->record);
  zt_text_free(&tb->event);
  zt_text_free(&tb->summary);
  zt_text_free(&tb->value);
  free(tb);
  *tensorboard = NULL;
}
