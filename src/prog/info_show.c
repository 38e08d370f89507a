/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo show: what a file or directory holds. */
#include "prog/info.h"
#include "prog/open_source.h"

#include <stdlib.h>

enum { MOST_SAMPLES = 1000 };

static const char help_text[] =
    "Usage: ztinfo show [OPTION]... PATH\n"
    "Say what a weights file, token file, Hugging Face directory, restart or\n"
    "run directory holds.\n"
    "\n"
    "  --json            as one JSON object\n"
    "  --sample N        of a token file also the first N documents, as text,\n"
    "                    and which parts of them are learnt; with --json one\n"
    "                    more object each\n"
    "  --tokenizer NAME  bytes, or the path of the tokenizer, to decode them\n";

static zt_status parse_samples(const char *text, int64_t *samples) {
  char *end;
  long n = strtol(text, &end, 10);
  if (end == text || *end || n < 1 || n > MOST_SAMPLES)
    return zt_fail(ZT_ERR_USAGE, "--sample %.40s: not a number from 1 to %d",
                   text, MOST_SAMPLES);
  *samples = n;
  return ZT_OK;
}

zt_status zt_info_show(zt_program *program, int argc, char **argv) {
  static const struct option options[] = {
      {"json", no_argument, NULL, 'j'},
      {"sample", required_argument, NULL, 's'},
      {"tokenizer", required_argument, NULL, 't'},
      {"help", no_argument, NULL, 'h'},
      {NULL, 0, NULL, 0}};
  const char *tokenizer = NULL;
  int64_t samples = 0;
  bool json = false;
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "jh", options, &option));
    if (option < 0)
      break;
    if (option == 'h')
      return zt_command_help(program, help_text);
    if (option == 's')
      ZT_TRY(parse_samples(optarg, &samples));
    if (option == 't')
      tokenizer = optarg;
    json = json || option == 'j';
  }
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztinfo show [OPTION]... PATH"));
  zt_path_kind kind;
  ZT_TRY(zt_find_kind(argv[optind], program->comm, &kind));
  switch (kind) {
  case ZT_PATH_TOKENS:
    return zt_info_show_tokens(program, argv[optind], samples, tokenizer, json);
  case ZT_PATH_RUN:
    return zt_info_show_run(program, argv[optind], json);
  default:
    return zt_info_show_weights(program, argv[optind], json);
  }
}
