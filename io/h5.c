/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/h5.h"

#include "base/memory.h"
#include "comm/agree.h"
#include "comm/comm_mpi.h"
#include "io/format.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Before the first call of HDF5: its own locks would keep out the lock that
 * guards an output, and many parallel file systems have none. */
static void start(void) {
  static bool started;
  if (started)
    return;
  started = true;
  setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);
  setenv("HDF5_PLUGIN_PRELOAD", "::", 1);
  H5open();
  H5PLset_loading_state(0);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* ---- Errors ---- */

/* The first record is the innermost one.  Where it tells of a failed system
 * call, time and file come first and what matters is quoted later. */
static herr_t take_first(unsigned n, const H5E_error2_t *error, void *text) {
  static const char key[] = "error message = '";
  if (n > 0 || !error->desc)
    return 0;
  const char *quoted = strstr(error->desc, key);
  const char *from = quoted ? quoted + sizeof key - 1 : error->desc;
  int length = (int) (quoted ? strcspn(from, "'") : strlen(from));
  snprintf(text, 96, "%.*s", length, from);
  return 0;
}

zt_status zt_h5_fail(zt_status status, const char *format, ...) {
  char message[ZT_MESSAGE_SIZE - 128], reason[96] = "HDF5 gives no reason";
  va_list args;
  va_start(args, format);
  vsnprintf(message, sizeof message, format, args);
  va_end(args);
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, take_first, reason);
  for (char *c = reason; *c; c++)
    if (*c < ' ' || *c > '~')
      *c = '?';
  return zt_fail(status, "%s: %s", message, reason);
}

/* ---- Opening ---- */

/* What the file system says, before HDF5 is asked. */
static zt_status check_readable(const char *path) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0)
    return zt_fail_open(path);
  bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  close(fd);
  if (!regular)
    return zt_fail(ZT_ERR_NOINPUT, "%s: not a regular file", path);
  return ZT_OK;
}

zt_status zt_h5_open(const char *path, hid_t *file) {
  start();
  ZT_TRY(check_readable(path));
  *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  if (*file < 0)
    return zt_h5_fail(ZT_ERR_DATA, "%s: not an intact HDF5 file", path);
  return ZT_OK;
}

zt_status zt_h5_open_all(const char *path, zt_comm *comm, hid_t *file) {
  start();
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fapl_mpio(access, zt_comm_mpi_handle(comm), MPI_INFO_NULL);
  *file = H5Fopen(path, H5F_ACC_RDONLY, access);
  zt_status status = ZT_OK;
  if (*file < 0)
    status = zt_h5_fail(ZT_ERR_IO, "%s: cannot open with MPI-IO", path);
  H5Pclose(access);
  int64_t failed = *file < 0;
  ZT_TRY(zt_comm_all_reduce(comm, &failed, 1, ZT_SUM));
  /* Where some have the file open and some not, it cannot be closed again:
   * closing is collective. */
  if (*file < 0 && failed < comm->size)
    zt_fatal(comm, status);
  return zt_agree(comm, failed ? status : ZT_OK);
}

zt_status zt_h5_open_group(hid_t file, const char *path, const char *name,
                           hid_t *group) {
  *group = H5Gopen2(file, name, H5P_DEFAULT);
  if (*group < 0)
    return zt_h5_fail(ZT_ERR_DATA, "%s: no group /%s", path, name);
  return ZT_OK;
}

/* ---- Laying out ---- */

static zt_status create(const char *path, size_t links, int align,
                        bool in_memory, hid_t *file) {
  start();
  /* Measured: about 460 bytes a dataset with a name of 60, and each piece of
   * metadata is aligned as the data is.  A block that holds all metadata keeps
   * it before the data, and the datasets without gaps.  Times are left out, so
   * equal content gives equal bytes. */
  const hsize_t block = (links + 16) * (hsize_t) (align > 1024 ? align : 1024);
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  if (in_memory)
    H5Pset_fapl_core(access, 1 << 20, 0);
  H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_LATEST);
  H5Pset_meta_block_size(access, block);
  H5Pset_small_data_block_size(access, 0);
  H5Pset_alignment(access, 1, (hsize_t) align);
  *file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, access);
  H5Pclose(access);
  if (*file < 0)
    return zt_h5_fail(ZT_ERR_CREATE, "%s: cannot create", path);
  return ZT_OK;
}

zt_status zt_h5_create(const char *path, size_t links, int align, hid_t *file) {
  return create(path, links, align, false, file);
}

zt_status zt_h5_create_in_memory(const char *name, size_t links, hid_t *file) {
  return create(name, links, 8, true, file);
}

