/* SPDX-License-Identifier: BSD-3-Clause */
/* The safetensors reader on good, wrong and random files; the writer. */
#include "base/random.h"
#include "io/safetensors.h"

#include "scratch.h"
#include "unit.h"

#include <string.h>
#include <unistd.h>

/* ---- Making files ---- */

static const char *make_bytes(const void *bytes, size_t n) {
  const char *path = scratch_path("x.safetensors");
  unlink(path); /* ext4 brings a file that is emptied and filled to the disk */
  FILE *f = fopen(path, "wb");
  ck_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
  return path;
}

/* Length, header, and this many bytes of data. */
static const char *make(const char *header, size_t data) {
  static char bytes[1 << 16];
  uint64_t n = strlen(header);
  memset(bytes, 0, sizeof bytes);
  memcpy(bytes, &n, 8);
  memcpy(bytes + 8, header, n);
  return make_bytes(bytes, 8 + n + data);
}

typedef struct seen {
  int count;
  zt_safetensor last;
  char name[256];
} seen;

static zt_status see(void *context, const zt_safetensor *tensor) {
  seen *s = context;
  s->count++;
  s->last = *tensor;
  snprintf(s->name, sizeof s->name, "%s", tensor->name);
  return ZT_OK;
}

/* ---- Reading ---- */

START_TEST(good_files) {
  static const struct {
    const char *header;
    size_t data;
    int count;
  } good[] = {
      {"{}", 0, 0},
      {"{}      ", 0, 0},
      {"{}\n", 0, 0},
      {"{\"__metadata__\":{\"format\":\"pt\"}}", 0, 0},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}",
       24, 1},
      {"{\"s\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[0,2]}}", 2, 1},
      {"{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]},"
       "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
       5, 2},
      {"{\"z\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[0,0]}}", 0,
       1},
      {"{\"f4\":{\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[0,3]}}", 3,
       1},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],"
       "\"more\":1}}",
       4, 1},
  };
  for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
    seen s = {0};
    ck_zt_ok(zt_safetensors_read(make(good[i].header, good[i].data), see, &s));
    ck_assert_int_eq(s.count, good[i].count);
  }
  seen s = {0};
  ck_zt_ok(zt_safetensors_read(make(good[4].header, 24), see, &s));
  ck_assert_str_eq(s.name, "a");
  ck_assert(s.last.ndim == 2 && s.last.dims[0] == 2 && s.last.dims[1] == 3);
  ck_assert(s.last.dtype == ZT_FP32 && !s.last.foreign);
  ck_assert(s.last.at == (int64_t) strlen(good[4].header) + 8);
  ck_zt_ok(zt_safetensors_read(make(good[8].header, 3), see, &s));
  ck_assert(s.last.foreign && !strcmp(s.last.format, "F4"));
}
END_TEST

#define F32(shape, offsets)                                                    \
  "{\"a\":{\"dtype\":\"F32\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define TWO(first, second)                                                     \
  "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" first             \
  "},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":" second "}}"

