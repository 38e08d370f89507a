/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo show: what a file or directory holds. */
#include "prog/info.h"
#include "prog/open_source.h"

static const char help_text[] =
    "Usage: ztinfo show [--json] PATH\n"
    "Say what a weights file, token file, Hugging Face directory, restart or\n"
    "run directory holds.\n"
    "\n"
    "  --json  as one JSON object\n";

zt_status zt_info_show(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
  bool json = false;
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "jh", options, &option));
    if (option < 0)
      break;
    if (option == 'h')
      return zt_command_help(program, help_text);
    json = true;
  }
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztinfo show [--json] PATH"));
  zt_path_kind kind;
  ZT_TRY(zt_find_kind(argv[optind], program->comm, &kind));
  switch (kind) {
  case ZT_PATH_TOKENS:
    return zt_info_show_tokens(program, argv[optind], json);
  case ZT_PATH_RUN:
    return zt_info_show_run(program, argv[optind], json);
  default:
    return zt_info_show_weights(program, argv[optind], json);
  }
}
