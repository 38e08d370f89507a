/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/checkpoint.h"

#include "base/memory.h"
#include "comm/agree.h"
#include "io/format.h"
#include "io/h5.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct checkpoint {
  zt_source base;
  hid_t file, parameters, config; /* MPI-IO driver */
  /* The dataset read last: slices come parameter by parameter. */
  const zt_source_tensor *open_tensor;
  hid_t dataset, space;
} checkpoint;

/* ---- The index, read by rank 0 with the serial driver ---- */

typedef struct indexer {
  checkpoint *c;
  hid_t group;
  int64_t file_size;
} indexer;

static zt_status index_parameter(void *context, const char *name) {
  indexer *x = context;
  zt_source *s = &x->c->base;
  hid_t dataset, type;
  zt_h5_extent extent;
  ZT_TRY(zt_h5_open_plain(x->group, s->path, ZT_GROUP_PARAMETERS, name,
                          x->file_size, &dataset, &type, &extent));
  zt_source_tensor t = {.name = (char *) name,
                        .ndim = extent.ndim,
                        .same_as = -1,
                        .at = extent.offset};
  bool known = zt_h5_type_is(type, &t.dtype);
  H5Tclose(type);
  H5Dclose(dataset);
  if (!known)
    return zt_fail(ZT_ERR_DATA,
                   "%s: /%s/%.80s holds numbers that are not fp32, bf16 or "
                   "fp16",
                   s->path, ZT_GROUP_PARAMETERS, name);
  if (extent.bytes == 0)
    return zt_fail(ZT_ERR_DATA, "%s: /%s/%.80s is empty", s->path,
                   ZT_GROUP_PARAMETERS, name);
  memcpy(t.dims, extent.dims, sizeof t.dims);
  t.numel = extent.bytes / (int64_t) zt_dtype_size(t.dtype);
  snprintf(t.format, sizeof t.format, "%s", zt_dtype_safetensors(t.dtype));
  return zt_source_add_tensor(s, &t);
}

static zt_status index_config(void *context, const char *name) {
  indexer *x = context;
  zt_source *s = &x->c->base;
  hid_t dataset, type;
  zt_h5_extent extent;
  ZT_TRY(zt_h5_open_plain(x->group, s->path, ZT_GROUP_CONFIG, name,
                          x->file_size, &dataset, &type, &extent));
  bool bytes = H5Tequal(type, H5T_STD_U8LE) > 0 && extent.ndim == 1;
  H5Tclose(type);
  H5Dclose(dataset);
  /* The name becomes a file when the model is exported. */
  if (!bytes || !zt_source_is_config(name) ||
      extent.bytes > ZT_MOST_CONFIG_BYTES)
    return zt_fail(ZT_ERR_DATA, "%s: /%s/%.80s is no configuration file",
                   s->path, ZT_GROUP_CONFIG, name);
  return zt_source_add_config(s, &(zt_source_file){.name = (char *) name,
                                                   .size = extent.bytes,
                                                   .at = extent.offset});
}

static int by_offset(const void *a, const void *b) {
  const zt_source_tensor *x = *(const zt_source_tensor *const *) a,
                         *y = *(const zt_source_tensor *const *) b;
  if (x->at != y->at)
    return x->at < y->at ? -1 : 1;
  return x < y ? -1 : 1; /* in order of names */
}

/* Names of one dataset have one place in the file.  Everything else that
 * shares bytes is damage. */
static zt_status find_ties(zt_source *s) {
  const size_t n = (size_t) s->n_tensors;
  const zt_source_tensor **order = zt_calloc(n, sizeof *order);
  if (!order)
    return ZT_ERR_MEMORY;
  for (size_t i = 0; i < n; i++)
    order[i] = &s->tensors[i];
  qsort(order, n, sizeof *order, by_offset);
  zt_status status = ZT_OK;
  for (size_t i = 1, first = 0; i < n && status == ZT_OK; i++) {
    const zt_source_tensor *t = order[i], *last = order[first];
    int64_t end = last->at + last->numel * (int64_t) zt_dtype_size(last->dtype);
    bool same = t->at == last->at && t->dtype == last->dtype &&
                t->ndim == last->ndim &&
                !memcmp(t->dims, last->dims, sizeof t->dims);
    if (same)
      s->tensors[t - s->tensors].same_as = (int) (last - s->tensors);
    else if (t->at < end)
      status = zt_fail(ZT_ERR_DATA, "%s: %s overlaps %s", s->path, t->name,
                       last->name);
    if (!same)
      first = i;
  }
  free(order);
  return status;
}

