/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo digest: one number for all parameters, made from their data. */
#include "comm/agree.h"
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
  if (source->has_digest && source->digest != *digest)
    return zt_fail(ZT_ERR_DATA,
                   "%s: damaged: digest %016" PRIx64 ", but %016" PRIx64
                   " was recorded",
                   source->path, *digest, source->digest);
  return ZT_OK;
}

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
  if (state)
    return zt_fail(ZT_ERR_USAGE,
                   "%s: --state is for restarts; weights have "
                   "no optimizer state",
                   argv[optind]);
  ZT_TRY(zt_open_source(argv[optind], program->comm, &source));
  zt_status status = compute(source, &digest);
  zt_source_close(&source);
  ZT_TRY(status);
  if (program->comm->rank == 0)
    printf("%016" PRIx64 "\n", digest);
  return ZT_OK;
}
