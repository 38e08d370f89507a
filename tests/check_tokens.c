/* SPDX-License-Identifier: BSD-3-Clause */
/* Token files: what is written is read back, and what is damaged is refused. */
#include "small_disk.h"

#include "base/json.h"
#include "io/h5.h"
#include "io/output.h"
#include "io/token_writer.h"
#include "io/tokens.h"

#include "scratch.h"
#include "unit.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { LONGEST = 3000000 }; /* more than a buffer of either width */

static const zt_tokens_info plain = {.vocabulary = 32100,
                                     .eos = 1,
                                     .pad = 0,
                                     .sentinel = 32099,
                                     .tokenizer = "spiece.model"};

static int32_t value(int64_t i, int64_t vocabulary) {
  return (int32_t) ((uint64_t) i * 2654435761u % (uint64_t) vocabulary);
}

/* Documents of n tokens each, the values counted through. */
static void write_stream(zt_token_writer *w, int stream, const int64_t *n,
                         int count) {
  int64_t vocabulary = zt_token_writer_about(w)->vocabulary, at = 0;
  int32_t ids[1000];
  for (int d = 0; d < count; d++) {
    for (int64_t done = 0; done < n[d];) {
      size_t m = 0;
      while (m < 1000 && done < n[d]) {
        ids[m++] = value(at++, vocabulary);
        done++;
      }
      ck_zt_ok(zt_token_writer_add(w, stream, ids, m));
    }
    ck_zt_ok(zt_token_writer_end(w, stream));
  }
}

static void check_stream(const zt_tokens *t, int stream, const int64_t *n,
                         int count) {
  const zt_tokens_info *info = zt_tokens_about(t);
  int32_t *ids = calloc(LONGEST, sizeof *ids);
  int64_t at = 0;
  for (int d = 0; d < count; d++) {
    int64_t first, length;
    ck_zt_ok(zt_tokens_document(t, stream, d, &first, &length));
    ck_assert_int_eq(first, at);
    ck_assert_int_eq(length, n[d]);
    ck_zt_ok(zt_tokens_read(t, stream, first, length, ids));
    int64_t wrong = 0; /* libcheck notes every assertion in a file */
    for (int64_t i = 0; i < length; i++)
      wrong += ids[i] != value(at++, info->vocabulary);
    ck_assert_int_eq(wrong, 0);
  }
  ck_assert_int_eq(info->tokens[stream], at);
  free(ids);
}

static void write_file(const char *path, const zt_tokens_info *info,
                       const int64_t *n, int count) {
  zt_token_writer *w;
  ck_zt_ok(zt_token_writer_create(path, info, true, &w));
  for (int s = 0; s <= info->pairs; s++)
    write_stream(w, s, n, count);
  ck_zt_ok(zt_token_writer_finish(w));
  zt_token_writer_destroy(&w);
}

static const int64_t vocabularies[] = {384, 65536, 65537, INT32_MAX};

START_TEST(test_round_trip) {
  static const int64_t n[] = {5, 0, LONGEST, 1, 0};
  zt_tokens_info info = plain;
  info.vocabulary = vocabularies[_i % 4];
  info.sentinel = info.vocabulary - 1;
  info.pairs = _i >= 4;
  const char *path = scratch_path("round.h5");
  write_file(path, &info, n, 5);
  zt_tokens *t;
  ck_zt_ok(zt_tokens_open(path, &t));
  const zt_tokens_info *found = zt_tokens_about(t);
  ck_assert_int_eq(found->pairs, info.pairs);
  ck_assert_int_eq(found->documents, 5);
  ck_assert_int_eq(found->vocabulary, info.vocabulary);
  ck_assert_int_eq(found->eos, 1);
  ck_assert_int_eq(found->pad, 0);
  ck_assert_int_eq(found->sentinel, info.sentinel);
  ck_assert_int_eq(found->width, info.vocabulary <= 65536 ? 2 : 4);
  ck_assert_str_eq(found->tokenizer, "spiece.model");
  ck_assert_str_eq(zt_tokens_path(t), path);
  check_stream(t, 0, n, 5);
  if (info.pairs)
    check_stream(t, 1, n, 5);
  ck_zt_ok(zt_tokens_verify(t));
  int32_t one;
  int64_t first, length;
  ck_zt_fails(zt_tokens_read(t, 0, found->tokens[0], 1, &one), ZT_ERR_INTERNAL);
  ck_zt_fails(zt_tokens_read(t, 0, -1, 1, &one), ZT_ERR_INTERNAL);
  ck_zt_fails(zt_tokens_document(t, 0, 5, &first, &length), ZT_ERR_INTERNAL);
  zt_tokens_close(&t);
  zt_tokens_close(&t);
}
END_TEST

