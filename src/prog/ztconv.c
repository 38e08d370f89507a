/* SPDX-License-Identifier: BSD-3-Clause */
/* ztconv: weights and data, in and out. */
#include "prog/conv.h"

static const char help[] =
    "Usage: ztconv COMMAND [OPTION]... [FILE]...\n"
    "Convert weights and data.  Runs alone or under mpiexec or srun.\n"
    "\n"
    "  import HF_DIR OUT.h5       Hugging Face safetensors to a weights file\n"
    "  export SRC HF_DIR          weights file or restart to safetensors\n"
    "  init CONFIG.json OUT.h5    random weights\n"
    "  tokens OUT.h5 IN...        plain text and JSONL to a token file\n"
    "  verify [--deep] PATH...    whether files and restarts are intact\n"
    "  diff A B                   two models or restarts, tensor by tensor\n"
    "\n"
    "  -h, --help     this text; ztconv COMMAND --help says more\n"
    "  -V, --version  what was built, with which libraries\n";

int main(int argc, char **argv) {
  static const zt_command commands[] = {{"import", zt_conv_import},
                                        {"export", zt_conv_export},
                                        {"init", zt_conv_init},
                                        {"tokens", zt_conv_tokens},
                                        {"verify", zt_conv_verify},
                                        {"diff", zt_conv_diff},
                                        {NULL, NULL}};
  zt_program program = {.name = "ztconv", .help = help};
  zt_status status = zt_program_start(&program, argc, argv);
  if (status == ZT_OK)
    status = zt_run_command(&program, commands, argc, argv);
  return zt_program_end(&program, status);
}
