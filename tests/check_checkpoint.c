/* SPDX-License-Identifier: BSD-3-Clause */
/* Weights files: written by all ranks, read in any slices by each of them,
 * refused when they are not what we write. */
#include "base/memory.h"
#include "base/random.h"
#include "base/text.h"
#include "comm/agree.h"
#include "comm/comm_mpi.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"
#include "io/digest.h"
#include "io/format.h"
#include "io/h5.h"
#include "io/pieces.h"

#include "scratch.h"
#include "unit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

static zt_comm *comm;

/* A folder that all ranks know. */
static const char *shared_path(const char *name) {
  ck_zt_ok(zt_comm_broadcast(comm, scratch, sizeof scratch, 0));
  return scratch_path(name);
}

/* ---- A file of every shape and format ---- */

enum { COUNT = 7 };

static const char *const names[COUNT] = {"vector", "matrix", "cube",  "hyper",
                                         "narrow", "half",   "scalar"};
static const struct {
  int ndim;
  int64_t dims[ZT_MAX_DIMS];
  zt_dtype dtype;
} shapes[COUNT] = {
    {1, {1000}, ZT_FP32},     {2, {37, 41}, ZT_FP32},
    {3, {5, 7, 11}, ZT_BF16}, {4, {3, 4, 5, 6}, ZT_FP16},
    {2, {9000, 3}, ZT_BF16},  {2, {2, 5000}, ZT_FP16},
    {1, {1}, ZT_FP32},
};

/* Exact in every format. */
static float value(int param, int64_t i) {
  return (float) ((i * 7 + param * 31) % 251 - 125) * 0.5f;
}

static zt_params make_params(void) {
  zt_params params = {0};
  zt_init init = {0};
  ck_zt_ok(zt_params_begin_unit(&params, "all"));
  for (int p = 0; p < COUNT; p++)
    ck_zt_ok(zt_params_add(&params, names[p], shapes[p].ndim, shapes[p].dims,
                           true, init, NULL));
  ck_zt_ok(zt_params_add_alias(&params, "also.matrix", 1));
  ck_zt_ok(zt_params_finish(&params));
  return params;
}

static const char config_json[] = "{\"model_type\": \"t5\"}";

/* This rank's bytes, as ztconv writes them. */
static zt_status write_share(const zt_checkpoint_writer *w,
                             const zt_params *params, uint64_t *digest) {
  int64_t start[COUNT + 1] = {0};
  zt_pieces pieces;
  zt_piece piece;
  for (int p = 0; p < COUNT; p++)
    start[p + 1] = start[p] + params->list[p].numel *
                                  (int64_t) zt_dtype_size(shapes[p].dtype);
  zt_pieces_begin(&pieces, start, COUNT, comm->size, comm->rank, 8192);
  while (zt_pieces_next(&pieces, &piece)) {
    float wide[8192];
    char bytes[8192];
    const int p = piece.index;
    const int64_t width = (int64_t) zt_dtype_size(shapes[p].dtype);
    int64_t first = piece.at / width, n = piece.n / width;
    for (int64_t i = 0; i < n; i++)
      wide[i] = value(p, first + i);
    zt_from_fp32(shapes[p].dtype, wide, bytes, (size_t) n);
    ZT_TRY(zt_write_at(w->fd, w->name, bytes, (size_t) piece.n,
                       w->at[p] + piece.at));
    uint64_t key =
        zt_digest_key("parameters", names[p], shapes[p].ndim, shapes[p].dims);
    *digest += zt_digest_add(key, shapes[p].dtype, bytes, first, n) +
               (first == 0 ? key : 0);
  }
  if (comm->rank == 0)
    ZT_TRY(zt_write_at(w->fd, w->name, config_json, sizeof config_json - 1,
                       w->at[COUNT]));
  return ZT_OK;
}