/* The same content has the same digest; content, bounds and special ids count.
 */
START_TEST(test_digest) {
  static const int64_t n[] = {5, 3}, other[] = {4, 4};
  zt_tokens_info info[5] = {plain, plain, plain, plain, plain};
  uint64_t digest[5];
  info[2].sentinel = 100;
  info[3].vocabulary = 65537;
  for (int i = 0; i < 5; i++) {
    zt_tokens *t;
    write_file(scratch_path("digest.h5"), &info[i], i == 4 ? other : n, 2);
    ck_zt_ok(zt_tokens_open(scratch_path("digest.h5"), &t));
    digest[i] = zt_tokens_about(t)->digest;
    zt_tokens_close(&t);
  }
  ck_assert_uint_eq(digest[0], digest[1]);
  for (int i = 2; i < 5; i++)
    ck_assert_uint_ne(digest[0], digest[i]);
}
END_TEST

static int count_files(const char *folder) {
  char command[PATH_MAX + 32];
  snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
  FILE *f = popen(command, "r");
  int n = -1;
  ck_assert_int_eq(fscanf(f, "%d", &n), 1);
  pclose(f);
  return n;
}

START_TEST(test_writer_leaves_nothing) {
  const char *folder = scratch_path("empty");
  const char *path = scratch_path("empty/out.h5");
  zt_token_writer *w;
  ck_zt_fails(zt_token_writer_create(path, &plain, false, &w), ZT_ERR_CREATE);
  ck_assert_int_eq(mkdir(folder, 0777), 0);
  zt_tokens_info pairs = plain;
  pairs.pairs = true;
  ck_zt_ok(zt_token_writer_create(path, &pairs, false, &w));
  zt_token_writer_destroy(&w);
  ck_assert_int_eq(count_files(folder), 0);
  /* No tokens, and streams that do not match. */
  ck_zt_ok(zt_token_writer_create(path, &plain, false, &w));
  ck_zt_ok(zt_token_writer_end(w, 0));
  ck_zt_fails(zt_token_writer_finish(w), ZT_ERR_DATA);
  zt_token_writer_destroy(&w);
  ck_zt_ok(zt_token_writer_create(path, &pairs, false, &w));
  write_stream(w, 0, (int64_t[]){2, 2}, 2);
  write_stream(w, 1, (int64_t[]){2}, 1);
  ck_zt_fails(zt_token_writer_finish(w), ZT_ERR_DATA);
  zt_token_writer_destroy(&w);
  ck_assert_int_eq(count_files(folder), 0);
  /* What exists stays, unless it is to be replaced. */
  write_file(path, &plain, (int64_t[]){7}, 1);
  ck_zt_fails(zt_token_writer_create(path, &plain, false, &w), ZT_ERR_CREATE);
  ck_assert_int_eq(count_files(folder), 1);
  write_file(path, &plain, (int64_t[]){8}, 1);
  ck_assert_int_eq(count_files(folder), 1);
}
END_TEST

/* ---- Hostile files ---- */

