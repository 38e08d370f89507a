/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/checkpoint_writer.h"

#include "base/memory.h"
#include "comm/agree.h"
#include "config.h"
#include "io/format.h"
#include "io/h5.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Layout, by rank 0 ---- */

static zt_status write_attributes(hid_t file, const char *path,
                                  const zt_checkpoint_spec *spec) {
  char version[32];
  snprintf(version, sizeof version, "%d.%d", ZT_WEIGHTS_MAJOR,
           ZT_WEIGHTS_MINOR);
  ZT_TRY(zt_h5_write_string(file, path, ZT_ATTR_FORMAT, ZT_FORMAT_WEIGHTS));
  ZT_TRY(zt_h5_write_string(file, path, ZT_ATTR_VERSION, version));
  ZT_TRY(zt_h5_write_string(file, path, ZT_ATTR_PRODUCER, PACKAGE_STRING));
  ZT_TRY(zt_h5_write_string(file, path, ZT_ATTR_FAMILY, spec->family));
  ZT_TRY(zt_h5_write_string(file, path, ZT_ATTR_MODEL_TYPE, spec->model_type));
  ZT_TRY(zt_h5_write_int(file, path, ZT_ATTR_PARAMETERS, spec->params->count));
  /* Its place is taken now; the value is known when all is written. */
  return zt_h5_write_string(file, path, ZT_ATTR_DIGEST, "----------------");
}

static zt_status lay_out_config(hid_t file, const char *path,
                                const zt_checkpoint_spec *spec, int64_t *at) {
  hid_t group;
  ZT_TRY(zt_h5_create_group(file, path, ZT_GROUP_CONFIG, &group));
  zt_status status = ZT_OK;
  for (int i = 0; i < spec->n_config && status == ZT_OK; i++)
    status =
        zt_h5_create_dataset(group, path, spec->config[i].name, H5T_STD_U8LE, 1,
                             &spec->config[i].size, &at[i]);
  H5Gclose(group);
  return status;
}

static zt_status lay_out_links(hid_t group, const char *path,
                               const zt_checkpoint_spec *spec) {
  for (int i = 0; i < spec->n_links; i++)
    if (H5Lcreate_hard(group, spec->names[spec->links[i].param], H5L_SAME_LOC,
                       spec->links[i].name, H5P_DEFAULT, H5P_DEFAULT) < 0)
      return zt_h5_fail(ZT_ERR_CREATE, "%s: cannot link %s", path,
                        spec->links[i].name);
  return ZT_OK;
}

static zt_status lay_out_parameters(hid_t file, const char *path,
                                    const zt_checkpoint_spec *spec,
                                    int64_t *at) {
  hid_t group;
  ZT_TRY(zt_h5_create_group(file, path, ZT_GROUP_PARAMETERS, &group));
  zt_status status = ZT_OK;
  for (int i = 0; i < spec->params->count && status == ZT_OK; i++) {
    const zt_param *p = &spec->params->list[i];
    hid_t type = zt_h5_type(spec->dtypes[i]);
    status = zt_h5_create_dataset(group, path, spec->names[i], type, p->ndim,
                                  p->dims, &at[i]);
    H5Tclose(type);
  }
  if (status == ZT_OK)
    status = lay_out_links(group, path, spec);
  H5Gclose(group);
  return status;
}

static zt_status lay_out(const zt_checkpoint_writer *w,
                         const zt_checkpoint_spec *spec) {
  const int count = spec->params->count;
  hid_t file;
  ZT_TRY(zt_h5_create(
      w->name, (size_t) (count + spec->n_links + spec->n_config),
      ZT_DATA_ALIGN, &file));
  zt_status status = write_attributes(file, w->name, spec);
  if (status == ZT_OK)
    status = lay_out_config(file, w->name, spec, w->at + count);
  if (status == ZT_OK)
    status = lay_out_parameters(file, w->name, spec, w->at);
  zt_status closed = zt_h5_close(file, w->name);
  return status == ZT_OK ? closed : status;
}

static zt_status create_file(zt_checkpoint_writer *w, const char *path,
                             bool replace, const zt_checkpoint_spec *spec) {
  struct stat st;
  ZT_TRY(zt_output_begin(&w->output, path, replace));
  w->fd = w->output.fd;
  ZT_TRY(lay_out(w, spec));
  if (fstat(w->fd, &st) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot stat", w->name);
  return zt_output_reserve(&w->output, st.st_size);
}

/* ---- On all ranks ---- */

static void release(zt_checkpoint_writer *w) {
  if (w->comm->rank == 0)
    zt_output_discard(&w->output);
  else if (w->fd >= 0)
    close(w->fd);
  free(w->name);
  free(w->at);
  *w = (zt_checkpoint_writer){.output.fd = -1, .fd = -1};
}

zt_status zt_checkpoint_writer_create(const char *path, bool replace,
                                      const zt_checkpoint_spec *spec,
                                      zt_comm *comm,
                                      zt_checkpoint_writer *writer) {
  zt_checkpoint_writer *w = writer;
  const size_t places = (size_t) (spec->params->count + spec->n_config);
  *w = (zt_checkpoint_writer){.comm = comm, .output.fd = -1, .fd = -1};
  w->name = zt_output_temporary(path);
  w->at = zt_calloc(places, sizeof *w->at);
  zt_status status = w->name && w->at ? ZT_OK : ZT_ERR_MEMORY;
  if (status == ZT_OK && comm->rank == 0)
    status = create_file(w, path, replace, spec);
  status = zt_agree(comm, status);
  if (status == ZT_OK)
    status = zt_comm_broadcast(comm, w->at, places * sizeof *w->at, 0);
  if (status == ZT_OK) {
    if (comm->rank != 0)
      status = zt_output_join(path, &w->fd);
    status = zt_agree(comm, status);
  }
  if (status != ZT_OK)
    release(w);
  return status;
}

static zt_status seal(zt_checkpoint_writer *w, uint64_t digest) {
  char text[17];
  hid_t file;
  snprintf(text, sizeof text, "%016" PRIx64, digest);
  ZT_TRY(zt_h5_reopen(w->name, &file));
  zt_status status = zt_h5_write_string(file, w->name, ZT_ATTR_DIGEST, text);
  zt_status closed = zt_h5_close(file, w->name);
  ZT_TRY(status);
  ZT_TRY(closed);
  return zt_output_commit(&w->output);
}

zt_status zt_checkpoint_writer_commit(zt_checkpoint_writer *w,
                                      zt_status written, uint64_t *digest) {
  if (written == ZT_OK)
    written = zt_sync(w->fd, w->name);
  zt_status status = zt_agree(w->comm, written);
  if (status == ZT_OK)
    status = zt_comm_all_reduce(w->comm, (int64_t *) digest, 1, ZT_SUM);
  if (status == ZT_OK) {
    if (w->comm->rank == 0)
      status = seal(w, *digest);
    status = zt_agree(w->comm, status);
  }
  release(w);
  return status;
}