static uint64_t write_file(const char *path) {
  zt_params params = make_params();
  zt_dtype dtypes[COUNT];
  for (int p = 0; p < COUNT; p++)
    dtypes[p] = shapes[p].dtype;
  const zt_alias link = {(char *) "also.matrix", 1};
  const zt_source_file config[] = {
      {.name = (char *) ZT_CONFIG_JSON, .size = sizeof config_json - 1},
      {.name = (char *) "empty.txt", .size = 0}};
  const zt_checkpoint_spec spec = {.family = "t5",
                                   .model_type = "t5",
                                   .params = &params,
                                   .dtypes = dtypes,
                                   .names = names,
                                   .links = &link,
                                   .n_links = 1,
                                   .config = config,
                                   .n_config = 2};
  zt_checkpoint_writer w;
  uint64_t digest = 0;
  ck_zt_ok(zt_checkpoint_writer_create(path, true, &spec, comm, &w));
  for (int p = 0; p < COUNT; p++)
    ck_assert_int_eq(w.at[p] % ZT_DATA_ALIGN, 0);
  zt_status status = write_share(&w, &params, &digest);
  ck_zt_ok(zt_checkpoint_writer_commit(&w, status, &digest));
  zt_params_free(&params);
  return digest;
}

/* ---- Reading ---- */

static void check_slice(zt_source *s, int tensor, int param, int64_t begin,
                        int64_t count) {
  static float got[30000];
  int64_t wrong = 0;
  got[count] = 1234;
  ck_zt_ok(zt_source_read(s, tensor, begin, count, got));
  for (int64_t i = 0; i < count; i++)
    wrong += got[i] != value(param, begin + i);
  ck_assert_msg(wrong == 0 && got[count] == 1234,
                "%s [%" PRId64 ", +%" PRId64 "): %" PRId64 " wrong",
                names[param], begin, count, wrong);
}

START_TEST(any_slice) {
  const char *path = shared_path("w.h5");
  uint64_t digest = write_file(path);
  zt_source *s;
  ck_zt_ok(zt_checkpoint_open(path, comm, &s));
  ck_assert(s->has_digest && s->digest == digest);
  ck_assert_int_eq(s->n_tensors, COUNT + 1);
  ck_assert_str_eq(s->config_json, config_json);
  ck_assert_int_eq(s->n_config, 2);
  uint64_t asked = 0;
  for (int p = 0; p < COUNT; p++) {
    int t = zt_source_find(s, names[p]);
    const int64_t n = s->tensors[t].numel;
    check_slice(s, t, p, 0, n);
    asked += (uint64_t) n * zt_dtype_size(shapes[p].dtype);
    for (uint32_t i = 0; i < 60; i++) {
      /* Each rank other slices, in no common order. */
      uint32_t counter[4] = {i, (uint32_t) p, (uint32_t) comm->rank}, r[4];
      zt_philox(4, counter, r);
      int64_t begin = (int64_t) (r[0] % (uint64_t) n);
      int64_t count = (int64_t) (r[1] % (uint64_t) (n - begin + 1));
      check_slice(s, t, p, begin, count);
      asked += (uint64_t) count * zt_dtype_size(shapes[p].dtype);
    }
  }
  ck_assert_uint_eq(s->bytes_read, asked);
  int alias = zt_source_find(s, "also.matrix");
  ck_assert_int_eq(zt_source_root(s, alias),
                   zt_source_root(s, zt_source_find(s, "matrix")));
  check_slice(s, alias, 1, 100, 200);
  float x;
  ck_zt_fails(zt_source_read(s, alias, 37 * 41, 1, &x), ZT_ERR_INTERNAL);
  char config[8];
  ck_zt_ok(zt_source_read_config(s, 0, 2, 5, config));
  ck_assert(!memcmp(config, config_json + 2, 5));
  zt_source_close(&s);
  zt_source_close(&s);
}
END_TEST

