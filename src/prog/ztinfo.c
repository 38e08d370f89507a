/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo: shows and checks what the other programs write. */
#include "prog/info.h"

static const char help[] =
    "Usage: ztinfo COMMAND [OPTION]... PATH\n"
    "Show and check weights, tokens, restarts and runs.\n"
    "\n"
    "  show PATH      what a file or directory holds\n"
    "  digest PATH    one number for all parameters, made from the data\n"
    "  views RESTART  its views.h5, for other tools\n"
    "  status RUNDIR  how a run stands: exit code 0 done, 75 more, 1 failed\n"
    "  hang RUNDIR    which rank was out of step when a run stood still\n"
    "  plan RUN.cfg   memory and traffic of a run on --ranks N, without one\n"
    "  iobench DIR    how fast a directory takes and gives bytes\n"
    "  faults         names of the fault points for ZT_FAULT (tests)\n"
    "\n"
    "  -h, --help     this text; ztinfo COMMAND --help says more\n"
    "  -V, --version  what was built, with which libraries\n";

int main(int argc, char **argv) {
  static const zt_command commands[] = {{"show", zt_info_show},
                                        {"digest", zt_info_digest},
                                        {"views", zt_info_views},
                                        {"status", zt_info_status},
                                        {"hang", zt_info_hang},
                                        {"plan", zt_info_plan},
                                        {"iobench", zt_info_iobench},
                                        {"faults", zt_info_faults},
                                        {NULL, NULL}};
  zt_program program = {.name = "ztinfo", .help = help};
  zt_status status = zt_program_start(&program, argc, argv);
  if (status == ZT_OK)
    status = zt_run_command(&program, commands, argc, argv);
  return zt_program_end(&program, status);
}