START_TEST(wrong_headers) {
  static const struct {
    const char *header;
    size_t data;
    const char *text;
  } wrong[] = {
      {" {}", 0, "does not begin"},
      {"[]", 0, "does not begin"},
      {"{", 0, "not valid JSON"},
      {"{}x", 0, "not valid JSON"},
      {"{\"a\":1,\"a\":1}", 0, "not valid JSON"},
      {"{\"a\":1}", 0, "not described by an object"},
      {"{\"\":{}}", 0, "unusable name"},
      {"{\"a b\":{}}", 0, "unusable name"},
      {"{\"a\\nb\":{}}", 0, "unusable name"},
      {"{\"\\u001b[2J\":{}}", 0, "unusable name"},
      {"{\"a\\u0000b\":{}}", 0, "not valid JSON"},
      {"{\"a\":{}}", 0, "no dtype"},
      {"{\"a\":{\"dtype\":\"F33\"}}", 0, "not a known one"},
      {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\"}}", 0, "not valid JSON"},
      {"{\"a\":{\"dtype\":\"F32\"}}", 0, "no usable shape"},
      {F32("{}", "[0,4]"), 4, "no usable shape"},
      {F32("[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "no usable shape"},
      {F32("[-1]", "[0,4]"), 4, "impossible shape"},
      {F32("[1.0]", "[0,4]"), 4, "impossible shape"},
      {F32("[\"1\"]", "[0,4]"), 4, "impossible shape"},
      {F32("[0,562949953421312]", "[0,0]"), 0, "impossible shape"},
      {F32("[281474976710656,281474976710656]", "[0,4]"), 4,
       "impossible shape"},
      {F32("[99999999999999999999]", "[0,4]"), 4, "impossible shape"},
      {F32("[1]", "[0]"), 4, "no usable data_offsets"},
      {F32("[1]", "[0,4,4]"), 4, "no usable data_offsets"},
      {F32("[1]", "[0,4.0]"), 4, "no usable data_offsets"},
      {F32("[1]", "{}"), 4, "no usable data_offsets"},
      {F32("[1]", "[-4,0]"), 4, "impossible data_offsets"},
      {F32("[1]", "[4,0]"), 4, "impossible data_offsets"},
      {F32("[1]", "[0,4]"), 3, "truncated?"},
      {F32("[1]", "[0,9223372036854775807]"), 4, "truncated?"},
      {F32("[2]", "[0,4]"), 4, "do not fit"},
      {F32("[1]", "[0,4]"), 5, "follow the last tensor"},
      {F32("[1]", "[1,5]"), 5, "hole before"},
      {TWO("[0,4]", "[2,6]"), 6, "overlaps another"},
      {TWO("[0,4]", "[0,4]"), 4, "overlaps another"},
      {TWO("[0,4]", "[5,9]"), 9, "hole before"},
      {"{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,1]}}", 1,
       "do not fit"},
      {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
      {"{\"__metadata__\":{\"a\":1}}", 0, "more than strings"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    seen s = {0};
    const char *path = make(wrong[i].header, wrong[i].data);
    ck_zt_fails(zt_safetensors_read(path, see, &s), ZT_ERR_DATA);
    ck_assert_msg(strstr(zt_last_error(), wrong[i].text) &&
                      strstr(zt_last_error(), path) &&
                      !strchr(zt_last_error(), '\n') &&
                      !strchr(zt_last_error(), '\033'),
                  "%s: %s", wrong[i].header, zt_last_error());
    ck_assert_int_eq(s.count, 0);
  }
}
END_TEST

START_TEST(wrong_lengths) {
  static const struct {
    unsigned char bytes[16];
    size_t n;
    const char *text;
  } wrong[] = {
      {{0}, 0, "too short"},
      {{2}, 7, "too short"},
      {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, "longer than the file"},
      {{0, 0, 0, 0, 0, 0, 0, 128}, 16, "longer than the file"},
      {{255, 255, 255, 255, 255, 255, 255, 255}, 16, "longer than the file"},
      {{0}, 8, "does not begin"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
    seen s = {0};
    ck_zt_fails(
        zt_safetensors_read(make_bytes(wrong[i].bytes, wrong[i].n), see, &s),
        ZT_ERR_DATA);
    ck_assert_msg(strstr(zt_last_error(), wrong[i].text), "%s",
                  zt_last_error());
  }
  const char *path = make("{}", 0);
  FILE *f = fopen(path, "r+b");
  uint64_t n = ZT_SAFETENSORS_HEADER + 1;
  ck_assert(f && fwrite(&n, 8, 1, f) == 1 &&
            fseek(f, (long) n + 7, SEEK_SET) == 0 && fputc('}', f) == '}' &&
            fclose(f) == 0);
  seen s = {0};
  ck_zt_fails(zt_safetensors_read(path, see, &s), ZT_ERR_DATA);
  ck_assert(strstr(zt_last_error(), "at most"));
  ck_zt_fails(zt_safetensors_read(scratch_path("none"), see, &s),
              ZT_ERR_NOINPUT);
  ck_zt_fails(zt_safetensors_read(scratch, see, &s), ZT_ERR_NOINPUT);
}
END_TEST

/* Damage anywhere: an answer, and never a tensor outside the file. */
static zt_status inside(void *context, const zt_safetensor *tensor) {
  int64_t size = *(int64_t *) context;
  ck_assert(tensor->at >= 8 && tensor->bytes >= 0 &&
            tensor->at + tensor->bytes <= size);
  return ZT_OK;
}

START_TEST(random_damage) {
  static const char header[] =
      "{\"__metadata__\":{\"format\":\"pt\"},\"a.b\":{\"dtype\":\"F32\","
      "\"shape\":[2,3],\"data_offsets\":[0,24]},\"c\":{\"dtype\":\"BF16\","
      "\"shape\":[4],\"data_offsets\":[24,32]}}";
  static const char bits[] = "{}[]:,\"\\-019.eE \n\tFBU_a\xC3\xA9\xFF";
  int refused = 0;
  const char *rounds = getenv("ZT_TEST_ROUNDS");
  for (int i = 0; i < (rounds ? atoi(rounds) : 1000); i++) {
    char bytes[sizeof header + 64] = {0};
    uint64_t n = sizeof header - 1;
    memcpy(bytes, &n, 8);
    memcpy(bytes + 8, header, n);
    for (uint32_t k = 0; k < 3; k++) {
      uint32_t counter[4] = {(uint32_t) i, k}, r[4];
      zt_philox(11, counter, r);
      uint32_t at = r[0] % 4 ? 8 + r[1] % (uint32_t) n : r[1] % 8;
      bytes[at] = r[2] % 2 ? bits[r[3] % (sizeof bits - 1)] : (char) r[3];
      if (r[2] % 3) /* mostly one change */
        break;
    }
    int64_t size = (int64_t) n + 8 + 32;
    const char *path = make_bytes(bytes, (size_t) size);
    zt_status status = zt_safetensors_read(path, inside, &size);
    ck_assert(status == ZT_OK || status == ZT_ERR_DATA);
    refused += status != ZT_OK;
    ck_assert(status == ZT_OK || !strpbrk(zt_last_error(), "\n\033"));
  }
  ck_assert_int_gt(refused, 500);
}
END_TEST

/* ---- Writing ---- */

START_TEST(layout_is_upstream_s) {
  zt_safetensors_entry entries[] = {
      {.name = "b", .dtype = ZT_FP16, .ndim = 1, .dims = {3}, .bytes = 6},
      {.name = "c", .dtype = ZT_FP32, .ndim = 2, .dims = {1, 2}, .bytes = 8},
      {.name = "a", .dtype = ZT_BF16, .ndim = 1, .dims = {2}, .bytes = 4},
      {.name = "a0", .dtype = ZT_FP32, .ndim = 1, .dims = {1}, .bytes = 4},
  };
  static const char want[] =
      "{\"__metadata__\":{\"format\":\"pt\"},"
      "\"a0\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
      "\"c\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[4,12]},"
      "\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[12,16]},"
      "\"b\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[16,22]}}";
  zt_text head;
  int64_t size;
  uint64_t length;
  ck_zt_ok(zt_safetensors_layout(entries, 4, &head, &size));
  memcpy(&length, head.data, 8);
  ck_assert_uint_eq(length, head.size - 8);
  ck_assert_uint_eq(head.size % 8, 0);
  ck_assert_int_eq(strncmp(head.data + 8, want, strlen(want)), 0);
  ck_assert_uint_lt(head.size - 8 - strlen(want), 8);
  ck_assert_int_eq(size, (int64_t) head.size + 22);
  ck_assert_str_eq(entries[1].name, "c");
  ck_assert_int_eq(entries[1].at, (int64_t) head.size + 4);
  zt_text_free(&head);
}
END_TEST

int main(void) {
  scratch_begin("check_safetensors");
  Suite *suite = suite_create("safetensors");
  TCase *tests = tcase_create("safetensors");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, good_files);
  tcase_add_test(tests, wrong_headers);
  tcase_add_test(tests, wrong_lengths);
  tcase_add_test(tests, random_damage);
  tcase_add_test(tests, layout_is_upstream_s);
  suite_add_tcase(suite, tests);
  int failed = unit_main(suite, CK_NOFORK);
  scratch_end();
  return failed;
}