static char good[PATH_MAX], bad[PATH_MAX];

static void make_good(bool pairs) {
  zt_tokens_info info = plain;
  info.pairs = pairs;
  snprintf(good, sizeof good, "%s", scratch_path("good.h5"));
  snprintf(bad, sizeof bad, "%s", scratch_path("bad.h5"));
  write_file(good, &info, (int64_t[]){10, 20, 30}, 3);
}

static void copy_good(void) {
  char *bytes;
  size_t size;
  ck_zt_ok(zt_read_file(good, 1 << 20, &bytes, &size));
  FILE *f = fopen(bad, "w");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
  fclose(f);
  free(bytes);
}

static void must_fail(const char *reason) {
  zt_tokens *t;
  ck_zt_fails(zt_tokens_open(bad, &t), ZT_ERR_DATA);
  ck_assert_ptr_null(t);
  ck_assert_msg(strstr(zt_last_error(), reason), "%s", zt_last_error());
  ck_assert_msg(strstr(zt_last_error(), bad), "%s", zt_last_error());
}

/* Where a dataset lies in the good file. */
static int64_t offset_of(const char *name) {
  hid_t file;
  ck_zt_ok(zt_h5_open(good, &file));
  hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
  haddr_t at = H5Dget_offset(dataset);
  H5Dclose(dataset);
  H5Fclose(file);
  return (int64_t) at;
}

static void overwrite(int64_t at, const void *bytes, size_t n) {
  int fd = open(bad, O_WRONLY);
  ck_zt_ok(zt_write_at(fd, bad, bytes, n, at));
  close(fd);
}

static void patch(int64_t at, const void *bytes, size_t n) {
  copy_good();
  overwrite(at, bytes, n);
}

START_TEST(test_bad_content) {
  make_good(false);
  zt_tokens *t;
  int32_t ids[60];
  int64_t first, n;
  patch(offset_of("/tokens") + 2 * 17, &(uint16_t){32100}, 2);
  ck_zt_ok(zt_tokens_open(bad, &t));
  ck_zt_ok(zt_tokens_read(t, 0, 0, 17, ids));
  ck_zt_fails(zt_tokens_read(t, 0, 0, 60, ids), ZT_ERR_DATA);
  ck_assert_msg(strstr(zt_last_error(), "/tokens[17] is 32100"), "%s",
                zt_last_error());
  ck_zt_fails(zt_tokens_verify(t), ZT_ERR_DATA);
  zt_tokens_close(&t);
  /* Inside the vocabulary it shows in the digest alone. */
  patch(offset_of("/tokens") + 2 * 17, &(uint16_t){99}, 2);
  ck_zt_ok(zt_tokens_open(bad, &t));
  ck_zt_ok(zt_tokens_read(t, 0, 0, 60, ids));
  ck_zt_fails(zt_tokens_verify(t), ZT_ERR_DATA);
  ck_assert_msg(strstr(zt_last_error(), "digest"), "%s", zt_last_error());
  zt_tokens_close(&t);
  static const int64_t starts[] = {31, -1, 61, INT64_MIN, INT64_MAX};
  for (int i = 0; i < 5; i++) {
    patch(offset_of("/documents") + 8, &starts[i], 8);
    ck_zt_ok(zt_tokens_open(bad, &t));
    bool one = zt_tokens_document(t, 0, 0, &first, &n) == ZT_ERR_DATA;
    bool two = zt_tokens_document(t, 0, 1, &first, &n) == ZT_ERR_DATA;
    ck_assert(one || two);
    ck_zt_fails(zt_tokens_verify(t), ZT_ERR_DATA);
    zt_tokens_close(&t);
  }
  patch(offset_of("/documents"), &(int64_t){1}, 8);
  must_fail("/documents run from 1");
  patch(offset_of("/documents") + 24, &(int64_t){61}, 8);
  must_fail("to 61");
}
END_TEST