static zt_status read_config_json(indexer *x) {
  zt_source *s = &x->c->base;
  for (int i = 0; i < s->n_config; i++) {
    if (strcmp(s->config[i].name, ZT_CONFIG_JSON) != 0)
      continue;
    s->config_json_size = (size_t) s->config[i].size;
    if (s->config[i].size > ZT_MOST_CONFIG_JSON)
      break;
    if (!(s->config_json = zt_calloc(s->config_json_size + 1, 1)))
      return ZT_ERR_MEMORY;
    hid_t dataset = H5Dopen2(x->group, ZT_CONFIG_JSON, H5P_DEFAULT);
    herr_t read = dataset < 0 ? -1
                              : H5Dread(dataset, H5T_STD_U8LE, H5S_ALL, H5S_ALL,
                                        H5P_DEFAULT, s->config_json);
    zt_status status = ZT_OK;
    if (read < 0)
      status = zt_h5_fail(ZT_ERR_IO, "%s: cannot read /%s/%s", s->path,
                          ZT_GROUP_CONFIG, ZT_CONFIG_JSON);
    if (dataset >= 0)
      H5Dclose(dataset);
    return status;
  }
  return zt_fail(ZT_ERR_DATA, "%s: no usable /%s/%s", s->path, ZT_GROUP_CONFIG,
                 ZT_CONFIG_JSON);
}

static zt_status read_digest(hid_t file, zt_source *s) {
  char text[32], end;
  ZT_TRY(zt_h5_read_string(file, s->path, ZT_ATTR_DIGEST, text, sizeof text));
  if (strlen(text) != 16 ||
      sscanf(text, "%16" SCNx64 "%c", &s->digest, &end) != 1)
    return zt_fail(ZT_ERR_DATA, "%s: attribute \"%s\" is not 16 hex digits",
                   s->path, ZT_ATTR_DIGEST);
  s->has_digest = true;
  return ZT_OK;
}

static zt_status index_group(indexer *x, hid_t file, const char *name,
                             zt_status (*add)(void *, const char *)) {
  const char *path = x->c->base.path;
  ZT_TRY(zt_h5_open_group(file, path, name, &x->group));
  zt_status status = zt_h5_each(x->group, path, name, add, x);
  if (status == ZT_OK && add == index_config)
    status = read_config_json(x);
  H5Gclose(x->group);
  return status;
}

static zt_status index_file(checkpoint *c, hid_t file) {
  zt_source *s = &c->base;
  struct stat st;
  if (stat(s->path, &st) != 0)
    return zt_fail_open(s->path);
  indexer x = {.c = c, .file_size = st.st_size};
  ZT_TRY(
      zt_h5_check_format(file, s->path, ZT_FORMAT_WEIGHTS, ZT_WEIGHTS_MAJOR));
  ZT_TRY(zt_h5_read_string(file, s->path, ZT_ATTR_VERSION, s->version,
                           sizeof s->version));
  ZT_TRY(zt_h5_read_string(file, s->path, ZT_ATTR_PRODUCER, s->producer,
                           sizeof s->producer));
  ZT_TRY(read_digest(file, s));
  ZT_TRY(index_group(&x, file, ZT_GROUP_CONFIG, index_config));
  ZT_TRY(index_group(&x, file, ZT_GROUP_PARAMETERS, index_parameter));
  if (s->n_tensors == 0)
    return zt_fail(ZT_ERR_DATA, "%s: holds no parameters", s->path);
  ZT_TRY(zt_source_sort(s));
  return find_ties(s);
}

static zt_status read_index(checkpoint *c) {
  hid_t file;
  ZT_TRY(zt_fault_check(ZT_FAULT_WEIGHTS_OPEN));
  if (c->base.comm->rank != 0)
    return ZT_OK;
  ZT_TRY(zt_h5_open(c->base.path, &file));
  zt_status status = index_file(c, file);
  H5Fclose(file);
  return status;
}

/* ---- Reading, on all ranks ---- */

static void close_dataset(checkpoint *c) {
  if (!c->open_tensor)
    return;
  H5Sclose(c->space);
  H5Dclose(c->dataset);
  c->open_tensor = NULL;
}

static zt_status open_dataset(checkpoint *c, const zt_source_tensor *tensor) {
  if (c->open_tensor == tensor)
    return ZT_OK;
  close_dataset(c);
  c->dataset = H5Dopen2(c->parameters, tensor->name, H5P_DEFAULT);
  c->space = c->dataset < 0 ? -1 : H5Dget_space(c->dataset);
  if (c->space >= 0) {
    c->open_tensor = tensor;
    return ZT_OK;
  }
  zt_status status = zt_h5_fail(ZT_ERR_IO, "%s: cannot open tensor %s",
                                c->base.path, tensor->name);
  if (c->dataset >= 0)
    H5Dclose(c->dataset);
  return status;
}

/* The longest run of rows, at some depth of the shape, that starts at element
 * `at` and holds at most `most` elements: whole rows in the middle of a range,
 * pieces of a row at its ragged ends.
 * \return its number of elements */