zt_status zt_h5_image(hid_t file, const char *name, char **bytes,
                      size_t *size) {
  ssize_t n = -1;
  if (H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0)
    n = H5Fget_file_image(file, NULL, 0);
  if (n < 0)
    return zt_h5_fail(ZT_ERR_MEMORY, "%s: no image", name);
  *size = (size_t) n;
  if (!(*bytes = zt_calloc(*size, 1)))
    return ZT_ERR_MEMORY;
  if (H5Fget_file_image(file, *bytes, *size) == n)
    return ZT_OK;
  free(*bytes);
  *bytes = NULL;
  return zt_h5_fail(ZT_ERR_MEMORY, "%s: no image", name);
}

zt_status zt_h5_reopen(const char *path, hid_t *file) {
  start();
  *file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
  if (*file < 0)
    return zt_h5_fail(ZT_ERR_IO, "%s: cannot open again", path);
  return ZT_OK;
}

zt_status zt_h5_create_group(hid_t file, const char *path, const char *name,
                             hid_t *group) {
  hid_t how = H5Pcreate(H5P_GROUP_CREATE);
  H5Pset_obj_track_times(how, 0);
  *group = H5Gcreate2(file, name, H5P_DEFAULT, how, H5P_DEFAULT);
  H5Pclose(how);
  if (*group < 0)
    return zt_h5_fail(ZT_ERR_CREATE, "%s: cannot create group /%s", path, name);
  return ZT_OK;
}

zt_status zt_h5_create_dataset(hid_t group, const char *path, const char *name,
                               hid_t type, int ndim, const int64_t *dims,
                               int64_t *offset) {
  hsize_t extent[4];
  bool empty = false;
  for (int i = 0; i < ndim; i++) {
    extent[i] = (hsize_t) dims[i];
    empty = empty || dims[i] == 0;
  }
  hid_t space = H5Screate_simple(ndim, extent, NULL);
  hid_t how = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_layout(how, H5D_CONTIGUOUS);
  H5Pset_alloc_time(how, H5D_ALLOC_TIME_EARLY);
  H5Pset_fill_time(how, H5D_FILL_TIME_NEVER);
  H5Pset_obj_track_times(how, 0);
  hid_t dataset =
      H5Dcreate2(group, name, type, space, H5P_DEFAULT, how, H5P_DEFAULT);
  haddr_t at = dataset < 0 || empty ? 0 : H5Dget_offset(dataset);
  zt_status status = ZT_OK;
  if (dataset < 0 || at == HADDR_UNDEF)
    status = zt_h5_fail(ZT_ERR_CREATE, "%s: cannot lay out %s", path, name);
  *offset = (int64_t) at;
  if (dataset >= 0)
    H5Dclose(dataset);
  H5Pclose(how);
  H5Sclose(space);
  return status;
}

/* Measured: a file that cannot be closed, because the disk is full, stays in
 * HDF5's tables with its memory freed, and the end of the process crashes.  So
 * what could not be flushed goes nowhere.  The first flush after a failed one
 * fails for its own reasons; closing works after that. */
static void divert(hid_t file) {
  int *handle, nowhere = memfd_create("nowhere", MFD_CLOEXEC);
  if (nowhere < 0)
    return;
  if (H5Fget_vfd_handle(file, H5P_DEFAULT, (void **) &handle) >= 0)
    dup2(nowhere, *handle);
  close(nowhere);
  for (int i = 0; i < 3 && H5Fflush(file, H5F_SCOPE_GLOBAL) < 0;)
    i++;
}

zt_status zt_h5_close(hid_t file, const char *path) {
  zt_status status = ZT_OK;
  if (H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) {
    status = zt_h5_fail(ZT_ERR_IO, "%s: cannot write the layout", path);
    divert(file);
  }
  if (H5Fclose(file) < 0 && status == ZT_OK)
    status = zt_h5_fail(ZT_ERR_IO, "%s: cannot write the layout", path);
  return status;
}

/* ---- Attributes ---- */

static zt_status write_attribute(hid_t file, const char *path, const char *name,
                                 hid_t type, const void *value) {
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attribute =
      H5Aexists(file, name) > 0
          ? H5Aopen(file, name, H5P_DEFAULT)
          : H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  herr_t written = attribute < 0 ? -1 : H5Awrite(attribute, type, value);
  zt_status status = ZT_OK;
  if (written < 0)
    status = zt_h5_fail(ZT_ERR_IO, "%s: cannot write \"%s\"", path, name);
  if (attribute >= 0)
    H5Aclose(attribute);
  H5Sclose(space);
  return status;
}