/* Cut anywhere, a file is refused at once. */
START_TEST(test_truncated) {
  make_good(_i);
  struct stat st;
  ck_assert_int_eq(stat(good, &st), 0);
  copy_good();
  for (int64_t size = st.st_size - 1; size >= 0;
       size -= size < 3000 ? 7 : 501) {
    ck_assert_int_eq(truncate(bad, size), 0);
    must_fail("");
  }
  ck_zt_fails(zt_tokens_open(scratch_path("nowhere.h5"), &(zt_tokens *){NULL}),
              ZT_ERR_NOINPUT);
  ck_zt_fails(zt_tokens_open(scratch, &(zt_tokens *){NULL}), ZT_ERR_NOINPUT);
}
END_TEST

/* Each byte of the metadata with one bit flipped: refused, or read without
 * leaving any bounds.  Returns how many were refused, -1 for another failure.
 */
static int flip_all(int64_t head) {
  int fd = open(good, O_RDONLY), refused = 0;
  copy_good();
  for (int64_t at = 0; at < head; at++) {
    unsigned char byte;
    int32_t ids[60];
    if (zt_read_at(fd, good, &byte, 1, at) != ZT_OK)
      return -1;
    if (byte == 0 && at % 37 != 0)
      continue;
    byte ^= (unsigned char) (1 << at % 8);
    overwrite(at, &byte, 1);
    zt_tokens *t;
    zt_status status = zt_tokens_open(bad, &t);
    if (status != ZT_OK && status != ZT_ERR_DATA)
      return -1;
    refused += status != ZT_OK;
    for (int s = 0; status == ZT_OK && s < 2; s++)
      if (zt_tokens_about(t)->tokens[s] <= 60)
        zt_tokens_read(t, s, 0, zt_tokens_about(t)->tokens[s], ids);
    zt_tokens_close(&t);
    byte ^= (unsigned char) (1 << at % 8);
    overwrite(at, &byte, 1);
  }
  close(fd);
  return refused;
}

/* In a process of its own: HDF5 1.10 reads beyond its own buffers in some of
 * these files, which the address sanitizer does not forgive. */
START_TEST(test_flipped) {
  make_good(true);
  int64_t head = offset_of("/source/tokens");
  int status;
  pid_t child = fork();
  ck_assert_int_ge(child, 0);
  if (child == 0)
    _exit(freopen("/dev/null", "w", stderr) && flip_all(head) > 100 ? 0 : 2);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  if (WIFEXITED(status) && WEXITSTATUS(status) != 1)
    ck_assert_int_eq(WEXITSTATUS(status), 0);
  else
    printf("note: HDF5 does not survive a flipped bit\n");
}
END_TEST

static void set_int(const char *name, int64_t number) {
  copy_good();
  hid_t file;
  ck_zt_ok(zt_h5_reopen(bad, &file));
  ck_zt_ok(zt_h5_write_int(file, bad, name, number));
  H5Fclose(file);
}

static void set_string(const char *name, const char *text) {
  copy_good();
  hid_t file;
  ck_zt_ok(zt_h5_reopen(bad, &file));
  H5Adelete(file, name);
  ck_zt_ok(zt_h5_write_string(file, bad, name, text));
  H5Fclose(file);
}