static int64_t choose_box(const zt_source_tensor *t, int64_t at, int64_t most,
                          hsize_t start[ZT_MAX_DIMS],
                          hsize_t count[ZT_MAX_DIMS]) {
  int64_t stride[ZT_MAX_DIMS], row = 1;
  for (int d = t->ndim - 1; d >= 0; d--) {
    stride[d] = row;
    row *= t->dims[d];
    start[d] = (hsize_t) (at / stride[d] % t->dims[d]);
  }
  int depth = 0;
  while (at % stride[depth] != 0 || stride[depth] > most)
    depth++; /* ends: the last stride is 1 */
  int64_t rows = most / stride[depth];
  int64_t left = t->dims[depth] - (int64_t) start[depth];
  if (rows > left)
    rows = left;
  for (int d = 0; d < t->ndim; d++)
    count[d] = d < depth    ? 1
               : d == depth ? (hsize_t) rows
                            : (hsize_t) t->dims[d];
  return rows * stride[depth];
}

static zt_status checkpoint_read(zt_source *source, const zt_source_tensor *t,
                                 int64_t begin, int64_t count, void *values) {
  /* One call transfers far less than the 2 GiB at which HDF5 1.10.8 fails. */
  enum { MOST = 1 << 26 };
  checkpoint *c = (checkpoint *) source;
  ZT_TRY(zt_fault_check(ZT_FAULT_WEIGHTS_READ));
  ZT_TRY(open_dataset(c, t));
  const size_t width = zt_dtype_size(t->dtype);
  hid_t type = zt_h5_type(t->dtype), transfer = H5Pcreate(H5P_DATASET_XFER);
  H5Pset_dxpl_mpio(transfer, H5FD_MPIO_INDEPENDENT);
  zt_status status = ZT_OK;
  for (int64_t done = 0; done < count && status == ZT_OK;) {
    hsize_t start[ZT_MAX_DIMS], box[ZT_MAX_DIMS];
    int64_t left = count - done;
    int64_t n =
        choose_box(t, begin + done, left < MOST ? left : MOST, start, box);
    hsize_t flat = (hsize_t) n;
    hid_t memory = H5Screate_simple(1, &flat, NULL);
    if (H5Sselect_hyperslab(c->space, H5S_SELECT_SET, start, NULL, box, NULL) <
            0 ||
        H5Dread(c->dataset, type, memory, c->space, transfer,
                (char *) values + (size_t) done * width) < 0)
      status = zt_h5_fail(ZT_ERR_IO, "%s: cannot read tensor %s", source->path,
                          t->name);
    H5Sclose(memory);
    done += n;
  }
  H5Pclose(transfer);
  H5Tclose(type);
  return status;
}

static zt_status checkpoint_read_config(zt_source *source, int file, int64_t at,
                                        size_t n, void *bytes) {
  checkpoint *c = (checkpoint *) source;
  const char *name = source->config[file].name;
  hsize_t start = (hsize_t) at, count = n;
  if (n == 0)
    return ZT_OK;
  hid_t dataset = H5Dopen2(c->config, name, H5P_DEFAULT);
  if (dataset < 0)
    return zt_h5_fail(ZT_ERR_IO, "%s: cannot open /%s/%s", source->path,
                      ZT_GROUP_CONFIG, name);
  hid_t space = H5Dget_space(dataset), memory = H5Screate_simple(1, &count, 0);
  zt_status status = ZT_OK;
  if (H5Sselect_hyperslab(space, H5S_SELECT_SET, &start, NULL, &count, NULL) <
          0 ||
      H5Dread(dataset, H5T_STD_U8LE, memory, space, H5P_DEFAULT, bytes) < 0)
    status = zt_h5_fail(ZT_ERR_IO, "%s: cannot read /%s/%s", source->path,
                        ZT_GROUP_CONFIG, name);
  H5Sclose(memory);
  H5Sclose(space);
  H5Dclose(dataset);
  return status;
}

static void checkpoint_close(zt_source *source) {
  checkpoint *c = (checkpoint *) source;
  close_dataset(c);
  if (c->parameters >= 0)
    H5Gclose(c->parameters);
  if (c->config >= 0)
    H5Gclose(c->config);
  if (c->file >= 0)
    H5Fclose(c->file);
}

static const zt_source_ops checkpoint_ops = {
    .name = "weights file",
    .read = checkpoint_read,
    .read_config = checkpoint_read_config,
    .close = checkpoint_close,
};

static zt_status open_groups(checkpoint *c) {
  const char *path = c->base.path;
  ZT_TRY(zt_h5_open_group(c->file, path, ZT_GROUP_PARAMETERS, &c->parameters));
  return zt_h5_open_group(c->file, path, ZT_GROUP_CONFIG, &c->config);
}

zt_status zt_checkpoint_open(const char *path, zt_comm *comm,
                             zt_source **source) {
  zt_source *s = NULL;
  zt_status status =
      zt_source_create(&checkpoint_ops, sizeof(checkpoint), path, comm, &s);
  checkpoint *c = (checkpoint *) s;
  if (c)
    c->file = c->parameters = c->config = -1;
  if (status == ZT_OK)
    status = read_index(c);
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = zt_source_share(s);
  if (status == ZT_OK)
    status = zt_h5_open_all(path, comm, &c->file);
  if (status == ZT_OK)
    status = zt_agree(comm, open_groups(c));
  if (status != ZT_OK) {
    zt_source_close(&s);
    return status;
  }
  *source = s;
  return ZT_OK;
}
