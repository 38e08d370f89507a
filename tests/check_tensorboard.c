/* SPDX-License-Identifier: BSD-3-Clause */
/* Event files, read back by a parser of this test.
 *   check_tensorboard --write DIR   writes two lives of a run for
 *                                   run_tensorboard.sh */
#include "report/tensorboard.h"

#include "base/json.h"
#include "tests/scratch.h"
#include "tests/unit.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

START_TEST(crc32c_vectors) {
  /* RFC 3720 B.4 */
  unsigned char b[32];
  ck_assert_uint_eq(zt_crc32c("", 0), 0);
  ck_assert_uint_eq(zt_crc32c("123456789", 9), 0xE3069283);
  memset(b, 0, 32);
  ck_assert_uint_eq(zt_crc32c(b, 32), 0x8A9136AA);
  memset(b, 0xFF, 32);
  ck_assert_uint_eq(zt_crc32c(b, 32), 0x62A8AB43);
  for (int i = 0; i < 32; i++)
    b[i] = (unsigned char) i;
  ck_assert_uint_eq(zt_crc32c(b, 32), 0x46DD794E);
  for (int i = 0; i < 32; i++)
    b[i] = (unsigned char) (31 - i);
  ck_assert_uint_eq(zt_crc32c(b, 32), 0x113FDB5C);
}
END_TEST

typedef struct reader {
  const unsigned char *at, *end;
} reader;

static uint64_t get_fixed(reader *r, int bytes) {
  uint64_t value = 0;
  ck_assert_int_ge(r->end - r->at, bytes);
  for (int i = 0; i < bytes; i++)
    value |= (uint64_t) *r->at++ << 8 * i;
  return value;
}

static uint64_t get_varint(reader *r) {
  uint64_t value = 0;
  for (int shift = 0;; shift += 7) {
    ck_assert(r->at < r->end && shift < 64);
    value |= (uint64_t) (*r->at & 0x7F) << shift;
    if (*r->at++ < 0x80)
      return value;
  }
}

static reader get_bytes(reader *r, uint64_t size) {
  ck_assert_uint_ge((uint64_t) (r->end - r->at), size);
  reader inner = {r->at, r->at + size};
  r->at += size;
  return inner;
}

static uint32_t unmask(uint32_t masked) {
  uint32_t rotated = masked - 0xA282EAD8u;
  return rotated >> 17 | rotated << 15;
}

/* One protobuf field; the value of wire types 0, 1, 5, or the bytes of 2. */
typedef struct field {
  int number;
  uint64_t value;
  reader bytes;
} field;

static bool next_field(reader *r, field *f) {
  if (r->at == r->end)
    return false;
  uint64_t key = get_varint(r);
  *f = (field){.number = (int) (key >> 3)};
  switch (key & 7) {
  case 0:
    f->value = get_varint(r);
    break;
  case 1:
    f->value = get_fixed(r, 8);
    break;
  case 2:
    f->bytes = get_bytes(r, get_varint(r));
    break;
  case 5:
    f->value = get_fixed(r, 4);
    break;
  default:
    ck_abort_msg("wire type %d", (int) (key & 7));
  }
  return true;
}

enum { MOST_EVENTS = 512, MOST_VALUES = 4 };
typedef struct event {
  double wall_time;
  int64_t step;
  char version[32];
  int session; /* status, 0: none */
  int n;
  reader tag[MOST_VALUES];
  float value[MOST_VALUES];
} event;

static void parse_value(reader r, event *e) {
  ck_assert_int_lt(e->n, MOST_VALUES);
  for (field f; next_field(&r, &f);) {
    uint32_t bits = (uint32_t) f.value;
    if (f.number == 1)
      e->tag[e->n] = f.bytes;
    else if (f.number == 2)
      memcpy(&e->value[e->n], &bits, 4);
    else
      ck_abort_msg("field %d of a value", f.number);
  }
  e->n++;
}