START_TEST(test_bad_attributes) {
  static const char *const names[] = {"format", "version",  "vocabulary",
                                      "eos",    "pad",      "sentinel",
                                      "digest", "tokenizer"};
  make_good(false);
  for (int i = 0; i < 8; i++) {
    copy_good();
    hid_t file;
    ck_zt_ok(zt_h5_reopen(bad, &file));
    ck_assert_int_ge(H5Adelete(file, names[i]), 0);
    H5Fclose(file);
    must_fail(i == 0 ? "zt-tokens" : names[i]);
  }
  set_string("format", "zt-weights");
  must_fail("zt-weights");
  set_string("version", "2.0");
  must_fail("2.0");
  set_string("version", "soon");
  must_fail("soon");
  set_string("digest", "0123456789abcdeg");
  must_fail("digest");
  set_string("digest", "-123456789abcdef");
  must_fail("digest");
  static const int64_t sizes[] = {0, -1, (int64_t) INT32_MAX + 1, INT64_MIN};
  for (int i = 0; i < 4; i++) {
    set_int("vocabulary", sizes[i]);
    must_fail("vocabulary");
  }
  for (int i = 3; i < 6; i++) {
    set_int(names[i], 32100);
    must_fail(names[i]);
    set_int(names[i], -2);
    must_fail(names[i]);
  }
  zt_tokens *t; /* a later minor version is read */
  set_string("version", "1.9");
  ck_zt_ok(zt_tokens_open(bad, &t));
  zt_tokens_close(&t);
}
END_TEST

/* A dataset in place of /tokens. */
static void replace_tokens(hid_t type, int ndim, const hsize_t *dims,
                           const hsize_t *chunk, const char *external) {
  copy_good();
  hid_t file;
  ck_zt_ok(zt_h5_reopen(bad, &file));
  H5Ldelete(file, "tokens", H5P_DEFAULT);
  hid_t how = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_alloc_time(how, H5D_ALLOC_TIME_EARLY);
  if (chunk)
    H5Pset_chunk(how, ndim, chunk);
  if (external)
    H5Pset_external(how, external, 0, 120);
  hid_t space = H5Screate_simple(ndim, dims, NULL);
  hid_t dataset =
      H5Dcreate2(file, "tokens", type, space, H5P_DEFAULT, how, H5P_DEFAULT);
  ck_assert_int_ge(dataset, 0);
  H5Dclose(dataset);
  H5Sclose(space);
  H5Pclose(how);
  H5Fclose(file);
}

START_TEST(test_bad_datasets) {
  make_good(false);
  const hsize_t n[] = {60, 1}, zero[] = {0}, other[] = {59};
  replace_tokens(H5T_STD_U16LE, 1, n, NULL, NULL);
  zt_tokens *t;
  ck_zt_ok(zt_tokens_open(bad, &t));
  zt_tokens_close(&t);
  replace_tokens(H5T_STD_I16LE, 1, n, NULL, NULL);
  must_fail("unsigned");
  replace_tokens(H5T_STD_U16BE, 1, n, NULL, NULL);
  must_fail("unsigned");
  replace_tokens(H5T_IEEE_F32LE, 1, n, NULL, NULL);
  must_fail("unsigned");
  replace_tokens(H5T_STD_U64LE, 1, n, NULL, NULL);
  must_fail("unsigned");
  replace_tokens(H5T_STD_U16LE, 2, n, NULL, NULL);
  must_fail("tokens");
  replace_tokens(H5T_STD_U16LE, 1, zero, NULL, NULL);
  must_fail("no tokens");
  replace_tokens(H5T_STD_U16LE, 1, other, NULL, NULL);
  must_fail("instead of 0 to 59");
  replace_tokens(H5T_STD_U16LE, 1, n, n, NULL);
  must_fail("chunked");
  replace_tokens(H5T_STD_U16LE, 1, n, NULL, "/etc/passwd");
  must_fail("external");
  copy_good();
  hid_t file;
  ck_zt_ok(zt_h5_reopen(bad, &file));
  H5Ldelete(file, "documents", H5P_DEFAULT);
  H5Lcreate_external("good.h5", "/documents", file, "documents", H5P_DEFAULT,
                     H5P_DEFAULT);
  H5Fclose(file);
  must_fail("documents");
}
END_TEST