START_TEST(binding) {
  zt_source *s;
  zt_params params = make_params();
  int tensor_of[COUNT];
  write_file(shared_path("w.h5"));
  ck_zt_ok(zt_checkpoint_open(shared_path("w.h5"), comm, &s));
  ck_zt_ok(zt_source_bind(s, &params, tensor_of));
  params.list[2].dims[1] = 8;
  ck_zt_fails(zt_source_bind(s, &params, tensor_of), ZT_ERR_DATA);
  ck_assert_msg(strstr(zt_last_error(), "tensor cube has shape [5,7,11], "
                                        "config.json says [5,8,11]"),
                "%s", zt_last_error());
  params.list[2].dims[1] = 7;
  params.n_aliases = 0;
  ck_zt_fails(zt_source_bind(s, &params, tensor_of), ZT_ERR_DATA);
  ck_assert(strstr(zt_last_error(), "tensor also.matrix is unknown"));
  params.n_aliases = 1;
  params.aliases[0].param = 0;
  ck_zt_fails(zt_source_bind(s, &params, tensor_of), ZT_ERR_DATA);
  ck_assert(strstr(zt_last_error(), "also.matrix differs from vector"));
  zt_source_close(&s);
  zt_params_free(&params);
}
END_TEST

/* One rank fails: it alone returns so, and all can go on. */
START_TEST(a_read_that_fails) {
  zt_source *s;
  float x[10];
  write_file(shared_path("w.h5"));
  int victim = comm->size - 1;
  char wish[64];
  ck_zt_ok(zt_checkpoint_open(shared_path("w.h5"), comm, &s));
  snprintf(wish, sizeof wish, "weights.read@%d", victim);
  setenv("ZT_FAULT", wish, 1);
  ck_zt_ok(zt_fault_arm(comm->rank));
  zt_status status = zt_source_read(s, 0, 0, 10, x);
  ck_assert_int_eq(status, comm->rank == victim ? ZT_ERR_IO : ZT_OK);
  ck_zt_fails(zt_agree(comm, status), ZT_ERR_IO);
  ck_zt_ok(zt_source_read(s, 0, 0, 10, x));
  zt_source_close(&s);
  snprintf(wish, sizeof wish, "weights.open@%d", victim);
  setenv("ZT_FAULT", wish, 1);
  ck_zt_ok(zt_fault_arm(comm->rank));
  ck_zt_fails(zt_checkpoint_open(shared_path("w.h5"), comm, &s), ZT_ERR_IO);
  unsetenv("ZT_FAULT");
  ck_zt_ok(zt_fault_arm(comm->rank));
}
END_TEST

/* ---- Damage ---- */

static void refused(const char *path, zt_status status, const char *text) {
  zt_source *s = NULL;
  ck_zt_fails(zt_checkpoint_open(path, comm, &s), status);
  ck_assert_msg(strstr(zt_last_error(), text) &&
                    strstr(zt_last_error(), path) &&
                    !strchr(zt_last_error(), '\n'),
                "'%s' instead of '%s'", zt_last_error(), text);
}

/* A copy of a good file that rank 0 changes with HDF5. */
typedef void (*change)(hid_t file, hid_t group);

static void check_changed(change make, const char *text) {
  const char *path = shared_path("changed.h5");
  write_file(path);
  if (comm->rank == 0) {
    hid_t file, group;
    ck_zt_ok(zt_h5_reopen(path, &file));
    ck_zt_ok(zt_h5_open_group(file, path, ZT_GROUP_PARAMETERS, &group));
    make(file, group);
    H5Gclose(group);
    ck_zt_ok(zt_h5_close(file, path));
  }
  ck_zt_ok(zt_agree(comm, ZT_OK));
  refused(path, ZT_ERR_DATA, text);
}

