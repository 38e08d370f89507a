/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo show: what a file or directory holds. */
#include "comm/agree.h"
#include "io/format.h"
#include "io/h5.h"
#include "prog/info.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const char help_text[] =
    "Usage: ztinfo show [--json] PATH\n"
    "Say what a weights file, token file, Hugging Face directory or restart\n"
    "holds.\n"
    "\n"
    "  --json  as one JSON object\n";

typedef enum kind { WEIGHTS, TOKENS } kind;

/* By rank 0. */
static zt_status find_kind(const char *path, kind *found) {
  struct stat st;
  char format[32];
  *found = WEIGHTS;
  if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
    return ZT_OK;
  ZT_TRY(zt_h5_format(path, format));
  if (!strcmp(format, ZT_FORMAT_TOKENS))
    *found = TOKENS;
  else if (strcmp(format, ZT_FORMAT_WEIGHTS) != 0)
    return zt_fail(ZT_ERR_DATA,
                   "%s: an HDF5 file, but neither weights nor tokens of ours",
                   path);
  return ZT_OK;
}

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
  kind found = WEIGHTS;
  zt_status status = ZT_OK;
  if (program->comm->rank == 0)
    status = find_kind(argv[optind], &found);
  ZT_TRY(zt_agree(program->comm, status));
  ZT_TRY(zt_comm_broadcast(program->comm, &found, sizeof found, 0));
  if (found == TOKENS)
    return zt_info_show_tokens(program, argv[optind], json);
  return zt_info_show_weights(program, argv[optind], json);
}