static event parse_event(reader r) {
  event e = {0};
  for (field f; next_field(&r, &f);) {
    field inner;
    if (f.number == 1)
      memcpy(&e.wall_time, &f.value, 8);
    else if (f.number == 2)
      e.step = (int64_t) f.value;
    else if (f.number == 3)
      memcpy(e.version, f.bytes.at, (size_t) (f.bytes.end - f.bytes.at));
    else if (f.number == 5)
      while (next_field(&f.bytes, &inner))
        parse_value(inner.bytes, &e);
    else if (f.number == 7)
      while (next_field(&f.bytes, &inner))
        e.session = (int) inner.value;
    else
      ck_abort_msg("field %d of an event", f.number);
  }
  return e;
}

/* All events of a file; `keep` holds the bytes that tags point into. */
static int parse_file(const char *path, event events[MOST_EVENTS],
                      char **keep) {
  size_t size;
  int n = 0;
  ck_zt_ok(zt_read_file(path, 1 << 24, keep, &size));
  reader r = {(unsigned char *) *keep, (unsigned char *) *keep + size};
  while (r.at < r.end) {
    const unsigned char *start = r.at;
    uint64_t length = get_fixed(&r, 8);
    ck_assert_uint_eq(unmask((uint32_t) get_fixed(&r, 4)), zt_crc32c(start, 8));
    reader data = get_bytes(&r, length);
    ck_assert_uint_eq(unmask((uint32_t) get_fixed(&r, 4)),
                      zt_crc32c(data.at, length));
    ck_assert_int_lt(n, MOST_EVENTS);
    events[n++] = parse_event(data);
  }
  return n;
}

static int is_event_file(const struct dirent *e) {
  return e->d_name[0] != '.';
}

/* The i-th file of the folder in the order that TensorBoard reads them. */
static const char *event_file(const char *dir, int i, int *count) {
  static char path[PATH_MAX];
  struct dirent **list;
  int n = scandir(dir, &list, is_event_file, alphasort);
  ck_assert_int_gt(n, i);
  snprintf(path, sizeof path, "%s/%s", dir, list[i]->d_name);
  *count = n;
  for (int k = 0; k < n; k++)
    free(list[k]);
  free(list);
  return path;
}

START_TEST(events_there_and_back) {
  static event events[MOST_EVENTS];
  const char *dir = scratch_path("events");
  char *keep, *long_tag = malloc(20001);
  int count;
  memset(long_tag, 'n', 20000);
  long_tag[20000] = '\0';
  double now = (double) time(NULL);
  zt_tensorboard *tb = zt_tensorboard_open(dir, 1);
  ck_assert_ptr_nonnull(tb);
  for (int64_t step = 1; step <= 300; step++)
    zt_tensorboard_write(
        tb, step, (zt_scalar[]){{"train/loss", 0.1 * (double) step}, {"lr", 3}},
        2);
  zt_tensorboard_write(tb, (int64_t) 1 << 40,
                       (zt_scalar[]){{long_tag, NAN}, {"", -INFINITY}}, 2);
  zt_tensorboard_write(tb, INT64_MAX, NULL, 0);
  zt_tensorboard_close(&tb);
  ck_assert_ptr_null(tb);
  ck_assert_int_eq(parse_file(event_file(dir, 0, &count), events, &keep), 304);
  ck_assert_int_eq(count, 1);
  ck_assert_str_eq(events[0].version, "brain.Event:2");
  ck_assert_int_eq(events[1].session, 1);
  ck_assert_int_eq(events[1].step, 1);
  for (int64_t step = 1; step <= 300; step++) {
    const event *e = &events[step + 1];
    ck_assert(e->step == step && e->n == 2 && e->wall_time >= now);
    ck_assert_int_eq(e->tag[0].end - e->tag[0].at, 10);
    ck_assert(!memcmp(e->tag[0].at, "train/loss", 10));
    ck_assert(e->value[0] == (float) (0.1 * (double) step));
    ck_assert(e->value[1] == 3);
  }
  const event *last = &events[302];
  ck_assert_int_eq(last->step, (int64_t) 1 << 40);
  ck_assert_int_eq(last->tag[0].end - last->tag[0].at, 20000);
  ck_assert(isnan(last->value[0]) && isinf(last->value[1]));
  ck_assert_int_eq(events[303].step, INT64_MAX);
  free(keep);
  free(long_tag);
}
END_TEST