static void add_dataset(hid_t group, hid_t type, int ndim, const hsize_t *dims,
                        hid_t how) {
  hid_t space =
      ndim ? H5Screate_simple(ndim, dims, NULL) : H5Screate(H5S_SCALAR);
  hid_t dataset =
      H5Dcreate2(group, "more", type, space, H5P_DEFAULT, how, H5P_DEFAULT);
  ck_assert_int_ge(dataset, 0);
  H5Dclose(dataset);
  H5Sclose(space);
}

static const hsize_t ten[] = {10};

static void soft_link(hid_t file, hid_t group) {
  (void) file;
  H5Lcreate_soft("/parameters/vector", group, "more", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_link(hid_t file, hid_t group) {
  (void) file;
  H5Lcreate_external("/etc/passwd", "/x", group, "more", H5P_DEFAULT,
                     H5P_DEFAULT);
}

static void sub_group(hid_t file, hid_t group) {
  (void) file;
  H5Gclose(H5Gcreate2(group, "more", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void chunked(hid_t file, hid_t group) {
  (void) file;
  hid_t how = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_chunk(how, 1, ten);
  add_dataset(group, H5T_IEEE_F32LE, 1, ten, how);
  H5Pclose(how);
}

static void external_file(hid_t file, hid_t group) {
  (void) file;
  hid_t how = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_external(how, "/etc/passwd", 0, 40);
  add_dataset(group, H5T_IEEE_F32LE, 1, ten, how);
  H5Pclose(how);
}

static void no_storage(hid_t file, hid_t group) {
  (void) file;
  add_dataset(group, H5T_IEEE_F32LE, 1, ten, H5P_DEFAULT);
}

static void scalar(hid_t file, hid_t group) {
  (void) file;
  add_dataset(group, H5T_IEEE_F32LE, 0, NULL, H5P_DEFAULT);
}

static void early(hid_t group, hid_t type, int ndim, const hsize_t *dims) {
  hid_t how = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_alloc_time(how, H5D_ALLOC_TIME_EARLY);
  add_dataset(group, type, ndim, dims, how);
  H5Pclose(how);
}

static void five_dimensions(hid_t file, hid_t group) {
  (void) file;
  early(group, H5T_IEEE_F32LE, 5, (const hsize_t[]){1, 1, 1, 1, 10});
}

static void integers(hid_t file, hid_t group) {
  (void) file;
  early(group, H5T_STD_I32LE, 1, ten);
}

static void doubles(hid_t file, hid_t group) {
  (void) file;
  early(group, H5T_IEEE_F64LE, 1, ten);
}

static void big_endian(hid_t file, hid_t group) {
  (void) file;
  early(group, H5T_IEEE_F32BE, 1, ten);
}

static void odd_name(hid_t file, hid_t group) {
  (void) file;
  H5Lcreate_hard(group, "vector", H5L_SAME_LOC, "new\nline", H5P_DEFAULT,
                 H5P_DEFAULT);
}

static void newer(hid_t file, hid_t group) {
  (void) group;
  H5Adelete(file, ZT_ATTR_VERSION);
  ck_zt_ok(zt_h5_write_string(file, "x", ZT_ATTR_VERSION, "2.0"));
}

static void no_version(hid_t file, hid_t group) {
  (void) group;
  H5Adelete(file, ZT_ATTR_VERSION);
}

static void number_as_version(hid_t file, hid_t group) {
  no_version(file, group);
  ck_zt_ok(zt_h5_write_int(file, "x", ZT_ATTR_VERSION, 1));
}

static void another_format(hid_t file, hid_t group) {
  (void) group;
  H5Adelete(file, ZT_ATTR_FORMAT);
  ck_zt_ok(zt_h5_write_string(file, "x", ZT_ATTR_FORMAT, "zt-tokens"));
}

static void bad_digest(hid_t file, hid_t group) {
  (void) group;
  H5Adelete(file, ZT_ATTR_DIGEST);
  ck_zt_ok(zt_h5_write_string(file, "x", ZT_ATTR_DIGEST, "0123456789abcdeg"));
}

static void no_config(hid_t file, hid_t group) {
  (void) group;
  H5Ldelete(file, "/config/config.json", H5P_DEFAULT);
}

static void way_out(hid_t file, hid_t group) {
  (void) group;
  H5Lmove(file, "/config/empty.txt", file, "/config/.ssh", H5P_DEFAULT,
          H5P_DEFAULT);
}

static void no_parameters(hid_t file, hid_t group) {
  (void) group;
  H5Ldelete(file, "/parameters", H5P_DEFAULT);
}

START_TEST(changed_files) {
  check_changed(soft_link, "/parameters/more is not a plain dataset");
  check_changed(external_link, "more is not a plain dataset");
  check_changed(sub_group, "more is not a plain dataset");
  check_changed(chunked, "more is chunked, compressed or external");
  check_changed(external_file, "more is chunked, compressed or external");
  check_changed(no_storage, "more lies beyond the end");
  check_changed(scalar, "more has an impossible shape");
  check_changed(five_dimensions, "more has an impossible shape");
  check_changed(integers, "numbers that are not fp32");
  check_changed(doubles, "numbers that are not fp32");
  check_changed(big_endian, "numbers that are not fp32");
  check_changed(odd_name, "unusable name");
  check_changed(newer, "version 2.0, this program reads up to 1.x");
  check_changed(no_version, "no attribute \"version\"");
  check_changed(number_as_version, "of another kind");
  check_changed(another_format, "not a zt-weights file but zt-tokens");
  check_changed(bad_digest, "not 16 hex digits");
  check_changed(no_config, "no usable /config/config.json");
  check_changed(way_out, "no configuration file");
  check_changed(no_parameters, "no group /parameters");
}
END_TEST

/* Cut anywhere, or with a byte changed in what HDF5 reads: an answer on all
 * ranks, never a crash. */
START_TEST(damaged_files) {
  const char *path = shared_path("damaged.h5");
  struct stat st;
  write_file(path);
  ck_assert_int_eq(stat(path, &st), 0);
  for (int i = 0; i < 10; i++) {
    write_file(path);
    if (comm->rank == 0) {
      uint32_t counter[4] = {(uint32_t) i}, r[4];
      zt_philox(5, counter, r);
      int fd = open(path, O_RDWR);
      char byte = (char) r[1];
      if (i % 4 == 0)
        ck_assert_int_eq(ftruncate(fd, st.st_size * (i + 1) / 10), 0);
      else
        ck_zt_ok(zt_write_at(fd, path, &byte, 1, r[0] % 4000));
      close(fd);
    }
    ck_zt_ok(zt_agree(comm, ZT_OK));
    zt_source *s = NULL;
    zt_status status = zt_checkpoint_open(path, comm, &s);
    ck_assert(status == ZT_OK || status == ZT_ERR_DATA);
    ck_assert(i % 4 != 0 || status == ZT_ERR_DATA);
    zt_source_close(&s);
  }
  refused(shared_path("none.h5"), ZT_ERR_NOINPUT, "cannot open");
  refused(scratch, ZT_ERR_NOINPUT, "not a regular file");
}
END_TEST

int main(int argc, char **argv) {
  MPI_Init(&argc, &argv);
  if (zt_comm_mpi_create(MPI_COMM_WORLD, &comm) != ZT_OK)
    return 99;
  if (comm->rank == 0)
    scratch_begin("check_checkpoint");
  Suite *suite = suite_create("checkpoint");
  TCase *tests = tcase_create("checkpoint");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, any_slice);
  tcase_add_test(tests, binding);
  tcase_add_test(tests, a_read_that_fails);
  tcase_add_test(tests, changed_files);
  tcase_add_test(tests, damaged_files);
  suite_add_tcase(suite, tests);
  int failed = unit_main(suite, CK_NOFORK);
  if (comm->rank == 0)
    scratch_end();
  zt_comm_destroy(&comm);
  MPI_Finalize();
  return failed;
}