zt_status zt_h5_write_string(hid_t file, const char *path, const char *name,
                             const char *value) {
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, strlen(value) + 1);
  zt_status status = write_attribute(file, path, name, type, value);
  H5Tclose(type);
  return status;
}

zt_status zt_h5_write_int(hid_t file, const char *path, const char *name,
                          int64_t value) {
  return write_attribute(file, path, name, H5T_STD_I64LE, &value);
}

/* A scalar attribute of the wanted class: its value as bytes of `type`, which
 * for strings is their stored length. */
static zt_status read_attribute(hid_t file, const char *path, const char *name,
                                H5T_class_t class, void *value, size_t size) {
  if (H5Aexists(file, name) <= 0)
    return zt_fail(ZT_ERR_DATA, "%s: no attribute \"%s\"", path, name);
  hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
  hid_t type = attribute < 0 ? -1 : H5Aget_type(attribute);
  hid_t space = attribute < 0 ? -1 : H5Aget_space(attribute);
  bool text = class == H5T_STRING;
  bool fits =
      type >= 0 && space >= 0 && H5Tget_class(type) == class &&
      H5Sget_simple_extent_npoints(space) == 1 &&
      (!text || (H5Tis_variable_str(type) == 0 && H5Tget_size(type) < size));
  zt_status status = ZT_OK;
  if (!fits)
    status = zt_fail(ZT_ERR_DATA, "%s: attribute \"%s\" is of another kind",
                     path, name);
  else if (H5Aread(attribute, text ? type : H5T_NATIVE_INT64, value) < 0)
    status = zt_h5_fail(ZT_ERR_DATA, "%s: attribute \"%s\"", path, name);
  if (space >= 0)
    H5Sclose(space);
  if (type >= 0)
    H5Tclose(type);
  if (attribute >= 0)
    H5Aclose(attribute);
  return status;
}

zt_status zt_h5_read_string(hid_t file, const char *path, const char *name,
                            char *value, size_t size) {
  memset(value, 0, size);
  ZT_TRY(read_attribute(file, path, name, H5T_STRING, value, size));
  for (char *c = value; *c; c++)
    if (*c < ' ' || *c > '~')
      return zt_fail(ZT_ERR_DATA, "%s: attribute \"%s\" is not plain text",
                     path, name);
  return ZT_OK;
}

zt_status zt_h5_read_int(hid_t file, const char *path, const char *name,
                         int64_t *value) {
  return read_attribute(file, path, name, H5T_INTEGER, value, sizeof *value);
}

zt_status zt_h5_format(const char *path, char format[32]) {
  hid_t file;
  ZT_TRY(zt_h5_open(path, &file));
  if (zt_h5_read_string(file, path, ZT_ATTR_FORMAT, format, 32) != ZT_OK)
    format[0] = '\0';
  H5Fclose(file);
  return ZT_OK;
}

zt_status zt_h5_check_format(hid_t file, const char *path, const char *format,
                             int major) {
  char found[32] = "", version[32] = "";
  if (zt_h5_read_string(file, path, ZT_ATTR_FORMAT, found, sizeof found) !=
          ZT_OK ||
      strcmp(found, format) != 0)
    return zt_fail(ZT_ERR_DATA, "%s: not a %s file%s%s", path, format,
                   *found ? " but " : "", found);
  ZT_TRY(
      zt_h5_read_string(file, path, ZT_ATTR_VERSION, version, sizeof version));
  int file_major, file_minor;
  if (sscanf(version, "%d.%d", &file_major, &file_minor) != 2 || file_major < 1)
    return zt_fail(ZT_ERR_DATA, "%s: version \"%s\" makes no sense", path,
                   version);
  if (file_major > major)
    return zt_fail(ZT_ERR_DATA,
                   "%s: has %s version %s, this program reads up to %d.x; "
                   "use a newer one",
                   path, format, version, major);
  return ZT_OK;
}

/* ---- Types and datasets ---- */

hid_t zt_h5_type(zt_dtype dtype) {
  hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  if (dtype == ZT_BF16) {
    H5Tset_fields(type, 15, 7, 8, 0, 7);
    H5Tset_size(type, 2);
  } else if (dtype == ZT_FP16) {
    H5Tset_fields(type, 15, 10, 5, 0, 10);
    H5Tset_size(type, 2);
    H5Tset_ebias(type, 15);
  }
  return type;
}

