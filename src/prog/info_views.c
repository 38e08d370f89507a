/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo views: views.h5 of a restart, made anew. */
#include "base/log.h"
#include "comm/agree.h"
#include "io/format.h"
#include "io/restart_views.h"
#include "prog/info.h"

static const char help_text[] =
    "Usage: ztinfo views RESTART\n"
    "Write RESTART/" ZT_VIEWS
    ": every parameter and moment by its name and in its\n"
    "shape, for h5dump, h5py and other tools.  Saves make it themselves "
    "unless\n"
    "that would be many datasets.\n";

zt_status zt_info_views(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {{"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "h", options, &option));
    if (option < 0)
      break;
    return zt_command_help(program, help_text);
  }
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztinfo views RESTART"));
  zt_restart *restart;
  ZT_TRY(zt_restart_open(argv[optind], program->comm, &restart, NULL));
  zt_status status = ZT_OK;
  if (program->comm->rank == 0)
    status = zt_restart_write_views(restart);
  zt_restart_close(&restart);
  ZT_TRY(zt_agree(program->comm, status));
  zt_info("%s/%s: written", argv[optind], ZT_VIEWS);
  return ZT_OK;
}