START_TEST(test_faults) {
  make_good(false);
  zt_tokens *t;
  int32_t id;
  setenv("ZT_FAULT", "data.open@0", 1);
  ck_zt_ok(zt_fault_arm(0));
  ck_zt_fails(zt_tokens_open(good, &t), ZT_ERR_IO);
  setenv("ZT_FAULT", "data.read@0:2", 1);
  ck_zt_ok(zt_fault_arm(0));
  ck_zt_ok(zt_tokens_open(good, &t));
  ck_zt_ok(zt_tokens_read(t, 0, 0, 1, &id));
  ck_zt_fails(zt_tokens_read(t, 0, 0, 1, &id), ZT_ERR_IO);
  zt_tokens_close(&t);
  unsetenv("ZT_FAULT");
  ck_zt_ok(zt_fault_arm(0));
}
END_TEST

/* Wherever the disk is full, nothing is left behind. */
START_TEST(test_full_disk) {
  const char *folder = scratch_path("small");
  const char *path = scratch_path("small/out.h5");
  int done = 0, refused = 0;
  if (!small_disk(folder))
    return;
  zt_tokens_info info = plain;
  info.pairs = true;
  for (int n = 100; n < 40000; n += 500) {
    zt_token_writer *w;
    zt_status status = zt_token_writer_create(path, &info, true, &w);
    for (int i = 0; status == ZT_OK && i < 2 * n; i++) {
      status = zt_token_writer_add(w, i % 2, &(int32_t){7}, 1);
      if (status == ZT_OK && i % 20 < 2)
        status = zt_token_writer_end(w, i % 2);
    }
    if (status == ZT_OK)
      status = zt_token_writer_finish(w);
    zt_token_writer_destroy(&w);
    ck_assert(status == ZT_OK || status == ZT_ERR_IO ||
              status == ZT_ERR_CREATE);
    done += status == ZT_OK;
    refused += status != ZT_OK;
    ck_assert_int_eq(count_files(folder), status == ZT_OK);
    unlink(path);
  }
  ck_assert_int_gt(done, 5);
  ck_assert_int_gt(refused, 5);
}
END_TEST

/* For scripts: the tokens of FILE from FIRST on are IDS, and all is well with
 * the file. */
static int read_some(int n, char **args) {
  zt_tokens *t;
  int32_t id;
  zt_status status = zt_tokens_open(args[0], &t);
  for (int i = 2; status == ZT_OK && i < n; i++) {
    status = zt_tokens_read(t, 0, atoll(args[1]) + i - 2, 1, &id);
    if (status == ZT_OK && id != atoi(args[i]))
      status =
          zt_fail(ZT_ERR_DATA, "%s: %d instead of %s", args[0], id, args[i]);
  }
  if (status == ZT_OK)
    status = zt_tokens_verify(t);
  zt_tokens_close(&t);
  if (status != ZT_OK)
    fprintf(stderr, "%s\n", zt_last_error());
  return status != ZT_OK;
}

int main(int argc, char **argv) {
  if (argc > 3 && !strcmp(argv[1], "--read"))
    return read_some(argc - 2, argv + 2);
  scratch_begin("check_tokens");
  Suite *suite = suite_create("tokens");
  TCase *tc = tcase_create("files");
  tcase_set_timeout(tc, 30);
  tcase_add_loop_test(tc, test_round_trip, 0, 8);
  tcase_add_test(tc, test_digest);
  tcase_add_test(tc, test_writer_leaves_nothing);
  tcase_add_test(tc, test_full_disk);
  suite_add_tcase(suite, tc);
  tc = tcase_create("hostile");
  tcase_set_timeout(tc, 30);
  tcase_add_test(tc, test_bad_content);
  tcase_add_loop_test(tc, test_truncated, 0, 2);
  tcase_add_test(tc, test_flipped);
  tcase_add_test(tc, test_bad_attributes);
  tcase_add_test(tc, test_bad_datasets);
  tcase_add_test(tc, test_faults);
  suite_add_tcase(suite, tc);
  int rc = unit_main(suite, CK_NOFORK);
  scratch_end();
  return rc;
}