bool zt_h5_type_is(hid_t type, zt_dtype *dtype) {
  for (int i = ZT_FP32; i <= ZT_FP16; i++) {
    hid_t ours = zt_h5_type((zt_dtype) i);
    bool equal = H5Tequal(type, ours) > 0;
    H5Tclose(ours);
    if (equal) {
      *dtype = (zt_dtype) i;
      return true;
    }
  }
  return false;
}

/* Shape and place, where the layout is one that raw bytes can be read from. */
static zt_status read_extent(hid_t dataset, hid_t type, int64_t file_size,
                             zt_h5_extent *extent, const char **what) {
  hid_t how = H5Dget_create_plist(dataset), space = H5Dget_space(dataset);
  hsize_t dims[H5S_MAX_RANK] = {0};
  bool simple = space >= 0 && H5Sget_simple_extent_type(space) == H5S_SIMPLE;
  int ndim = simple ? H5Sget_simple_extent_dims(space, dims, NULL) : -1;
  bool plain = how >= 0 && H5Pget_layout(how) == H5D_CONTIGUOUS &&
               H5Pget_nfilters(how) == 0 && H5Pget_external_count(how) == 0;
  if (space >= 0)
    H5Sclose(space);
  if (how >= 0)
    H5Pclose(how);
  *what = "is chunked, compressed or external";
  if (!plain)
    return ZT_ERR_DATA;
  *what = "has an impossible shape";
  if (ndim < 1 || ndim > 4)
    return ZT_ERR_DATA;
  *extent = (zt_h5_extent){.ndim = ndim, .bytes = (int64_t) H5Tget_size(type)};
  for (int i = 0; i < ndim; i++) {
    extent->dims[i] = (int64_t) dims[i];
    if (dims[i] > INT64_MAX ||
        zt_mul_overflows(extent->bytes, extent->dims[i], &extent->bytes))
      return ZT_ERR_DATA;
  }
  *what = "lies beyond the end of the file";
  haddr_t at = extent->bytes ? H5Dget_offset(dataset) : 0;
  if (at == HADDR_UNDEF || at > (haddr_t) file_size ||
      extent->bytes > file_size - (int64_t) at)
    return ZT_ERR_DATA;
  extent->offset = (int64_t) at;
  return ZT_OK;
}

zt_status zt_h5_open_plain(hid_t group, const char *path, const char *where,
                           const char *name, int64_t file_size, hid_t *dataset,
                           hid_t *type, zt_h5_extent *extent) {
  H5L_info_t link;
  const char *what = "is not a plain dataset";
  zt_status status = ZT_ERR_DATA;
  *dataset = *type = -1;
  if (H5Lget_info(group, name, &link, H5P_DEFAULT) >= 0 &&
      link.type == H5L_TYPE_HARD) {
    *dataset = H5Oopen(group, name, H5P_DEFAULT);
    if (*dataset >= 0 && H5Iget_type(*dataset) == H5I_DATASET)
      *type = H5Dget_type(*dataset);
  }
  if (*type >= 0)
    status = read_extent(*dataset, *type, file_size, extent, &what);
  if (status == ZT_OK)
    return ZT_OK;
  if (*type >= 0)
    H5Tclose(*type);
  if (*dataset >= 0)
    H5Oclose(*dataset);
  return zt_fail(status, "%s: /%s/%.60s %s", path, where, name, what);
}

typedef struct visit {
  const char *path, *where;
  zt_status (*call)(void *context, const char *name);
  void *context;
  int64_t count;
  zt_status status;
} visit;

/* A name becomes part of messages, and of paths for files under /config. */
static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *info,
                         void *context) {
  (void) group;
  (void) info;
  visit *v = context;
  size_t length = strnlen(name, ZT_MOST_NAME + 1);
  bool odd = length == 0 || length > ZT_MOST_NAME || strchr(name, '/');
  for (size_t i = 0; i < length && !odd; i++)
    odd = name[i] <= ' ' || name[i] > '~';
  if (odd)
    v->status = zt_fail(ZT_ERR_DATA, "%s: /%s holds an unusable name", v->path,
                        v->where);
  else if (++v->count > ZT_MOST_LINKS)
    v->status =
        zt_fail(ZT_ERR_DATA, "%s: /%s holds too many names", v->path, v->where);
  else
    v->status = v->call(v->context, name);
  return v->status == ZT_OK ? 0 : 1;
}

zt_status zt_h5_each(hid_t group, const char *path, const char *where,
                     zt_status (*call)(void *context, const char *name),
                     void *context) {
  visit v = {.path = path, .where = where, .call = call, .context = context};
  if (H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, visit_link, &v) < 0)
    return zt_h5_fail(ZT_ERR_DATA, "%s: /%s cannot be listed", path, where);
  return v.status;
}