/* Many lives within a second, and a file from a node whose clock is ahead: each
 * new file sorts last. */
START_TEST(names_sort_by_life) {
  static event events[MOST_EVENTS];
  const char *dir = scratch_path("names");
  char ahead[PATH_MAX], *keep;
  int count;
  ck_assert_int_eq(mkdir(dir, 0777), 0);
  snprintf(ahead, sizeof ahead, "%s/events.out.tfevents.%010lld.zzz", dir,
           (long long) time(NULL) + 1000);
  FILE *f = fopen(ahead, "w");
  fclose(f);
  for (int life = 1; life <= 12; life++) {
    zt_tensorboard *tb = zt_tensorboard_open(dir, 100 * life);
    ck_assert_ptr_nonnull(tb);
    zt_tensorboard_close(&tb);
    const char *path = event_file(dir, life, &count);
    ck_assert_int_eq(count, life + 1);
    ck_assert_int_eq(parse_file(path, events, &keep), 2);
    ck_assert_int_eq(events[1].step, 100 * life);
    free(keep);
  }
}
END_TEST

START_TEST(failures_never_stop) {
  static event events[MOST_EVENTS];
  const char *dir = scratch_path("full");
  char *keep;
  int count;
  ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
  zt_tensorboard *none = zt_tensorboard_open("/dev/null/no", 1);
  ck_assert_ptr_null(none);
  zt_tensorboard_write(none, 1, (zt_scalar[]){{"a", 1}}, 1);
  zt_tensorboard_close(&none);
  /* No room: the file stays a chain of whole records. */
  zt_tensorboard *tb = zt_tensorboard_open(dir, 1);
  struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
  signal(SIGXFSZ, SIG_IGN);
  for (int room = 500; room < 3000; room += 333) {
    limit.rlim_cur = (rlim_t) room;
    setrlimit(RLIMIT_FSIZE, &limit);
    for (int i = 0; i < 20; i++)
      zt_tensorboard_write(tb, i, (zt_scalar[]){{"train/loss", 1}}, 1);
  }
  limit.rlim_cur = RLIM_INFINITY;
  setrlimit(RLIMIT_FSIZE, &limit);
  zt_tensorboard_write(tb, 99, (zt_scalar[]){{"train/loss", 1}}, 1);
  zt_tensorboard_close(&tb);
  int n = parse_file(event_file(dir, 0, &count), events, &keep);
  ck_assert_int_gt(n, 10);
  ck_assert_int_lt(n, 160);
  ck_assert_int_eq(events[n - 1].step, 99);
  free(keep);
}
END_TEST

/* Killed after step 150, resumed from step 100. */
static int write_sample(const char *dir) {
  for (int life = 0; life < 2; life++) {
    int first = life ? 101 : 1, last = life ? 200 : 150;
    zt_tensorboard *tb = zt_tensorboard_open(dir, first);
    if (!tb)
      return EXIT_FAILURE;
    for (int step = first; step <= last; step++)
      zt_tensorboard_write(tb, step,
                           (zt_scalar[]){{"train/loss", step + 1000.0 * life},
                                         {"train/lr", 1.0 / step}},
                           2);
    zt_tensorboard_close(&tb);
  }
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  if (argc == 3 && !strcmp(argv[1], "--write"))
    return write_sample(argv[2]);
  scratch_begin("check_tensorboard");
  Suite *s = suite_create("tensorboard");
  TCase *c = tcase_create("tensorboard");
  tcase_add_test(c, crc32c_vectors);
  tcase_add_test(c, events_there_and_back);
  tcase_add_test(c, names_sort_by_life);
  tcase_add_test(c, failures_never_stop);
  suite_add_tcase(s, c);
  int rc = unit_main(s, CK_FORK);
  scratch_end();
  return rc;
}
