/* SPDX-License-Identifier: BSD-3-Clause */
/* A weights file with a tensor of more than 2^31 elements, for long_io.sh.
 *
 *   long_sparse write FILE    on one rank; the file is sparse
 *   long_sparse read FILE     on any number: slices at both ends and across
 *                             2^31 elements and 2^32 bytes */
#include "base/memory.h"
#include "comm/agree.h"
#include "comm/comm_mpi.h"
#include "io/checkpoint.h"
#include "io/checkpoint_writer.h"
#include "io/digest.h"
#include "io/format.h"
#include "model/model.h"
#include "train/weights.h"

#include <fcntl.h>
#include <inttypes.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char config_json[] =
    "{\"model_type\": \"t5\", \"vocab_size\": 33554432, \"d_model\": 80, "
    "\"d_kv\": 1, \"d_ff\": 1, \"num_heads\": 1, \"num_layers\": 1}";

enum { SLICE = 5000, BLOCK = 1 << 16 };

/* Where something else than zero stands in the large tensor: its ends, and
 * around element 2^31 and byte 2^32. */
static int64_t place(int which, int64_t numel) {
  const int64_t places[] = {0, ((int64_t) 1 << 31) - SLICE / 2, numel - SLICE};
  return places[which];
}

static uint16_t value(int64_t i) { /* a bf16 of any size but never NaN */
  return (uint16_t) ((i * 2654435761) >> 7 & 0xBF7F);
}

static bool in_slice(int64_t i, int64_t numel) {
  for (int k = 0; k < 3; k++)
    if (i >= place(k, numel) && i < place(k, numel) + SLICE)
      return true;
  return false;
}

static zt_status write_values(const zt_checkpoint_writer *w, int64_t numel) {
  if (fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, w->at[0],
                2 * numel) != 0)
    return zt_fail_errno(ZT_ERR_IO, "%s: cannot make it sparse", w->name);
  for (int k = 0; k < 3; k++) {
    uint16_t slice[SLICE];
    for (int i = 0; i < SLICE; i++)
      slice[i] = value(place(k, numel) + i);
    ZT_TRY(zt_write_at(w->fd, w->name, slice, sizeof slice,
                       w->at[0] + 2 * place(k, numel)));
  }
  return ZT_OK;
}

static uint64_t digest_of(const zt_params *params) {
  static uint16_t block[BLOCK];
  uint64_t sum = 0;
  for (int p = 0; p < params->count; p++) {
    const zt_param *param = &params->list[p];
    for (int64_t at = 0; at < param->numel; at += BLOCK) {
      int64_t n = param->numel - at < BLOCK ? param->numel - at : BLOCK;
      memset(block, 0, sizeof block);
      bool some = false;
      for (int k = 0; k < 3 && p == 0; k++)
        some = some || (at + n > place(k, param->numel) &&
                        at < place(k, param->numel) + SLICE);
      for (int64_t i = 0; some && i < n; i++)
        if (in_slice(at + i, param->numel))
          block[i] = value(at + i);
      sum += zt_digest_part("parameters", param, ZT_BF16, block, at, n);
    }
  }
  return sum;
}

static zt_status write_file(zt_comm *comm, const char *path) {
  zt_model *model;
  ZT_TRY(zt_model_create(config_json, sizeof config_json - 1, "config", true, 0,
                         &model));
  const size_t count = (size_t) model->params.count;
  zt_dtype *dtypes = zt_calloc(count, sizeof *dtypes);
  const char **names = zt_calloc(count, sizeof *names);
  for (size_t p = 0; p < count; p++) {
    dtypes[p] = ZT_BF16;
    names[p] = model->params.list[p].name;
  }
  const zt_source_file config = {.name = (char *) ZT_CONFIG_JSON,
                                 .size = sizeof config_json - 1};
  const zt_checkpoint_spec spec = {.family = "t5",
                                   .model_type = "t5",
                                   .params = &model->params,
                                   .dtypes = dtypes,
                                   .names = names,
                                   .config = &config,
                                   .n_config = 1};
  zt_checkpoint_writer w;
  uint64_t digest = digest_of(&model->params);
  zt_status status = zt_checkpoint_writer_create(path, true, &spec, comm, &w);
  if (status == ZT_OK) {
    status = write_values(&w, model->params.list[0].numel);
    if (status == ZT_OK)
      status = zt_write_at(w.fd, w.name, config_json, sizeof config_json - 1,
                           w.at[count]);
    status = zt_checkpoint_writer_commit(&w, status, &digest);
  }
  free(dtypes);
  free(names);
  zt_model_destroy(&model);
  return status;
}

static zt_status check_slice(zt_source *s, int tensor, int64_t begin,
                             int64_t count) {
  static float got[4 * SLICE];
  const int64_t numel = s->tensors[tensor].numel;
  ZT_TRY(zt_source_read(s, tensor, begin, count, got));
  for (int64_t i = 0; i < count; i++) {
    float want;
    uint16_t bits = in_slice(begin + i, numel) ? value(begin + i) : 0;
    zt_to_fp32(ZT_BF16, &bits, &want, 1);
    if (memcmp(&got[i], &want, sizeof want) != 0)
      return zt_fail(ZT_ERR_DATA, "element %" PRId64 " is %g, not %g",
                     begin + i, got[i], want);
  }
  return ZT_OK;
}

static zt_status read_file(zt_comm *comm, const char *path) {
  zt_source *s;
  zt_model *model;
  ZT_TRY(zt_checkpoint_open(path, comm, &s));
  zt_status status = zt_weights_model(s, 0, &model, NULL);
  if (status == ZT_OK) {
    int t = zt_source_find(s, "shared.weight");
    const int64_t n = s->tensors[t].numel, shift = 100 * comm->rank;
    status = n > INT32_MAX ? ZT_OK : zt_fail(ZT_ERR_DATA, "too small");
    for (int k = 0; k < 3 && status == ZT_OK; k++) {
      int64_t begin = place(k, n) - (k ? SLICE : 0) + shift;
      int64_t count = k == 2 ? n - begin : 3 * SLICE;
      status = check_slice(s, t, begin, count);
    }
    zt_model_destroy(&model);
  }
  zt_source_close(&s);
  return status;
}

int main(int argc, char **argv) {
  zt_comm *comm;
  MPI_Init(&argc, &argv);
  if (argc != 3 || zt_comm_mpi_create(MPI_COMM_WORLD, &comm) != ZT_OK)
    return 99;
  zt_status status =
      zt_agree(comm, !strcmp(argv[1], "write") ? write_file(comm, argv[2])
                                               : read_file(comm, argv[2]));
  if (status != ZT_OK && comm->rank == 0)
    fprintf(stderr, "%s\n", zt_last_error());
  zt_comm_destroy(&comm);
  MPI_Finalize();
  return zt_status_exit_code(status);
}
