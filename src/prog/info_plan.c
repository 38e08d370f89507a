/* SPDX-License-Identifier: BSD-3-Clause */
/* ztinfo plan: what a run would take, on any number of ranks; and ztinfo
 * faults, the list for tests. */
#include "base/memory.h"
#include "base/settings_check.h"
#include "comm/agree.h"
#include "prog/info.h"
#include "prog/planning.h"

#include <stdio.h>
#include <stdlib.h>

static const char help_text[] =
    "Usage: ztinfo plan RUN.cfg [--ranks N] [-s KEY=VALUE]... [--json]\n"
    "Print the memory of each rank and the traffic of a step, made by one "
    "step\n"
    "on a device and a communicator that only count.  Needs model.weights or\n"
    "model.config, the lengths and the batch.\n"
    "\n"
    "  --ranks N          of the run (default: those ztinfo runs on)\n"
    "  -s, --set KEY=VALUE  override a key of the configuration\n"
    "  --json             one JSON object\n";

typedef struct options {
  const char *path;
  const char **overrides; /* [argc] */
  int n_overrides, ranks;
  bool json, help;
} options;

static zt_status read_ranks(const char *text, int *ranks) {
  enum { MOST = 1 << 20 };
  char *end;
  long n = strtol(text, &end, 10);
  if (end == text || *end || n < 1 || n > MOST)
    return zt_fail(ZT_ERR_USAGE,
                   "--ranks '%.40s': expected a number from 1 to %d", text,
                   MOST);
  *ranks = (int) n;
  return ZT_OK;
}

static zt_status parse(int argc, char **argv, options *o) {
  static const struct option names[] = {{"ranks", required_argument, NULL, 'r'},
                                        {"set", required_argument, NULL, 's'},
                                        {"json", no_argument, NULL, 'j'},
                                        {"help", no_argument, NULL, 'h'},
                                        {NULL, 0, NULL, 0}};
  for (int option;;) {
    ZT_TRY(zt_next_option(argc, argv, "s:h", names, &option));
    if (option < 0)
      break;
    if (option == 'r')
      ZT_TRY(read_ranks(optarg, &o->ranks));
    else if (option == 's')
      o->overrides[o->n_overrides++] = optarg;
    else if (option == 'j')
      o->json = true;
    else
      o->help = true;
  }
  if (o->help)
    return ZT_OK;
  ZT_TRY(zt_check_operands(argc, 1, 1, "ztinfo plan RUN.cfg [--ranks N]"));
  o->path = argv[optind];
  return ZT_OK;
}

zt_status zt_info_plan(zt_program *program, int argc, char **argv) {
  options o = {.ranks = program->comm->size,
               .overrides = zt_calloc((size_t) argc, sizeof(char *))};
  zt_settings settings = {0};
  zt_status status = o.overrides ? parse(argc, argv, &o) : ZT_ERR_MEMORY;
  if (status == ZT_OK && !o.help)
    status = zt_settings_read(o.path, o.overrides, o.n_overrides, &settings);
  if (status == ZT_OK && !o.help)
    status = zt_settings_check(&settings, ZT_NEED_TO_PLAN);
  status = zt_agree(program->comm, status);
  if (status == ZT_OK)
    status = o.help ? zt_command_help(program, help_text)
                    : zt_print_plan(program, &settings, o.ranks, o.json);
  zt_settings_free(&settings);
  free(o.overrides);
  return status;
}

zt_status zt_info_faults(zt_program *program, int argc, char **argv) {
  (void) argc, (void) argv;
  for (int i = 0; i < ZT_FAULT_COUNT && program->comm->rank == 0; i++)
    puts(zt_fault_name((zt_fault) i));
  return ZT_OK;
}
