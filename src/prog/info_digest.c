/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo digest: one number for all parameters, made from their data. */
#include "base/memory.h"
#include "comm/agree.h"
#include "io/digest.h"
#include "io/pieces.h"
#include "io/restart.h"
#include "prog/info.h"
#include "prog/open_source.h"
#include "train/weights.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

static const char help_text[] =
    "Usage: ztinfo digest [--state] PATH\n"
    "Print the digest of a weights file, Hugging Face directory or restart,\n"
    "made anew from the data.  It is equal when all values are, whatever the\n"
    "number format, the ranks and the files.  A digest that the file records\n"
    "and its data has not is an error (65).\n"
    "\n"
    "  --state  with the state of the optimizer and the step; for restarts\n";

static zt_status check(const zt_source *source, uint64_t found,
                       uint64_t recorded) {
  if (found == recorded)
    return ZT_OK;
  return zt_fail(ZT_ERR_DATA,
                 "%s: damaged: digest %016" PRIx64 ", but %016" PRIx64
                 " was recorded",
                 source->path, found, recorded);
}

static zt_status compute(zt_source *source, uint64_t *digest) {
  zt_model *model = NULL;
  int *tensor_of = NULL;
  ZT_TRY(
      zt_agree(source->comm, zt_weights_model(source, 0, &model, &tensor_of)));
  zt_status status =
      zt_digest_source(source, &model->params, tensor_of, digest);
  zt_model_destroy(&model);
  free(tensor_of);
  ZT_TRY(status);
  return source->has_digest ? check(source, *digest, source->digest) : ZT_OK;
}

/* ---- The whole state of a restart ---- */

/* This rank's share of one state of all parameters of a table, which begins at
 * `start` in the global flat space. */
static zt_status add_state(zt_restart *restart, const zt_params *params,
                           int64_t start, int state, float *buffer,
                           uint64_t *sum) {
  const zt_comm *comm = restart->comm;
  for (int i = 0; i < params->count; start += params->list[i++].numel) {
    const zt_param *p = &params->list[i];
    const int64_t bytes[] = {0, p->numel * (int64_t) sizeof *buffer};
    zt_pieces pieces;
    zt_piece piece;
    zt_pieces_begin(&pieces, bytes, 1, comm->size, comm->rank, ZT_BUFFER_BYTES);
    while (zt_pieces_next(&pieces, &piece)) {
      int64_t begin = piece.at / (int64_t) sizeof *buffer;
      int64_t count = piece.n / (int64_t) sizeof *buffer;
      ZT_TRY(zt_restart_read(restart, state, start + begin, count, buffer));
      *sum += zt_digest_part(zt_state_group(state), p, ZT_FP32, buffer, begin,
                             count);
    }
  }
  return ZT_OK;
}

static zt_status add_statistics(zt_restart *restart, float *buffer,
                                uint64_t *sum) {
  zt_params table = {0};
  zt_status status = zt_restart_statistics(restart, &table);
  if (status == ZT_OK)
    status = add_state(restart, &table, restart->numel - restart->statistics,
                       ZT_MASTER, buffer, sum);
  zt_params_free(&table);
  return status;
}

static zt_status compute_state(zt_source *source, uint64_t *digest) {
  zt_restart *restart = zt_restart_of(source);
  zt_model *model = NULL;
  char step[32];
  if (!restart)
    return zt_fail(ZT_ERR_USAGE,
                   "%s: --state is for restarts; weights have no optimizer "
                   "state",
                   source->path);
  float *buffer = zt_calloc(1, ZT_BUFFER_BYTES);
  zt_status status = buffer ? ZT_OK : ZT_ERR_MEMORY;
  if (status == ZT_OK)
    status = zt_weights_model(source, 0, &model, NULL);
  *digest = 0;
  for (int s = 0; s < restart->states && status == ZT_OK; s++)
    status = add_state(restart, &model->params, 0, s, buffer, digest);
  if (status == ZT_OK)
    status = add_statistics(restart, buffer, digest);
  zt_model_destroy(&model);
  free(buffer);
  ZT_TRY(zt_agree(source->comm, status));
  ZT_TRY(zt_comm_all_reduce(source->comm, (int64_t *) digest, 1, ZT_SUM));
  snprintf(step, sizeof step, "step=%" PRId64, restart->step);
  *digest += zt_digest_text(step);
  return check(source, *digest, restart->digest);
}

/* ---- Command ---- */

zt_status zt_info_digest(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {{"state", no_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  bool state = false;
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "sh", options, &option));
    if (option < 0)
      break;
    if (option == 'h')
      return zt_command_help(program, help_text);
    state = true;
  }
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztinfo digest [--state] PATH"));
  zt_source *source;
  uint64_t digest;
  ZT_TRY(zt_open_source(argv[optind], program->comm, &source));
  zt_status status =
      state ? compute_state(source, &digest) : compute(source, &digest);
  zt_source_close(&source);
  ZT_TRY(status);
  if (program->comm->rank == 0)
    printf("%016" PRIx64 "\n", digest);
  return ZT_OK;
}
